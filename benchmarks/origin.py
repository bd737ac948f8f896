"""The origin servers behind the proxies that are measured.

JSON comes from nginx, which is faster than any of these proxies. Streams and bodies come from a bare asyncio protocol
in a separate process, `python -m benchmarks.origin PORT`:

    GET /events           2,000 events of 250 bytes, each a chunk, written in one piece
    GET /events/singly    the same, each with a system call of its own
    GET /ticks            20 events a second without end, each with the time at which it was written
    GET /idle             one event, then silence
    GET /body             64 MiB
    POST /body            responds when the body is complete; requires a Content-Length
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Iterator
from itertools import count, islice
from time import monotonic_ns

EVENTS, EVENT_BYTES = 2_000, 250
BODY_BYTES = 64 * 1024 * 1024
TURN = 50
"""Number of events that are sent on one connection before those of the next one."""
TICKS_PER_SECOND = 20
STAGGERED = 200
"""Number of streams over which the times of the ticks are spread."""

JSON = json.dumps({"text": "x" * (600 - len('{"text": ""}'))})
"""600 bytes."""
NGINX = """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        keepalive_requests 1000000000;
        location / {{ default_type application/json; return 200 '{json}'; }}
    }}
"""

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BODY_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: %d\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
PIECE = memoryview(bytes(256 * 1024))


def chunk(data: bytes) -> bytes:
    """Return bytes as one chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(stamp: int) -> bytes:
    """Return an event of 250 bytes with the time of its writing, in nanoseconds of the monotonic clock."""
    start = b'event: values\ndata: {"at": %d, "text": "' % stamp
    return start + b"x" * (EVENT_BYTES - len(start) - 4) + b'"}\n\n'


MANY = [chunk(event(number)) for number in range(EVENTS)]
"""The events of one response."""


class Origin(asyncio.Protocol):
    """One connection; a request at a time."""

    streams = count()

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.head = b""
        self.to_read = 0
        self.to_write = 0
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the ticks."""
        self.to_write = 0
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Read a head, or the body after it."""
        if self.to_read:
            self._body(len(data))
            return
        self.head += data
        head, found, rest = self.head.partition(b"\r\n\r\n")
        if found:
            self.head = b""
            self._request(head, rest)

    def _request(self, head: bytes, rest: bytes) -> None:
        method, path, _ = head.split(b" ", 2)
        if method == b"POST":
            self.to_read = _content_length(head)
            self._body(len(rest))
        else:
            ANSWERS[path.partition(b"?")[0]](self)

    def _body(self, received: int) -> None:
        self.to_read -= received
        if self.to_read <= 0:
            self.to_read = 0
            self.transport.write(BODY_HEAD % 2 + b"ok")

    def events(self) -> None:
        """Send all events in one piece."""
        self.transport.write(b"".join([STREAM_HEAD, *MANY, LAST_CHUNK]))

    def singly(self) -> None:
        """Send the events one by one, in turn with other connections; asyncio's own transport sends each at once."""
        self._some(iter([STREAM_HEAD, *MANY, LAST_CHUNK]))

    def _some(self, parts: Iterator[bytes]) -> None:
        for part in islice(parts, TURN):
            self.transport.write(part)
            if part is LAST_CHUNK or self.transport.is_closing():
                return
        self.loop.call_soon(self._some, parts)

    def ticks(self) -> None:
        """Send the first event with the head; the streams are spread evenly over the time between two events."""
        self.transport.write(STREAM_HEAD + chunk(event(monotonic_ns())))
        phase = next(self.streams) % STAGGERED / STAGGERED
        self._tick_at(self.loop.time() + (1 + phase) / TICKS_PER_SECOND)

    def _tick_at(self, when: float) -> None:
        self.timer = self.loop.call_at(when, self._tick, when)

    def _tick(self, when: float) -> None:
        self.transport.write(chunk(event(monotonic_ns())))
        self._tick_at(when + 1 / TICKS_PER_SECOND)

    def idle(self) -> None:
        """Send one event, and leave the stream open."""
        self.transport.write(STREAM_HEAD + chunk(event(0)))

    def body(self) -> None:
        """Send a large body, at the client's pace."""
        self.transport.write(BODY_HEAD % BODY_BYTES)
        self.to_write = BODY_BYTES
        self.resume_writing()

    def pause_writing(self) -> None:
        """The write buffer is full: stop sending the body."""
        self.paused = True

    def resume_writing(self) -> None:
        """Continue the body, if one is being sent."""
        self.paused = False
        while self.to_write and not self.paused:
            self.to_write -= len(PIECE)
            self.transport.write(PIECE)


ANSWERS = {
    b"/events": Origin.events,
    b"/events/singly": Origin.singly,
    b"/ticks": Origin.ticks,
    b"/idle": Origin.idle,
    b"/body": Origin.body,
}


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    raise ValueError("a body without a length")


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Origin, "127.0.0.1", port, backlog=4096) as server:
        gc.freeze()
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
