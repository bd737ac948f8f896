"""Deterministic work for the whole sidecar, in one process and without a network, for valgrind to count.

    python -m benchmarks.driver UNITS [metrics | traces]

Client and server are simulated. Between them are the parts of `ap-resume-shim serve`: the server's protocol, the health
routes, the shim, the proxy and the client's transport. The clock of the event loop stands still, so that no timer
depends on the speed of the machine. Each piece of work is done twice: once to warm up, and once between two calls of
`mark`, which is counted. `metrics` and `traces` turn these on.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.http1.server import Http1Server
from ap_resume_shim.http1.server_connection import Http1Protocol
from ap_resume_shim.middleware import VendorMode
from ap_resume_shim.runtime.telemetry import Telemetry
from ap_resume_shim.sidecar.health import Health
from benchmarks.guard import PROTOCOL

PASSED = "request passed through"
POSTED = "POST passed through"
MODES: tuple[VendorMode, ...] = ("pass", "observe", "guard")
ALIKE = {f"{passed}, {mode}": passed for passed in (PASSED, POSTED) for mode in MODES[1:]}
"""Requests that no convention recognises, with vendor resumes observed or guarded, by the same request without."""
WORK = ("reference", PASSED, "event of a stream", "resume", "event of a resume's stream", POSTED, *ALIKE)
"""The pieces of work, in order."""

REQUEST = (
    b"GET /threads/t-1/state?subgraphs=true HTTP/1.1\r\nHost: 127.0.0.1:8063\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip, deflate\r\nUser-Agent: python-httpx/0.28.1\r\nAuthorization: Bearer me\r\n\r\n"
)
POST = (
    b"POST /threads/t-1/state HTTP/1.1\r\nHost: 127.0.0.1:8063\r\nAccept: */*\r\nAuthorization: Bearer me\r\n"
    b"Content-Type: application/json\r\nContent-Length: 13\r\n\r\n"
    b'{"values": 1}'
)
STREAM = b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1:8063\r\nAccept: text/event-stream\r\n\r\n"
RESUME = (
    b"PATCH /runs/resume HTTP/1.1\r\nHost: 127.0.0.1:8063\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer me\r\nIdempotency-Key: key-%06d\r\nContent-Length: 45\r\n\r\n"
    b'{"thread_id": "t-%06d", "input": "approve"}'
)
STREAMED_RESUME = RESUME.replace(b"resume HTTP", b"resume/stream HTTP")
RUN = {
    "run_id": "r-1",
    "agent_id": "deploy",
    "status": "pending",
    "metadata": {},
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}
THREAD = {"thread_id": "t", "status": "interrupted", "interrupts": [{"id": "i-1", "value": "deploy?"}]}
METADATA = b'event: metadata\ndata: {"run_id":"r-1"}\n\n'
EVENT = b'event: values\ndata: {"text": "%b"}\n\n' % (b"x" * 221)
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunked(body: bytes) -> bytes:
    """Return one chunk of HTTP/1.1."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def answer(body: bytes) -> bytes:
    """Return a response as uvicorn sends it."""
    head = b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\ncontent-length: %d\r\n"
    return head % len(body) + b"content-type: application/json\r\n\r\n" + body


ANSWERS = {
    b"GET /threads/t-1/": answer(json.dumps({"text": "x" * 588}).encode()),
    b"POST /threads/t-1/": answer(json.dumps({"text": "x" * 588}).encode()),
    b"GET /stream": STREAM_HEAD,
    b"GET /threads/": answer(json.dumps(THREAD).encode()),
    b"POST /runs/stream": STREAM_HEAD + chunked(METADATA),
    b"POST /runs/search": answer(json.dumps([RUN]).encode()),
    b"POST /runs": answer(json.dumps(RUN).encode()),
}
"""Responses by the beginning of the request; the first match is used."""


class Pipe(asyncio.Transport):
    """A connection that passes what is written to a callback."""

    def __init__(self, on_write: Callable[[bytes], None]) -> None:
        super().__init__({"sockname": ("127.0.0.1", 8063), "peername": ("127.0.0.1", 40000)})
        self._on_write = on_write
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Call the callback."""
        self._on_write(bytes(data))

    def is_closing(self) -> bool:
        """True if this side has closed it."""
        return self._closing

    def close(self) -> None:
        """Mark the connection as closed."""
        self._closing = True

    abort = close

    def pause_reading(self) -> None:
        """Does nothing: the peer never sends ahead."""

    def resume_reading(self) -> None:
        """Does nothing: reading is never paused."""


class Upstream:
    """The server behind the sidecar, on one connection."""

    def __init__(self, loop: Loop, protocol: asyncio.Protocol) -> None:
        self.loop, self.protocol = loop, protocol
        self.request = b""
        protocol.connection_made(Pipe(self.receive))

    def receive(self, data: bytes) -> None:
        """Receive bytes; respond when a request is complete."""
        self.request += data
        head, whole, body = self.request.partition(b"\r\n\r\n")
        length = LENGTH.search(head) if whole else None
        if whole and (length is None or len(body) >= int(length[1])):
            self.request = b""
            found = next(answer for start, answer in ANSWERS.items() if head.startswith(start))
            if found.startswith(STREAM_HEAD):
                self.loop.streaming = self.protocol
            self.loop.call_soon(self.protocol.data_received, found)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still, and whose connections all lead to the simulated server."""

    def __init__(self) -> None:
        super().__init__()
        self.streaming: asyncio.Protocol | None = None
        """The connection on which the server began its last stream."""

    def time(self) -> float:
        """Return the same time always."""
        return 1.0

    async def create_connection(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        """Connect to the simulated server, whatever the address."""
        protocol = protocol_factory()
        Upstream(self, protocol)
        return None, protocol


def telemetry(name: str) -> list[Telemetry]:
    """Return what observes the resumes; traces are recorded, and not exported."""
    match name:
        case "metrics":
            from prometheus_client import CollectorRegistry

            from ap_resume_shim.metrics import Metrics

            return [Metrics(CollectorRegistry())]
        case "traces":
            from opentelemetry.sdk.trace import TracerProvider

            from ap_resume_shim.tracing import Tracing

            return [Tracing(TracerProvider())]
        case _:
            return []


class Client:
    """A client of the sidecar, on one connection."""

    def __init__(self, loop: Loop, vendor_resumes: VendorMode = "pass", observed: str = "") -> None:
        self.loop = loop
        proxy = ReverseProxy("http://127.0.0.1:2024", transport=Http1Transport)
        shim = ResumeShim(proxy, PROTOCOL, vendor_resumes=vendor_resumes, telemetry=telemetry(observed))
        self.server = Http1Protocol(Http1Server(Health(shim, ready=shim.ready)), loop)
        self.received = b""
        self.waiting: asyncio.Future[None] | None = None
        self.resumed = 0
        self.deliver: Callable[[], None] | None = None
        """Delivers the next event of a stream."""
        self.server.connection_made(Pipe(self.receive))

    def receive(self, data: bytes) -> None:
        """Receive bytes from the sidecar."""
        self.received += data
        if self.deliver is not None and data.endswith(b"\n\n\r\n"):
            self.loop.call_soon(self.deliver)
        elif self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    async def until(self, end: bytes) -> None:
        """Wait until the received bytes end with `end`. Raises `RuntimeError` for a response other than 200."""
        while not self.received.endswith(end):
            self.waiting = self.loop.create_future()
            await self.waiting
            if self.received.startswith(b"HTTP/1.1 ") and not self.received.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(self.received.decode())
        self.received = b""

    async def requests(self, units: int, request: bytes = REQUEST) -> None:
        """Send requests with small responses, one after the other."""
        for _ in range(units):
            self.server.data_received(request)
            await self.until(b'x"}')

    async def posts(self, units: int) -> None:
        """Send POST requests, whose method a vendor resume may have."""
        await self.requests(units, POST)

    async def events(self, units: int) -> None:
        """Read one stream; each event is sent when the one before has arrived."""
        self.server.data_received(STREAM)
        await self.until(b"\r\n\r\n")
        await self._stream(units)

    async def _stream(self, units: int) -> None:
        upstream, chunk = self.loop.streaming, chunked(EVENT)
        assert upstream is not None
        left = units

        def deliver() -> None:
            nonlocal left
            left -= 1
            self.received = b""
            upstream.data_received(chunk if left >= 0 else b"0\r\n\r\n")

        self.deliver = deliver
        self.loop.call_soon(deliver)  # in a callback, as the event loop delivers data, not in a task
        await self.until(b"0\r\n\r\n")
        self.deliver = None

    async def resumes(self, units: int) -> None:
        """Send background resumes, each of another thread."""
        for _ in range(units):
            self.resumed += 1
            self.server.data_received(RESUME % (self.resumed, self.resumed))
            await self.until(b"}")

    async def resume_events(self, units: int) -> None:
        """Resume in stream mode; each event is sent when the one before has arrived."""
        self.resumed += 1
        self.server.data_received(STREAMED_RESUME % (self.resumed, self.resumed))
        await self.until(b'r-1"}\n\n\r\n')
        await self._stream(units)


async def reference(units: int) -> None:
    """Work of the same kind without the shim, to which the other counts are compared: builds of Python differ."""
    loop = asyncio.get_running_loop()

    async def echo(head: bytes) -> dict[bytes, bytes]:
        received: asyncio.Future[bytes] = loop.create_future()
        loop.call_soon(received.set_result, head)
        first, *lines = (await received).split(b"\r\n")
        fields = dict(line.split(b": ", 1) for line in lines if line)
        return {name.lower(): value for name, value in fields.items()} | {b"first": first}

    for _ in range(units):
        for _ in range(10):
            await loop.create_task(echo(REQUEST))


def mark() -> None:
    """Call a C function that nothing else calls, and that valgrind recognises by its name."""
    os.getsid(0)


async def measured(work: Callable[[int], Awaitable[None]], units: int) -> None:
    """Do the work once to warm up, and once more between two marks."""
    await work(units)
    gc.collect()
    gc.freeze()
    mark()
    await work(units)
    mark()


async def drive(loop: Loop, units: int, observed: str) -> None:
    """Do all pieces of work, in the order of `WORK`."""
    client, *others = (Client(loop, mode, observed) for mode in MODES)
    passed = [client.posts, *(other.requests for other in others), *(other.posts for other in others)]
    for work in (reference, client.requests, client.events, client.resumes, client.resume_events, *passed):
        await measured(work, units)
    while running := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(running)


def main(units: int, observed: str = "") -> None:
    """Do all work on a new event loop."""
    loop = Loop()
    loop.run_until_complete(drive(loop, units, observed))
    loop.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
