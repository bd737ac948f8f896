"""Server-Sent Events, as bytes (WHATWG HTML, section 9.2).

LangGraph's servers end lines with CRLF, others with LF. Chunks may end anywhere, even between CR and LF or inside a
character, so events are found in the bytes and decoded when they are complete.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import UpstreamError

MAX_EVENT = 16 * 1024 * 1024
"""Maximum size in bytes of an unfinished event."""

_END = re.compile(rb"(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r(?!\n)|\n)")
_LINE = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Event:
    """One block of a stream: `raw` with its blank line, and its fields.

    `data` is None if the block has only comments.
    """

    raw: bytes
    name: str | None
    data: str | None
    id: str | None = None

    @property
    def json(self) -> Any:
        """The decoded data; the text itself if it is not JSON."""
        try:
            return strictjson.read(self.data or "null")
        except ValueError:
            return self.data


class Decoder:
    """Splits bytes into events.

    Chunks may end anywhere; an unfinished event at the end of a stream is dropped, as HTML requires.
    """

    def __init__(self) -> None:
        self.rest = b""
        """The bytes of the unfinished event."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Process the next bytes.

        Returns the complete events. Raises `UpstreamError` for an event larger than `MAX_EVENT`.
        """
        rest = self.rest + chunk
        events, start = [], 0
        # A CR at the very end may be half of a CRLF: wait for the next byte.
        whole = len(rest) - rest.endswith(b"\r")
        for match in _END.finditer(rest, max(0, len(self.rest) - 3), whole):
            events.append(_event(rest[start : match.end()]))
            start = match.end()
        self.rest = rest[start:]
        if len(self.rest) > MAX_EVENT:
            raise UpstreamError(f"The backend's stream contains an event of more than {MAX_EVENT} bytes.")
        return events


def encode(name: str, value: Any) -> bytes:
    """Return one event with a JSON value as its data."""
    return b"event: " + name.encode() + b"\ndata: " + strictjson.dumps(value) + b"\n\n"


def first_event(raw: bytes) -> Event | None:
    """Return the first complete event that has data; None if there is none."""
    return next((event for event in Decoder().feed(raw) if event.data is not None), None)


def _event(raw: bytes) -> Event:
    name, data, id_ = None, [], None
    for line in _LINE.split(raw):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"data":
            data.append(value.decode("utf-8", "replace"))
        elif field == b"id":
            id_ = value.decode("utf-8", "replace")
    return Event(raw, name, "\n".join(data) if data else None, id_)
