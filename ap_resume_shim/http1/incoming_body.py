"""`IncomingBody`: the body of a request or a response, buffered from its arrival until it is read."""

from __future__ import annotations

from ap_resume_shim.core.asgi import HeaderList


class IncomingBody:
    """The parts of one body, in the order of arrival."""

    __slots__ = ("buffered", "complete", "parts", "trailers")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        """The parts that were not taken yet."""
        self.buffered = 0
        """The memory of these parts in bytes, as who adds them counts it."""
        self.complete = False
        """True when the body has arrived completely."""
        self.trailers: HeaderList = []
        """The trailer fields, when the body is complete."""

    def take(self) -> bytes:
        """Empty the buffer, and return its bytes."""
        parts = self.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.buffered = 0
        return data

    def end(self, trailers: HeaderList) -> None:
        """Complete the body."""
        self.complete, self.trailers = True, trailers
