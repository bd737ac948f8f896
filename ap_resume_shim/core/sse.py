"""Server-Sent Events, as bytes (WHATWG HTML, section 9.2).

LangGraph's servers end lines with CRLF, others with LF; chunks end anywhere, also between CR and LF or inside a
character. So events are found in the bytes and decoded when they are complete.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import UpstreamError
from ap_resume_shim.core.reframer import Ended, Reframer

MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one unfinished event that are kept, at most."""

_END = re.compile(rb"(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r(?!\n)|\n)")
_LINE = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Event:
    """One block of a stream: `raw` with its blank line, and what it says. `data` is None for a comment alone."""

    raw: bytes
    name: str | None
    data: str | None

    @property
    def json(self) -> Any:
        """The data, decoded; the text itself where it is not JSON."""
        try:
            return strictjson.read(self.data or "null")
        except ValueError:
            return self.data


class Decoder:
    """Bytes in, in any split; complete events out. A half event at the end of a stream is dropped, as HTML says."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; raises `UpstreamError` for an event without end."""
        rest = self._rest + chunk
        events, start = [], 0
        # A CR at the very end may be half of a CRLF: wait for the next byte.
        whole = len(rest) - rest.endswith(b"\r")
        for match in _END.finditer(rest, max(0, len(self._rest) - 3), whole):
            events.append(_event(rest[start : match.end()]))
            start = match.end()
        self._rest = rest[start:]
        if len(self._rest) > MAX_EVENT:
            raise UpstreamError(f"The backend's stream holds an event of more than {MAX_EVENT} bytes.")
        return events


class Relay:
    """A `Reframer` that passes every byte on as it came."""

    def __init__(self) -> None:
        self._tail = b"\n\n"

    def feed(self, chunk: bytes) -> bytes:
        """The same bytes."""
        self._tail = (self._tail + chunk)[-4:]
        return chunk

    def finish(self) -> bytes:
        """Nothing is left."""
        return b""

    @property
    def between_events(self) -> bool:
        """Whether the last bytes are a blank line."""
        return self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))

    @property
    def over(self) -> bool:
        """The stream ends by itself."""
        return False

    def ended(self) -> Ended:
        """What passes is not looked into: the thread tells."""
        return Ended()


class WithRunId:
    """A `Reframer` in front of another: the first event names the run, by the backend's `metadata` or by ours.

    What is relayed is held back until its first event is complete, since only then it shows which of the two. What is
    reframed has no `metadata`.
    """

    def __init__(self, inner: Reframer, run_id: str) -> None:
        self._inner, self._metadata = inner, encode("metadata", {"run_id": run_id})
        self._held: bytes | None = b""

    def feed(self, chunk: bytes) -> bytes:
        """The same bytes, behind our own event where the backend has none."""
        if self._held is None:
            return self._inner.feed(chunk)
        self._held += chunk
        if not isinstance(self._inner, Relay):
            return self._begin(named=False)
        first = first_event(self._held)
        return b"" if first is None else self._begin(named=first.name == "metadata")

    def finish(self) -> bytes:
        """What was held back, and what the other reframer has left."""
        rest = b"" if self._held is None else self._begin(named=False)
        return rest + self._inner.finish()

    @property
    def between_events(self) -> bool:
        """As the other reframer says: what is held back has not been sent."""
        return self._inner.between_events

    @property
    def over(self) -> bool:
        """As the other reframer says."""
        return self._inner.over

    def ended(self) -> Ended:
        """As the other reframer says."""
        return self._inner.ended()

    def _begin(self, *, named: bool) -> bytes:
        held, self._held = self._held or b"", None
        return (b"" if named else self._metadata) + self._inner.feed(held)


def encode(name: str, value: Any) -> bytes:
    """One event of a JSON value."""
    return b"event: " + name.encode() + b"\ndata: " + strictjson.dumps(value) + b"\n\n"


def first_event(raw: bytes) -> Event | None:
    """The first complete event that is more than a comment."""
    return next((event for event in Decoder().feed(raw) if event.data is not None), None)


def _event(raw: bytes) -> Event:
    name, data = None, []
    for line in _LINE.split(raw):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"data":
            data.append(value.decode("utf-8", "replace"))
    return Event(raw, name, "\n".join(data) if data else None)
