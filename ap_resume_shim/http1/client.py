"""`Http1Transport`: requests to the server behind, on kept connections, as exactly the bytes that they should be.

A server may close an idle connection at any moment, so a request on a kept one may fail although the server never read
it, and nothing tells the client which of the two happened. Closing connections before the server does makes this rare:
after `IDLE` seconds, or earlier where the server announces its limit (`Keep-Alive: timeout=`). Looking at the socket
before sending does not exclude it, since the server's FIN may be on its way. A safe request is sent again; any other
one fails.

A request with a fence (a resume) must not fail like that: whether the agent received it would be unknown. It is sent on
a new connection, where the server's idle limit has not begun, and a connection that cannot be made proves that nothing
was sent. This costs one connection for each resume (over TLS, one handshake).
"""

from __future__ import annotations

import asyncio
from typing import Any

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.http1.connection import Connection
from ap_resume_shim.http1.upstream_exchange import Http1Exchange
from ap_resume_shim.proxy.idle_connections import IDLE, idle_limit
from ap_resume_shim.proxy.transport import Address, UpstreamRequest, unreachable

KEPT = 256
"""Connections kept at most."""


class Http1Transport:
    """Connections to one address. Raises no errors of its own: those of a request are raised by its exchange."""

    upgrades = trailers = True

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def start(self, request: UpstreamRequest) -> Http1Exchange:
        """Begin to pass a request on; nothing is sent before `head` is awaited."""
        return Http1Exchange(self, request)

    async def aclose(self) -> None:
        """Close all connections; answers that are still on their way break off."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.abort()

    def take(self) -> Connection | None:
        """A connection that is kept, if there is one that the server will not be closing."""
        while self._idle:
            connection = self._idle.pop()
            if connection.loop.time() < connection.usable_until and not connection.transport.is_closing():
                return connection
            connection.abort()
        return None

    async def replace(self) -> Connection:
        """A new connection in place of the one kept longest, so that resumes do not add up to many.

        Raises `UpstreamUnreachable`.
        """
        if self._idle:
            self._idle.pop(0).abort()
        return await self.connect()

    async def connect(self) -> Connection:
        """A new connection. Raises `UpstreamUnreachable`."""
        address, loop = self.address, asyncio.get_running_loop()
        tls = _context(address)
        try:
            async with asyncio.timeout(address.connect):
                if address.uds is not None:
                    _, made = await loop.create_unix_connection(lambda: Connection(self, loop), address.uds)
                else:
                    _, made = await loop.create_connection(
                        lambda: Connection(self, loop),
                        address.host,
                        address.port,
                        ssl=tls,
                        server_hostname=address.host if tls else None,
                    )
        except TimeoutError:
            late = TimeoutError(f"it was not there within {address.connect:g} seconds")
            raise unreachable(address, late) from None
        except OSError as error:  # ssl's errors are some, too
            raise unreachable(address, error) from error
        return made

    def give_back(self, connection: Connection, answer: HeaderList) -> None:
        """Keep a connection for the next request; `answer`: the fields of the latest answer on it."""
        seconds = idle_limit(answer)
        if seconds <= 0 or len(self._idle) >= KEPT:
            connection.abort()
            return
        connection.usable_until = connection.loop.time() + seconds
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = connection.loop.call_later(IDLE, self._close_idle)

    def _close_idle(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        kept = [connection for connection in self._idle if now < connection.usable_until]
        old, self._idle = set(self._idle) - set(kept), kept
        for connection in old:
            connection.abort()
        if kept:
            self._sweep = kept[0].loop.call_later(IDLE, self._close_idle)

    def opened(self, connection: Connection) -> None:
        """A connection is there."""
        self._open.add(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


def _context(address: Address) -> Any:
    """What asyncio takes for `ssl`: a context, True for the system's certificates, None for none."""
    return None if address.scheme == "http" else address.tls or True
