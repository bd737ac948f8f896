"""What turns a backend's stream into the client's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, as far as the backend's own answer shows."""

    values: Any = None
    error: Any = None


class Reframer(Protocol):
    """Turns the backend's stream into the client's. Pure: bytes in, bytes out."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes, split anywhere; return what is ready for the client."""

    def finish(self) -> bytes:
        """The upstream stream ended well: return the rest."""

    @property
    def between_events(self) -> bool:
        """Whether a comment may be inserted here without breaking an event."""

    @property
    def over(self) -> bool:
        """Whether the run has ended, so that no more is read, though the backend holds the stream open."""

    def ended(self) -> Ended:
        """How the run ended, as far as the stream has shown."""
