"""The Agent Protocol's three resume routes, in front of the agent server you already run.

The public API is this module, `ap_resume_shim.dialects`, `ap_resume_shim.proxy` and `ap_resume_shim.guard`. All other
modules are internal, and may change in any release.
"""

from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.errors import ConfigurationError, ResumeError
from ap_resume_shim.guard import Guard, MemoryGuard
from ap_resume_shim.middleware import ResumeShim
from ap_resume_shim.proxy import ReverseProxy
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.resume_log import AccessLog

if TYPE_CHECKING:
    from ap_resume_shim.http1.client import Http1Transport

__all__ = [
    "AccessLog",
    "ConfigurationError",
    "Guard",
    "Http1Transport",
    "Limits",
    "MemoryGuard",
    "ResumeError",
    "ResumeShim",
    "ReverseProxy",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `Http1Transport` when it is first used: it needs the extra `serve`."""
    if name != "Http1Transport":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ap_resume_shim.http1.client import Http1Transport

    return Http1Transport
