"""LlamaIndex's workflow server."""

from ap_resume_shim.backends.llamaindex.dialect import LlamaIndex

__all__ = ["LlamaIndex"]
