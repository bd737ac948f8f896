"""An origin server on bare sockets: it records the exact bytes that reach it, and answers by path, from a script.

Each proxy has a door of its own, a port, so that what came through whom is known. Scripts are bytes, pauses and ends:
nothing here writes a field or a frame that the script does not say.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import SupportsIndex

FieldLines = list[tuple[bytes, bytes]]

KEPT = 1 << 22
"""Bytes of a connection that are recorded."""
HEAD = 3 << 19
"""Bytes that a head may have here; a proxy's limit is to be seen, not the origin's."""
BIG = 64 << 20
"""Bytes of the large bodies."""
IDLE = 1
"""Seconds that a connection may be idle, where the origin announces a limit."""
BLOCK = bytes(range(256)) * 256


class Step(Enum):
    """What a script does besides sending bytes and pausing."""

    WAIT = "until the test says `release`"
    RESET = "the connection ends with RST"
    CLOSE = "the connection ends with FIN"


Script = tuple[bytes | float | Step, ...]


class Recording(asyncio.StreamReader):
    """A reader that keeps what it was fed since the door was cleared, and when the other side left."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=HEAD, loop=loop)
        self.raw = bytearray()
        self.left: float | None = None
        self.idle_since: float | None = None

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        if len(self.raw) < KEPT:
            self.raw += bytes(data)
        super().feed_data(data)

    def feed_eof(self) -> None:
        self.left = self.left or time.monotonic()
        super().feed_eof()

    def set_exception(self, exc: Exception) -> None:
        self.left = self.left or time.monotonic()
        super().set_exception(exc)


@dataclass
class Request:
    """A request as it reached the origin; `body` is None until it is complete."""

    connection: Recording
    head: bytes
    method: bytes
    target: bytes
    lines: FieldLines
    body: bytes | None = None
    trailers: bytes = b""
    digest: str = ""

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field's lines, in order."""
        return [value for known, value in self.lines if known.lower() == name]


@dataclass
class Door:
    """A port of the origin, and what came through it."""

    port: int
    _loop: asyncio.AbstractEventLoop
    requests: list[Request] = field(default_factory=list)
    connections: list[Recording] = field(default_factory=list)
    sent: int = 0
    released: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    play: Play | None = None
    """What answers in place of the scripts."""
    _past: list[asyncio.Semaphore] = field(default_factory=list)  # scripts that nobody lets go on any more wait there

    def release(self) -> None:
        """Let the script go on."""
        self._loop.call_soon_threadsafe(self.released.release)

    def forget(self) -> None:
        """Begin anew: what came before is of no interest."""
        self._past.append(self.released)
        self.requests, self.sent, self.released = [], 0, asyncio.Semaphore(0)
        for connection in self.connections:
            connection.raw.clear()


Play = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request, and the means to answer it."""

    door: Door
    request: Request
    writer: asyncio.StreamWriter

    async def play(self, *script: bytes | float | Step) -> None:
        """Do what the script says."""
        for step in script:
            if isinstance(step, bytes):
                self.writer.write(step)
                await self.writer.drain()
                self.door.sent += len(step)
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif step is Step.WAIT:
                await self.door.released.acquire()
            else:
                self._end(step)

    def _end(self, step: Step) -> None:
        if step is Step.RESET:
            plug: socket.socket = self.writer.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()

    async def read(self, each: Callable[[bytes], Awaitable[None]] | None = None) -> bytes:
        """Read the body to its end; `each` part is seen when it has come."""
        request, reader, digest, kept = self.request, self.request.connection, hashlib.sha256(), bytearray()

        async def take(size: int) -> None:
            while size:
                part = await reader.read(min(size, 1 << 16))
                if not part:
                    raise asyncio.IncompleteReadError(b"", size)
                size -= len(part)
                digest.update(part)
                if len(kept) < KEPT:
                    kept.extend(part)
                if each is not None:
                    await each(part)

        if request.values(b"transfer-encoding"):
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                await take(size)
                await reader.readexactly(2)
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                request.trailers += line
        else:
            await take(int((request.values(b"content-length") or [b"0"])[0]))
        request.digest = digest.hexdigest()
        request.body = bytes(kept)
        return request.body


def answer(body: bytes = b"ok", *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer of known length."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"Content-Length: %d" % len(body), b"", body])


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
EVENTS = tuple(b'event: values\ndata: {"n": %d}\n\n' % n for n in range(5))
ZIPPED = gzip.compress(b"as it was packed" * 20, mtime=0)

SCRIPTS: dict[bytes, Script] = {
    b"/": (answer(),),
    b"/events": (CHUNKED, *(step for event in EVENTS for step in (Step.WAIT, chunk(event))), b"0\r\n\r\n"),
    b"/stream": (CHUNKED, *(step for _ in range(200) for step in (chunk(b"data: on\n\n"), 0.05)), b"0\r\n\r\n"),
    b"/idle": (CHUNKED, chunk(b"data: first\n\n"), Step.WAIT),
    b"/silent": (Step.WAIT,),
    b"/late": (0.2, answer()),
    b"/cookies": (answer(b"ok", b"Set-Cookie: a=1; Path=/", b"X-Between: 1", b"Set-Cookie: b=2; Path=/"),),
    b"/redirect": (b"HTTP/1.1 302 Found\r\nLocation: /cookies\r\nContent-Length: 0\r\n\r\n",),
    b"/fields": (answer(b"ok", b"X-One: 1", b"X-Two: a", b"X-Empty:", b"X-Two: b", b"X-Odd: \xc3\xa9 \xff"),),
    b"/case": (answer(b"ok", b"X-MiXed: 1", status=b"200 Fine By Me"),),
    b"/odd-status": (answer(b"ok", status=b"299 Odd"),),
    b"/hop": (answer(b"ok", b"Connection: X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=9", b"X-End: 1"),),
    b"/hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n", 0.05, answer()),
    b"/limited/102": (b"HTTP/1.1 102 Processing\r\n\r\n", Step.WAIT),
    b"/limited/103": (b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n", Step.WAIT),
    b"/status/000": (answer(b"ok", status=b"000 Odd"),),
    b"/status/099": (answer(b"ok", status=b"099 Odd"),),
    b"/status/600": (answer(b"ok", status=b"600 Odd"),),
    b"/status/999": (answer(b"ok", status=b"999 Odd"),),
    b"/204": (b"HTTP/1.1 204 No Content\r\nX-End: 1\r\n\r\n",),
    b"/304": (b'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\nContent-Length: 1234\r\n\r\n',),
    b"/gzip": (answer(ZIPPED, b"Content-Encoding: gzip", b"Content-Type: application/json"),),
    b"/trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n",
        chunk(b"summed"),
        b"0\r\nX-Sum: 7\r\n\r\n",
    ),
    b"/to-the-end": (TO_THE_END, b"until it closes", Step.CLOSE),
    b"/http10": (b"HTTP/1.0 200 OK\r\n\r\nof old", Step.CLOSE),
    b"/chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(b"in chunks"), b"0\r\n\r\n"),
    b"/large-head": (answer(b"ok", *(b"X-%03d: %b" % (n, b"v" * 90) for n in range(100))),),
    b"/coding": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        chunk(ZIPPED),
        b"0\r\n\r\n",
    ),
    b"/once": (answer(), 0.05, Step.CLOSE),
    b"/broken/chunked/fin": (CHUNKED, chunk(b"half"), 0.05, Step.CLOSE),
    b"/broken/chunked/rst": (CHUNKED, chunk(b"half"), 0.05, Step.RESET),
    b"/broken/chunk/fin": (CHUNKED, b"64\r\nhalf", 0.05, Step.CLOSE),
    b"/broken/length/fin": (LONG, b"half", 0.05, Step.CLOSE),
    b"/broken/length/rst": (LONG, b"half", 0.05, Step.RESET),
    b"/broken/close/rst": (TO_THE_END, b"half", 0.05, Step.RESET),
    b"/broken/head/fin": (b"HTTP/1.1 200 OK\r\nContent-Le", 0.05, Step.CLOSE),
    b"/broken/before/fin": (0.05, Step.CLOSE),
    b"/broken/before/rst": (0.05, Step.RESET),
    b"/broken/garbage": (b"\x16\x03\x01 this is not HTTP\r\n\r\n", 0.05, Step.CLOSE),
}  # fmt: skip


async def _early(exchange: Exchange) -> None:
    """Refuse before the body is read; read what comes all the same, so that nothing is lost to a reset."""
    await exchange.play(answer(b"no", b"Connection: close", status=exchange.request.target[1:] + b" Refused"))
    try:
        await asyncio.wait_for(exchange.read(), 1)
    except TimeoutError:
        pass
    exchange.writer.close()


async def _head(exchange: Exchange) -> None:
    """What a GET would have: its length, and no byte of it."""
    await exchange.play(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-End: 1\r\n\r\n")


async def _continue(exchange: Exchange) -> None:
    """100 only when the test says so."""
    await exchange.play(Step.WAIT)
    if exchange.request.values(b"expect"):
        await exchange.play(b"HTTP/1.1 100 Continue\r\n\r\n")
    await exchange.read()
    await exchange.play(answer(exchange.request.body or b""))


async def _upload(exchange: Exchange) -> None:
    await exchange.read()
    await exchange.play(answer(exchange.request.digest.encode()))


async def _download(exchange: Exchange) -> None:
    await exchange.play(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG, *[BLOCK] * (BIG // len(BLOCK)))


async def _stuck(exchange: Exchange) -> None:
    """A server that reads the head and no more."""
    await exchange.play(Step.WAIT, Step.CLOSE)


async def _duplex(exchange: Exchange) -> None:
    """Send each part of the body back as it comes."""
    await exchange.play(CHUNKED)
    await exchange.read(lambda part: exchange.play(chunk(part)))
    await exchange.play(b"0\r\n\r\n")


async def _unasked(exchange: Exchange) -> None:
    """A stream that begins, and stays idle, without a look at the request's body."""
    await exchange.play(*SCRIPTS[b"/idle"])


async def _announced(exchange: Exchange) -> None:
    """Announce a limit for idle connections, and close one that was idle for longer, although a request comes."""
    connection = exchange.request.connection
    if connection.idle_since is not None and time.monotonic() - connection.idle_since > IDLE:
        await exchange.play(Step.RESET)
        return
    await exchange.read()
    await exchange.play(answer(b"ok", b"Keep-Alive: timeout=%d" % IDLE))
    connection.idle_since = time.monotonic()


async def _trailing(exchange: Exchange) -> None:
    """Trailers without end."""
    await exchange.play(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(b"ok"), b"0\r\n")
    for n in range(BIG // 1024):
        await exchange.play(b"X-%08d: %b\r\n" % (n, b"v" * 1010))
    await exchange.play(b"\r\n")


async def _upgrade(exchange: Exchange) -> None:
    """Switch to a protocol that sends back what it is sent, if asked to."""
    if not exchange.request.values(b"upgrade"):
        await exchange.play(answer(b"nothing to switch to", status=b"426 Upgrade Required"))
        return
    fields = b"" if exchange.request.target.endswith(b"/bare") else b"Connection: Upgrade\r\n"
    await exchange.play(b"HTTP/1.1 101 Switching Protocols\r\n%bUpgrade: echo\r\n\r\n" % fields)
    while part := await exchange.request.connection.read(1 << 16):
        await exchange.play(part)


HANDLERS: dict[bytes, Play] = {
    b"/401": _early,
    b"/413": _early,
    b"/417": _early,
    b"/head": _head,
    b"/continue": _continue,
    b"/upload": _upload,
    b"/download": _download,
    b"/stuck": _stuck,
    b"/duplex": _duplex,
    b"/unasked": _unasked,
    b"/announced": _announced,
    b"/trailing": _trailing,
    b"/upgrade": _upgrade,
    b"/upgrade/bare": _upgrade,
}


async def _by_path(exchange: Exchange) -> None:
    """Answer as the path says."""
    path = exchange.request.target.partition(b"?")[0]
    if path in HANDLERS:
        await HANDLERS[path](exchange)
        return
    if exchange.request.values(b"expect"):
        await exchange.play(b"HTTP/1.1 100 Continue\r\n\r\n")
    await exchange.read()
    await exchange.play(*SCRIPTS.get(path) or (_told(exchange.request),))


async def _serve(door: Door, reader: Recording, writer: asyncio.StreamWriter) -> None:
    door.connections.append(reader)
    try:
        while not writer.is_closing():
            exchange = Exchange(door, _request(await reader.readuntil(b"\r\n\r\n"), reader), writer)
            door.requests.append(exchange.request)
            await (door.play or _by_path)(exchange)
            if exchange.request.values(b"connection") == [b"close"]:
                break
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        pass  # the other side left, or sent what is no request; it is on record
    except asyncio.CancelledError:
        pass  # the origin ends; asyncio's streams would print a cancelled callback
    finally:
        writer.close()


def _told(request: Request) -> bytes:
    """What is answered elsewhere: what was asked, so that nobody takes another's answer for their own."""
    told = answer(request.method + b" " + request.target)
    return told.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if request.method == b"HEAD" else told


def _request(head: bytes, reader: Recording) -> Request:
    first, *lines = head[:-4].split(b"\r\n")
    method, _, rest = first.partition(b" ")
    target = rest.rpartition(b" ")[0]
    split = [line.partition(b":") for line in lines]
    return Request(reader, head, method, target, [(name, value.strip(b" \t")) for name, _, value in split])


class Origin:
    """The server, in a thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._servers: list[asyncio.Server] = []

    def door(self) -> Door:
        """Listen on one more port."""
        return asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)

    async def _open(self) -> Door:
        bound = socket.socket(proto=socket.IPPROTO_TCP)  # else asyncio leaves Nagle's algorithm on
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 19)  # else the kernel alone takes in 32 MiB
        bound.bind(("127.0.0.1", 0))
        door = Door(bound.getsockname()[1], self._loop)

        def protocol() -> asyncio.StreamReaderProtocol:
            reader = Recording(self._loop)
            return asyncio.StreamReaderProtocol(reader, lambda _, writer: _serve(door, reader, writer), self._loop)

        self._servers.append(await self._loop.create_server(protocol, sock=bound))
        return door

    async def end(self) -> None:
        """Stop listening, and end what still runs."""
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def running_origin() -> Iterator[Origin]:
    """The origin for as long as the block lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    origin = Origin(loop)
    try:
        yield origin
    finally:
        asyncio.run_coroutine_threadsafe(origin.end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
