"""`Limits`: how long a resume may take, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass

from ap_resume_shim.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits, in seconds, and sizes, in bytes."""

    lookup: float = 30.0
    """For each lookup."""
    resume: float = 3600.0
    """From the sending of a resume to its answer: the first byte of a stream, the last of any other."""
    idle: float = 3600.0
    """Silence of the backend in the middle of a stream."""
    commit: float = 30.0
    """How long an accepted resume may stay invisible in the thread's state; the thread is held meanwhile."""
    keepalive: float = 15.0
    """Silence after which a waiting client gets a byte: white space before JSON, a comment in a stream."""
    body: int = 4 * 1024 * 1024
    """Of a client's request."""
    bodies: int = 64 * 1024 * 1024
    """Of the requests of all clients at one moment."""

    def __post_init__(self) -> None:
        """Raises `ConfigurationError`."""
        if self.bodies < self.body:
            raise ConfigurationError(
                f"All bodies together ({self.bodies} bytes) cannot be smaller than each of them ({self.body}): "
                "raise the limit of all, or lower that of each."
            )
