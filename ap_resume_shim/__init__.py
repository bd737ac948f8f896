"""The Agent Protocol's three resume routes, in front of the agent server you already run.

The public API is this module, `ap_resume_shim.dialects`, `ap_resume_shim.proxy`, `ap_resume_shim.guard`,
`ap_resume_shim.policy`, `ap_resume_shim.metrics` and `ap_resume_shim.tracing`. All other modules are internal, and may
change in any release.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.errors import ConfigurationError, ResumeError
from ap_resume_shim.guard import Guard, MemoryGuard
from ap_resume_shim.middleware import ResumeShim
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.resume_log import AccessLog

if TYPE_CHECKING:
    from ap_resume_shim.http1.client import Http1Transport
    from ap_resume_shim.proxy import ReverseProxy
    from ap_resume_shim.runtime.questions import Questions

__all__ = [
    "AccessLog",
    "ConfigurationError",
    "Guard",
    "Http1Transport",
    "Limits",
    "MemoryGuard",
    "Questions",
    "ResumeError",
    "ResumeShim",
    "ReverseProxy",
]

__version__ = "0.1.0"


_IMPORTED_WHEN_USED = {
    "Http1Transport": "ap_resume_shim.http1.client",
    "Questions": "ap_resume_shim.runtime.questions",
    "ReverseProxy": "ap_resume_shim.proxy",
}
"""An app that is wrapped in its own process needs neither httpx nor the extra `serve`."""


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name not in _IMPORTED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_IMPORTED_WHEN_USED[name]), name)
