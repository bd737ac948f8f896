"""`Limits`: time and size limits of resumes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ap_resume_shim.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds, sizes in bytes."""

    lookup: float = 30.0
    """Maximum time of each lookup."""
    resume: float = 3600.0
    """Maximum time from sending the resume to its response: to the first byte of a stream, to the last byte of any
    other.
    """
    idle: float = 3600.0
    """Maximum silence of the backend in the middle of a stream."""
    commit: float = 30.0
    """Maximum time that a thread is held until its state shows an accepted resume."""
    keepalive: float = 15.0
    """Silence after which the shim sends a keep-alive to a waiting client: white space before JSON, or a comment in a
    stream.
    """
    body: int = 4 * 1024 * 1024
    """Maximum size of a request body."""
    bodies: int = 64 * 1024 * 1024
    """Maximum size of all request bodies in memory."""

    def __post_init__(self) -> None:
        """Check the limits. Raises `ConfigurationError`."""
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigurationError(f"`{name}` must be a number above 0.")
        if self.bodies < self.body:
            raise ConfigurationError(
                f"The limit for all bodies ({self.bodies} bytes) is below the limit for one body ({self.body}): "
                "raise the first, or lower the second."
            )
