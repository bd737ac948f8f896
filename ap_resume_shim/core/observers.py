"""Base for observers of a client's own exchanges with the backend: reads JSON from responses and event streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.http import Headers, Response
from ap_resume_shim.core.sse import Decoder

if TYPE_CHECKING:
    from ap_resume_shim.core.dialect import ThreadEntry

LARGEST = 4 * 1024 * 1024
"""Maximum size in bytes of a response body that is read, if it is not a stream."""


def is_event_stream(headers: Headers) -> bool:
    """Return True if the media type is `text/event-stream`."""
    return (Response(200, headers).header("content-type") or "").startswith("text/event-stream")


class JsonObserver:
    """Base class of observers that read JSON objects: those in the events of a stream, or the one that is the body."""

    def __init__(self) -> None:
        self._reads = True
        self._decoder: Decoder | None = None
        self._body = b""

    def request(self, body: bytes) -> None:
        """Ignores the request."""

    def head(self, status: int, headers: Headers) -> Iterable[ThreadEntry]:
        """Detect whether the response is an event stream. Returns no entries."""
        self._decoder = Decoder() if is_event_stream(headers) else None
        return ()

    def feed(self, chunk: bytes) -> Iterator[ThreadEntry]:
        """Read the next bytes. A body may be complete before the server ends the response."""
        if not self._reads:
            return
        if self._decoder is not None:
            for event in self._decoder.feed(chunk):
                yield from self._entries_in_any(event.json)
        elif len(self._body) < LARGEST:
            self._body += chunk
            if chunk.endswith(b"}"):
                yield from self._entries_in_body()

    def end(self, *, complete: bool) -> Iterator[ThreadEntry]:
        """Read a body that ends with white space."""
        if self._reads and self._decoder is None:
            yield from self._entries_in_body()

    def _entries_in_body(self) -> Iterator[ThreadEntry]:
        value = Response(200, (), self._body).json
        self._reads = value is None
        yield from self._entries_in_any(value)

    def _entries_in_any(self, value: Any) -> Iterable[ThreadEntry]:
        return self._entries_in(value) if isinstance(value, dict) else ()

    def _entries_in(self, value: dict[str, Any]) -> Iterable[ThreadEntry]:
        """Return the ledger's entries about one JSON object of a response."""
        raise NotImplementedError
