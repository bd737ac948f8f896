"""A2A (Agent2Agent protocol): agents that publish an agent card, reached through one of three bindings."""

from ap_resume_shim.backends.a2a.dialect import A2A

__all__ = ["A2A"]
