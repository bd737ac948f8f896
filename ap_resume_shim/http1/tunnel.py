"""Two connections joined: what comes on one goes out on the other, byte for byte, as fast as it is taken."""

from __future__ import annotations

import asyncio
from typing import cast


async def join(left: asyncio.Transport, right: asyncio.Transport, idle: float | None = None) -> None:
    """Carry bytes both ways until both ends are over. A connection that breaks breaks the other one.

    `idle`: seconds without a byte in either direction, after which both are broken off.
    """
    ends = (_End(right), _End(left))
    ends[0].twin, ends[1].twin = ends[1], ends[0]
    for end, transport in zip(ends, (left, right), strict=True):
        end.connection_made(transport)
        transport.set_protocol(end)
    for transport in (left, right):
        transport.resume_reading()
    try:
        await _over(ends, idle)
    finally:
        for transport in (left, right):
            transport.abort()


async def _over(ends: tuple[_End, _End], idle: float | None) -> None:
    left = idle
    while left is None or left > 0:
        _, pending = await asyncio.wait({end.over for end in ends}, timeout=left)
        if idle is None or not pending:
            return
        left = max(end.latest for end in ends) + idle - ends[0].loop.time()


class _End(asyncio.Protocol):
    """What hears one connection, and writes to the other."""

    transport: asyncio.Transport
    twin: _End

    def __init__(self, other: asyncio.Transport) -> None:
        self._other = other
        self._said_all = False
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self.loop.create_future()
        self.latest = self.loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        if transport.is_closing():
            self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        self.latest = self.loop.time()
        if not self._other.is_closing():
            self._other.write(data)

    def eof_received(self) -> bool:
        """One side has said all it has to say; the other may go on."""
        if self._other.can_write_eof() and not self._other.is_closing():
            self._other.write_eof()
            self._said_all = True
            return not self.twin._said_all
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)
        self._other.close() if error is None else self._other.abort()

    def pause_writing(self) -> None:
        """Our connection is not read: the other one is not either."""
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()
