"""Google's Agent Development Kit (ADK): `adk api_server`."""

from ap_resume_shim.backends.adk.dialect import Adk

__all__ = ["Adk"]
