"""A server at which a test delivers each byte itself, without sockets: it chooses every interleaving."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.http1.upstream_connection import UpstreamConnection
from ap_resume_shim.proxy.transport import Address


class Wire:
    """The transport of one connection. What arrives while reading is paused is delivered when it is resumed."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        self.written = b""
        self.closing, self.reading, self._pending = False, True, b""
        self._loop = asyncio.get_running_loop()
        connection.connection_made(self)  # type: ignore[arg-type]

    @property
    def heads(self) -> int:
        """The number of requests that were sent."""
        return self.written.count(b" HTTP/1.1\r\n")

    def receive(self, data: bytes) -> None:
        """Bytes arrive; called as a callback of the event loop."""
        self._pending += data
        if self._pending and self.reading and not self.closing:
            data, self._pending = self._pending, b""
            self.connection.data_received(data)

    def end(self, error: Exception | None = None) -> None:
        """The server closes the connection, or it breaks."""
        if not self.closing:
            self.closing = True
            self.connection.eof_received()
            self.connection.connection_lost(error)

    # Called by the connection.

    def write(self, data: bytes) -> None:
        assert not self.closing, "nothing is written to a closed connection"
        self.written += data

    def abort(self) -> None:
        if not self.closing:
            self.closing = True
            self._loop.call_soon(self.connection.connection_lost, None)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self._loop.call_soon(self.receive, b"")

    def get_extra_info(self, _: str) -> Any:
        return None


class Wired(Http1Transport):
    """The client's side. Each connection is a `Wire`."""

    def __init__(self) -> None:
        super().__init__(Address.parse("http://there"))
        self.wires: list[Wire] = []

    async def connect(self) -> UpstreamConnection:
        """Open a connection, in one iteration of the event loop."""
        await asyncio.sleep(0)
        connection = UpstreamConnection(self, asyncio.get_running_loop())
        self.wires.append(Wire(connection))
        return connection

    @property
    def heads(self) -> int:
        """The number of requests that were sent, over all connections."""
        return sum(wire.heads for wire in self.wires)


def soon(function: Callable[..., object], *arguments: Any) -> None:
    """Call it as the event loop calls a protocol, in the next iteration."""
    asyncio.get_running_loop().call_soon(function, *arguments)


async def settle() -> None:
    """Let all callbacks and tasks run."""
    for _ in range(12):
        await asyncio.sleep(0)
