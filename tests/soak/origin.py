"""The server behind the sidecar: an agent server, and what else a path can ask for, good or bad.

Raw HTTP/1.1, so that it can break off anywhere; in the loop of the test's clients.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

EVENT = b"event: values\ndata: " + b"x" * 230 + b"\n\n"
RUN = {"run_id": "r", "agent_id": "a", "status": "success", "created_at": "then", "updated_at": "now", "metadata": {}}
METADATA = b'event: metadata\ndata: {"run_id": "r"}\n\n'
FEW = json.dumps({"padding": "x" * 584}).encode()
"""600 bytes."""
PATIENCE = 90.0
"""Seconds in which the end of a connection has to be here. Before it come the bytes that nobody took, which a busy
kernel sends again after 0.2 s, 0.4 s, and so on up to half a minute."""
BUSY = 0.01
"""Seconds between the events of a stream that is never silent."""
SLOW = 0.3
"""Seconds that an agent thinks."""


class Left(Exception):
    """The sidecar has left, or the request asks for the end of the connection."""


class Origin:
    """Answers as the path says; a resume as its thread's name begins: `slow-`, `hang-`, `rst-`, `fin-`, `idle-`."""

    def __init__(self) -> None:
        self.open = 0
        """Connections."""
        self.answered = 0
        self.taking = asyncio.Event()
        """Set when what was sent to `/untaken` is to be read after all."""
        self._server: asyncio.Server

    async def __aenter__(self) -> Origin:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1000, limit=2**20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def is_left(self) -> bool:
        """Whether nobody is connected any more."""
        self.taking.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self.open:
                    await asyncio.sleep(0.1)
        self.taking.clear()
        return not self.open

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            # (asyncio's streams would print each of those that are cancelled at the end.)
            with suppress(Left, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await _Connection(reader, writer, self.taking).answer()
                    self.answered += 1
        finally:
            self.open -= 1
            writer.close()


class _Connection:
    """One request of a connection, and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, taking: asyncio.Event) -> None:
        self._reader, self._writer, self._taking = reader, writer, taking

    async def answer(self) -> None:
        """Raises `Left` when no other request may follow."""
        line, *fields = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = line.split()
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        path, query = urlsplit(target).path, dict(pair[:2] for pair in _pairs(urlsplit(target).query))
        if path.startswith("/tunnel"):
            await self._tunnel(path)
        if path == "/refuse":
            await self._break_off("rst" if "rst" in query else "fin")
        if path == "/untaken":
            await self._taking.wait()
            while await self._reader.read(2**20):
                pass
            raise Left
        body = await self._body(headers)
        routes: dict[str, Callable[[], Awaitable[None]]] = {
            "/events": lambda: self._events(int(query.get("n", "20"))),
            "/idle": self._idle,
            "/busy": self._busy,
            "/hang": self._hang,
            "/slow": self._slow,
            "/upload": lambda: self._json({"bytes": len(body)}),
            "/download": lambda: self._download(int(query["n"])),
            "/error": lambda: self._json({"detail": "no"}, 500),
            "/broken": lambda: self._broken(query["how"]),
            "/closing": self._closing,
        }
        if path in routes:
            await routes[path]()
        else:
            await self._agent(method, path, body)

    # What an agent server answers.

    async def _agent(self, method: str, path: str, body: bytes) -> None:
        if path.startswith("/threads/"):
            status = "idle" if path.startswith("/threads/idle-") else "interrupted"
            asks = [{"id": "q", "value": "sure?"}] if status == "interrupted" else []
            thread = {"thread_id": path[9:], "status": status, "interrupts": asks, "values": {}, "updated_at": "now"}
            await self._json(thread)
        elif path == "/runs/search":
            await self._json([RUN])
        elif method == "POST" and path in ("/runs", "/runs/wait", "/runs/stream"):
            await self._resumed(path, json.loads(body)["thread_id"].partition("-")[0])
        elif path.startswith("/runs/"):
            await self._json(RUN)
        else:
            await self._raw(200, "application/json", FEW)

    async def _resumed(self, path: str, how: str) -> None:
        if how == "hang":
            await self._hang()
        if how == "slow":
            await asyncio.sleep(SLOW)
        if path == "/runs/stream":
            await self._start("text/event-stream")
            await self._chunk(METADATA)
            if how in ("rst", "fin"):
                await self._break_off(how)
            for _ in range(20):
                await self._chunk(EVENT)
                if how == "slow":
                    await asyncio.sleep(BUSY)
            await self._chunk(b"")
        elif how in ("rst", "fin"):
            await self._break_off(how)
        else:
            await self._json({"run": RUN, "values": {}} if path == "/runs/wait" else RUN)

    # Whole answers.

    async def _json(self, value: Any, status: int = 200) -> None:
        await self._raw(status, "application/json", json.dumps(value).encode())

    async def _raw(self, status: int, kind: str, body: bytes) -> None:
        await self._write(
            b"HTTP/1.1 %d Status\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
            % (status, kind.encode(), len(body)),
            body,
        )

    async def _slow(self) -> None:
        await asyncio.sleep(SLOW)
        await self._json({})

    async def _events(self, count: int) -> None:
        await self._start("text/event-stream")
        for _ in range(count):
            await self._chunk(EVENT)
        await self._chunk(b"")

    async def _download(self, count: int) -> None:
        await self._write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % count)
        for _ in range(count // 65536):
            await self._write(b"x" * 65536)
        await self._write(b"x" * (count % 65536))

    async def _closing(self) -> None:
        """A kept connection that is closed, unannounced."""
        await self._json({})
        raise Left

    # Answers that do not end, or end badly.

    async def _idle(self) -> None:
        await self._start("text/event-stream")
        await self._chunk(EVENT)
        await self._hang()

    async def _busy(self) -> None:
        await self._start("text/event-stream")
        while not self._reader.at_eof():
            await self._chunk(EVENT)
            await asyncio.sleep(BUSY)
        raise Left

    async def _hang(self) -> None:
        """Say nothing until the sidecar leaves."""
        await self._reader.read()
        raise Left

    async def _broken(self, how: str) -> None:
        await self._write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"x" * 50_000)
        await self._break_off(how)

    async def _break_off(self, how: str) -> None:
        leave(self._writer, how)
        raise Left

    async def _tunnel(self, path: str) -> None:
        """Another protocol: what comes goes back. `/tunnel/fin`, `rst`, `half`: this side ends it, after a moment."""
        await self._write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        how = path.rpartition("/")[2]
        with suppress(TimeoutError):
            async with asyncio.timeout(None if how == "tunnel" else SLOW):
                while data := await self._reader.read(65536):
                    await self._write(data)
                raise Left
        leave(self._writer, how)
        if how == "half":
            await self._reader.read()
        raise Left

    # HTTP.

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" not in headers:
            return await self._reader.readexactly(int(headers.get("content-length", "0")))
        body = b""
        while size := int(await self._line(), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._line()
        return body

    async def _line(self) -> bytes:
        return await self._reader.readuntil(b"\n")

    async def _start(self, kind: str) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n"
        await self._write(head % kind.encode())

    async def _chunk(self, data: bytes) -> None:
        await self._write(b"%x\r\n%b\r\n" % (len(data), data))

    async def _write(self, *data: bytes) -> None:
        self._writer.writelines(data)
        await self._writer.drain()


def leave(writer: asyncio.StreamWriter, how: str) -> None:
    """End a connection: `fin`, `rst`, or `half`, which goes on reading."""
    if how == "half":
        with suppress(OSError):
            writer.write_eof()
        return
    if how == "rst":
        bare = writer.get_extra_info("socket")
        with suppress(OSError):
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    writer.close()


def _pairs(query: str) -> list[tuple[str, str]]:
    return [(name, values[0]) for name, values in parse_qs(query, keep_blank_values=True).items()]
