"""AgentOS, Agno's server."""

from ap_resume_shim.backends.agno.dialect import Agno

__all__ = ["Agno"]
