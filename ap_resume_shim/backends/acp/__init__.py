"""ACP: the Agent Communication Protocol of IBM and BeeAI."""

from ap_resume_shim.backends.acp.dialect import Acp

__all__ = ["Acp"]
