"""A TCP proxy that does to a resume what networks do: Toxiproxy's toxics, by their names, in a thread.

It stands between the shim and a server. Only a resume is harmed, never a lookup: on each connection it reads the
requests one by one, and lets a `Fault` begin where the fault says.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

Way = Literal["to", "from"]
"""To the server: the resume. From it: the answer."""
Toxic = Callable[["Line", Way, bytes], Awaitable[None]]

HEAD = b"\r\n\r\n"
_RESUME = re.compile(rb"POST /runs(/wait|/stream)? HTTP/")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BRIEFLY = 0.05
_RESET = struct.pack("ii", 1, 0)
PATIENCE = 10.0


@dataclass(frozen=True)
class Fault:
    """A toxic for the bytes that go one way, from where `after` has gone by: nothing stands for the first byte."""

    toxic: Toxic
    way: Way
    after: bytes = b""


async def latency(line: Line, way: Way, data: bytes) -> None:
    """All data comes late."""
    await asyncio.sleep(_BRIEFLY)
    line.start(way, data)


async def bandwidth(line: Line, way: Way, data: bytes) -> None:
    """So many bytes in so much time."""
    for at in range(0, len(data), 100):
        line.start(way, data[at : at + 100])
        await asyncio.sleep(_BRIEFLY / 10)


async def slicer(line: Line, way: Way, data: bytes) -> None:
    """Every byte on its own."""
    for at in range(len(data)):
        line.start(way, data[at : at + 1])
        await asyncio.sleep(0)


async def slow_close(line: Line, way: Way, data: bytes) -> None:
    """The end of the connection comes late; the data does not."""
    line.start(way, data)
    line.lingers = _BRIEFLY


async def held(line: Line, way: Way, data: bytes) -> None:
    """All data comes when the fault is mended."""
    await line.proxy.mended.wait()
    line.start(way, data)


async def timeout(line: Line, way: Way, data: bytes) -> None:
    """No data comes, and the connection stays open, until the fault is mended."""
    line.proxy.silenced.append(line)
    await line.proxy.mended.wait()


async def timeout_closing(line: Line, way: Way, data: bytes) -> None:
    """No data comes, and then the connection is closed."""
    await asyncio.sleep(_BRIEFLY)
    line.close()


async def reset_peer(line: Line, way: Way, data: bytes) -> None:
    """The connection is reset."""
    line.reset()


async def limit_data(line: Line, way: Way, data: bytes) -> None:
    """The connection is closed after so many bytes."""
    line.close()


async def down(line: Line, way: Way, data: bytes) -> None:
    """All connections are closed, and new ones are refused."""
    await line.proxy.go_down()


class Line:
    """A connection that the shim made, with the one to the server that belongs to it."""

    def __init__(
        self,
        proxy: FaultProxy,
        shim: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.proxy, self.lingers = proxy, 0.0
        self._from_shim, self._from_server = shim[0], server[0]
        self._writers: dict[Way, asyncio.StreamWriter] = {"to": server[1], "from": shim[1]}
        self._is_resume = False
        self._gone_by: dict[Way, bytes] = {"to": b"", "from": b""}

    async def carry(self) -> None:
        """Until one side closes."""
        both = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(self.lingers)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self.close()
            await self.closed()

    def start(self, way: Way, data: bytes) -> None:
        """Let bytes through."""
        if not self._writers[way].is_closing():
            self._writers[way].write(data)
            if self._is_resume and way == "to":
                self.proxy.passed[-1] += len(data)

    def close(self) -> None:
        """Close both connections; what was passed on arrives."""
        for writer in self._writers.values():
            writer.close()

    def reset(self) -> None:
        """Reset both connections."""
        for writer in self._writers.values():
            if not writer.is_closing():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()

    async def closed(self) -> None:
        """Wait until both are."""
        for writer in self._writers.values():
            with suppress(OSError):
                await writer.wait_closed()

    async def _requests(self) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await self._from_shim.readuntil(HEAD)
                self._is_resume = _RESUME.match(head) is not None
                if self._is_resume:
                    self.proxy.passed.append(0)
                    self._gone_by = {"to": b"", "from": b""}
                await self._through("to", head)
                length = _LENGTH.search(head)
                left = 0 if length is None else int(length[1])
                while left and (data := await self._from_shim.read(left)):
                    left -= len(data)
                    await self._through("to", data)

    async def _answers(self) -> None:
        with suppress(OSError):
            while data := await self._from_server.read(65536):
                await self._through("from", data)

    async def _through(self, way: Way, data: bytes) -> None:
        fault = self.proxy.fault
        if not self._is_resume or fault is None or fault.way != way:
            self.start(way, data)
            return
        before = len(self._gone_by[way])
        self._gone_by[way] += data
        begins = self._gone_by[way].find(fault.after)
        if begins < 0:
            self.start(way, data)
            return
        unharmed = max(0, begins + len(fault.after) - before)
        self.start(way, data[:unharmed])
        self.proxy.hit.set()
        await fault.toxic(self, way, data[unharmed:])


class FaultProxy:
    """The proxy. `fault` may be set at any time; `passed` has a number for each resume that came."""

    def __init__(self, server: str, fault: Fault | None = None) -> None:
        address = urlsplit(server)
        self._server = (address.hostname or "", address.port or 80)
        self.fault = fault
        self.passed: list[int] = []
        """For each resume of which bytes came here: how many of them were passed on to the server."""
        self.hit = threading.Event()
        """Set when a fault has begun."""
        self.mended = asyncio.Event()
        self.silenced: list[Line] = []
        self._reserved = bound(0)  # never listens: while the proxy is down, nobody else gets its port
        self._port: int = self._reserved.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._lines: dict[Line, asyncio.Task[None]] = {}
        self._listening: asyncio.Server | None = None
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),), daemon=True)

    def start(self) -> None:
        """Return when it listens."""
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def stop(self) -> None:
        """Return when everything is closed."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._reserved.close()

    def mend(self) -> None:
        """No fault any more: it listens, what was held comes, and connections that were silenced are closed."""
        self._do(self._mend())

    def break_down(self) -> None:
        """Return when all connections are closed, and new ones are refused."""
        self._do(self.go_down())

    async def go_down(self) -> None:
        """The same, for a toxic."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        await _close(self._lines)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._listen()
        self._ready.set()
        await self._stop.wait()
        await self.go_down()
        for task in list(self._lines.values()):
            task.cancel()
        await asyncio.gather(*self._lines.values(), return_exceptions=True)

    async def _listen(self) -> None:
        if self._listening is None:
            listening = bound(self._port)
            listening.listen()
            self._listening = await asyncio.start_server(self._accept, sock=listening)

    async def _mend(self) -> None:
        self.fault = None
        await _close(self.silenced)
        self.mended.set()
        await self._listen()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection(*self._server)
        except OSError:
            writer.close()
            return
        line = Line(self, (reader, writer), server)
        self._lines[line] = task = asyncio.create_task(line.carry())
        task.add_done_callback(lambda _: self._lines.pop(line))


async def _close(lines: Iterable[Line]) -> None:
    for line in list(lines):
        line.close()
        await line.closed()


def bound(port: int = 0) -> socket.socket:
    """A socket on a loopback port, without Nagle: asyncio leaves that on where a socket does not name its protocol.

    With it, a reset would lose what was passed on before, and answers in two parts would be late by a tenth.
    """
    made = socket.socket(proto=socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


@contextmanager
def faulty(server: str, fault: Fault | None = None) -> Iterator[FaultProxy]:
    """A proxy in front of a server."""
    proxy = FaultProxy(server, fault)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
