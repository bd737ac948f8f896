"""`IncomingBody`: the body of a request or a response, buffered from its arrival until it is read."""

from __future__ import annotations

from ap_resume_shim.core.asgi import HeaderList


class IncomingBody:
    """The parts of one body, in the order of arrival. The connection fills it, and the reader takes from it."""

    __slots__ = ("buffered", "complete", "parts", "trailers")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        """The parts that were not taken yet; always the same list, to which a parser may append."""
        self.buffered = 0
        """The memory that these parts take, in bytes."""
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
