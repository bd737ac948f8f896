"""A TCP proxy between the shim and a server that injects network faults into a resume; it runs in a thread.

The faults have the names of Toxiproxy's toxics. Lookups are never affected: the proxy reads the requests of each
connection one by one, and starts a `Fault` only in a resume, at the place that the fault defines.
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

from tests.support.serving import stop_accepting

Way = Literal["to", "from"]
"""The direction of bytes: `to` the server (the resume) or `from` it (the response)."""
Toxic = Callable[["Line", Way, bytes], Awaitable[None]]

HEAD = b"\r\n\r\n"
_RESUME = re.compile(rb"POST /runs(/wait|/stream)? HTTP/")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BRIEFLY = 0.05
_RESET = struct.pack("ii", 1, 0)
PATIENCE = 10.0


@dataclass(frozen=True)
class Fault:
    """A toxic for the bytes in one direction. It starts after the bytes `after`; if empty, at the first byte."""

    toxic: Toxic
    way: Way
    after: bytes = b""


async def latency(line: Line, way: Way, data: bytes) -> None:
    """Delay all data."""
    await asyncio.sleep(_BRIEFLY)
    line.start(way, data)


async def bandwidth(line: Line, way: Way, data: bytes) -> None:
    """Limit the data rate."""
    for at in range(0, len(data), 100):
        line.start(way, data[at : at + 100])
        await asyncio.sleep(_BRIEFLY / 10)


async def slicer(line: Line, way: Way, data: bytes) -> None:
    """Send each byte separately."""
    for at in range(len(data)):
        line.start(way, data[at : at + 1])
        await asyncio.sleep(0)


async def slow_close(line: Line, way: Way, data: bytes) -> None:
    """Delay the end of the connection, but not the data."""
    line.start(way, data)
    line.lingers = _BRIEFLY


async def held(line: Line, way: Way, data: bytes) -> None:
    """Hold all data until the fault is mended."""
    await line.proxy.mended.wait()
    line.start(way, data)


async def timeout(line: Line, way: Way, data: bytes) -> None:
    """Drop all data, and keep the connection open until the fault is mended."""
    line.proxy.silenced.append(line)
    await line.proxy.mended.wait()


async def timeout_closing(line: Line, way: Way, data: bytes) -> None:
    """Drop all data, then close the connection."""
    await asyncio.sleep(_BRIEFLY)
    line.close()


async def reset_peer(line: Line, way: Way, data: bytes) -> None:
    """Reset the connection."""
    line.reset()


async def limit_data(line: Line, way: Way, data: bytes) -> None:
    """Close the connection at the place of the fault."""
    line.close()


async def limit_data_once(line: Line, way: Way, data: bytes) -> None:
    """Close the connection at the place of the fault, and mend it."""
    line.proxy.fault = None
    line.close()


async def down(line: Line, way: Way, data: bytes) -> None:
    """Close all connections, and refuse new ones."""
    await line.proxy.go_down()


class Line:
    """A connection from the shim, and the proxy's connection to the server for it."""

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
        self._passed: dict[Way, bytes] = {"to": b"", "from": b""}

    async def carry(self) -> None:
        """Pass bytes on until one side closes."""
        both = [asyncio.create_task(self._requests()), asyncio.create_task(self._responses())]
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
        """Pass bytes on."""
        if not self._writers[way].is_closing():
            self._writers[way].write(data)
            if self._is_resume and way == "to":
                self.proxy.passed[-1] += len(data)

    def close(self) -> None:
        """Close both connections; bytes that were passed on still arrive."""
        for writer in self._writers.values():
            writer.close()

    def reset(self) -> None:
        """Reset both connections."""
        for writer in self._writers.values():
            if not writer.is_closing():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()

    async def closed(self) -> None:
        """Wait until both connections are closed."""
        for writer in self._writers.values():
            with suppress(OSError):
                await writer.wait_closed()

    async def _requests(self) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await self._from_shim.readuntil(HEAD)
                self._is_resume = self.proxy.resume.match(head) is not None
                if self._is_resume:
                    self.proxy.passed.append(0)
                    self._passed = {"to": b"", "from": b""}
                await self._pass("to", head)
                length = _LENGTH.search(head)
                left = 0 if length is None else int(length[1])
                while left and (data := await self._from_shim.read(left)):
                    left -= len(data)
                    await self._pass("to", data)

    async def _responses(self) -> None:
        with suppress(OSError):
            while data := await self._from_server.read(65536):
                await self._pass("from", data)

    async def _pass(self, way: Way, data: bytes) -> None:
        fault = self.proxy.fault
        if not self._is_resume or fault is None or fault.way != way:
            self.start(way, data)
            return
        before = len(self._passed[way])
        self._passed[way] += data
        start = self._passed[way].find(fault.after)
        if start < 0:
            self.start(way, data)
            return
        intact = max(0, start + len(fault.after) - before)
        self.start(way, data[:intact])
        self.proxy.hit.set()
        await fault.toxic(self, way, data[intact:])


class FaultProxy:
    """The proxy. `fault` may be set at any time."""

    def __init__(self, server: str, fault: Fault | None = None, resume: re.Pattern[bytes] = _RESUME) -> None:
        """`resume` matches the first line of a request that is a resume."""
        address = urlsplit(server)
        self._server = (address.hostname or "", address.port or 80)
        self.fault, self.resume = fault, resume
        self.passed: list[int] = []
        """The number of bytes that were passed on to the server, for each resume."""
        self.hit = threading.Event()
        """Set when a fault has started."""
        self.mended = asyncio.Event()
        self.silenced: list[Line] = []
        self._reserved = bound(0)  # never listens; reserves the port while the proxy is down
        self._port: int = self._reserved.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._lines: dict[Line, asyncio.Task[None]] = {}
        self._listening: asyncio.Server | None = None
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),), daemon=True)

    def start(self) -> None:
        """Start the proxy, and wait until it listens."""
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def stop(self) -> None:
        """Stop the proxy, and wait until everything is closed."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._reserved.close()

    def mend(self) -> None:
        """Remove the fault: listen again, pass on the data that was held, and close the silenced connections."""
        self._do(self._mend())

    def break_down(self) -> None:
        """Close all connections and refuse new ones; return when that is done."""
        self._do(self.go_down())

    async def go_down(self) -> None:
        """Like `break_down`, for a toxic in the proxy's event loop."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await stop_accepting(listening.sockets)
            listening.close()
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
        except asyncio.CancelledError:
            writer.close()
            raise
        line = Line(self, (reader, writer), server)
        self._lines[line] = task = asyncio.create_task(line.carry())
        task.add_done_callback(lambda _: self._lines.pop(line))


async def _close(lines: Iterable[Line]) -> None:
    for line in list(lines):
        line.close()
        await line.closed()


def bound(port: int = 0) -> socket.socket:
    """Return a socket bound to a loopback port.

    It names its protocol, so that asyncio turns Nagle's algorithm off. Otherwise a reset would lose bytes that were
    passed on, and a response in two parts would be a tenth of a second late.
    """
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    return listener


@contextmanager
def faulty(server: str, fault: Fault | None = None, resume: re.Pattern[bytes] = _RESUME) -> Iterator[FaultProxy]:
    """Run a proxy in front of a server."""
    proxy = FaultProxy(server, fault, resume)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
