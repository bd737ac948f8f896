"""ACP, the Agent Communication Protocol."""

from ap_resume_shim.backends.acp.dialect import Acp

__all__ = ["Acp"]
