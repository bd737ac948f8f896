"""A2A: agents behind a card, with three bindings."""

from ap_resume_shim.backends.a2a.dialect import A2A

__all__ = ["A2A"]
