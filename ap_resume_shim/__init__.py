"""The Agent Protocol's three resume routes, in front of the agent server you already run."""

from ap_resume_shim.core.errors import ConfigurationError, ResumeError
from ap_resume_shim.guard import Guard, MemoryGuard
from ap_resume_shim.middleware import ResumeShim
from ap_resume_shim.proxy.app import ReverseProxy
from ap_resume_shim.runtime.limits import Limits

__all__ = [
    "ConfigurationError",
    "Guard",
    "Limits",
    "MemoryGuard",
    "ResumeError",
    "ResumeShim",
    "ReverseProxy",
]

__version__ = "0.1.0"
