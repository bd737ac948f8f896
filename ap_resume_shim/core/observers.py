"""Observers of a client's own exchanges with the backend: what they share is how an answer is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.http import Headers, Response
from ap_resume_shim.core.sse import Decoder

if TYPE_CHECKING:
    from ap_resume_shim.core.dialect import Note

LARGEST = 4 * 1024 * 1024
"""Bytes of an answer that is no stream; a larger one is not read."""


def is_event_stream(headers: Headers) -> bool:
    """Whether an answer is a stream of events, by its media type."""
    return (Response(200, headers).header("content-type") or "").startswith("text/event-stream")


class JsonObserver:
    """Base class of observers that read objects: those in the events of a stream, or the one that is the body."""

    def __init__(self) -> None:
        self._reads = True
        self._decoder: Decoder | None = None
        self._body = b""

    def request(self, body: bytes) -> None:
        """Not read."""

    def head(self, status: int, headers: Headers) -> Iterable[Note]:
        """Nothing but whether a stream comes."""
        self._decoder = Decoder() if is_event_stream(headers) else None
        return ()

    def feed(self, chunk: bytes) -> Iterator[Note]:
        """A body may be whole before the server says so."""
        if not self._reads:
            return
        if self._decoder is not None:
            for event in self._decoder.feed(chunk):
                yield from self._note_if_object(event.json)
        elif len(self._body) < LARGEST:
            self._body += chunk
            if chunk.endswith(b"}"):
                yield from self._note_body()

    def end(self, *, complete: bool) -> Iterator[Note]:
        """A body may end with white space."""
        if self._reads and self._decoder is None:
            yield from self._note_body()

    def _note_body(self) -> Iterator[Note]:
        value = Response(200, (), self._body).json
        self._reads = value is None
        yield from self._note_if_object(value)

    def _note_if_object(self, value: Any) -> Iterable[Note]:
        return self._note(value) if isinstance(value, dict) else ()

    def _note(self, value: dict[str, Any]) -> Iterable[Note]:
        """What the ledger keeps of an object that the backend answered."""
        raise NotImplementedError
