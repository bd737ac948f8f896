"""A tunnel between two connections: the bytes that arrive on one are sent on the other, unchanged and at its pace."""

from __future__ import annotations

import asyncio
from typing import cast


async def relay(left: asyncio.Transport, right: asyncio.Transport, idle: float | None = None) -> None:
    """Relay bytes in both directions until both connections are closed. If one is aborted, the other one is aborted.

    `idle`: seconds without a byte in either direction, after which both are aborted; None means no limit.
    """
    forwarders = (_Forwarder(right), _Forwarder(left))
    forwarders[0].reverse, forwarders[1].reverse = forwarders[1], forwarders[0]
    for forwarder, transport in zip(forwarders, (left, right), strict=True):
        forwarder.connection_made(transport)
        transport.set_protocol(forwarder)
    for transport in (left, right):
        transport.resume_reading()
    try:
        await _wait_closed(forwarders, idle)
    finally:
        for transport in (left, right):
            transport.abort()


async def _wait_closed(forwarders: tuple[_Forwarder, _Forwarder], idle: float | None) -> None:
    left = idle
    while left is None or left > 0:
        _, pending = await asyncio.wait({forwarder.closed for forwarder in forwarders}, timeout=left)
        if idle is None or not pending:
            return
        left = max(forwarder.last_read for forwarder in forwarders) + idle - forwarders[0].loop.time()


class _Forwarder(asyncio.Protocol):
    """The protocol of one connection: writes what arrives on it to the other connection, the destination."""

    transport: asyncio.Transport
    reverse: _Forwarder

    def __init__(self, destination: asyncio.Transport) -> None:
        self._destination = destination
        self._eof_forwarded = False
        self.loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self.last_read = self.loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        if transport.is_closing():
            self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        self.last_read = self.loop.time()
        if not self._destination.is_closing():
            self._destination.write(data)

    def eof_received(self) -> bool:
        """Forward a half-close; the connection stays open until both directions have ended."""
        if self._destination.can_write_eof() and not self._destination.is_closing():
            self._destination.write_eof()
            self._eof_forwarded = True
            return not self.reverse._eof_forwarded
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        self._destination.close() if error is None else self._destination.abort()

    def pause_writing(self) -> None:
        """The write buffer of this connection is full: stop reading from the other one."""
        if not self._destination.is_closing():
            self._destination.pause_reading()

    def resume_writing(self) -> None:
        if not self._destination.is_closing():
            self._destination.resume_reading()
