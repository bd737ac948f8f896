"""The guard: one resume of a thread at a time, and none that arrived before another was accepted.

The ledger, beside it, stores facts from observed traffic for backends that cannot report them.
"""

from __future__ import annotations

from typing import Any

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.guard.base import Guard, GuardSession, Moment, ResumeKey
from ap_resume_shim.guard.fallback import FallbackGuard
from ap_resume_shim.guard.ledger import Ledger, MemoryLedger
from ap_resume_shim.guard.memory import MemoryGuard

__all__ = [
    "FallbackGuard",
    "Guard",
    "GuardSession",
    "Ledger",
    "MemoryGuard",
    "MemoryLedger",
    "Moment",
    "ResumeKey",
    "load_guard",
]

_REDIS = ("redis://", "rediss://", "unix://", "valkey://", "valkeys://")


def load_guard(name: str, **options: Any) -> Guard:
    """Return a guard by its name: "memory", or the URL of a Redis or Valkey server.

    `options` are those of `MemoryGuard` or `RedisGuard`, which needs the extra `redis`. With `required=False`, this
    process alone guards its resumes while the server is unavailable, instead of refusing them. Raises
    `ConfigurationError`.
    """
    if name == "memory":
        return MemoryGuard(**options)
    if name.startswith(_REDIS):
        try:
            from ap_resume_shim.guard.redis import RedisGuard
        except ImportError:
            raise ConfigurationError("A guard in Redis needs redis-py: pip install 'ap_resume_shim[redis]'.") from None
        required = options.pop("required", True)
        shared = RedisGuard(name, **options)
        if required:
            return shared
        own_options = {name: options[name] for name in ("keep", "duplicate_window") if name in options}
        return FallbackGuard(shared, MemoryGuard(**own_options))
    raise ConfigurationError(f"There is no guard {name!r}: use memory, or redis://host:port/0.")
