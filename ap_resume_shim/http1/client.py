"""`Http1Transport`: sends requests to the server on persistent connections, byte for byte as they are given.

A server may close an idle connection at any moment. A request that is sent at that moment fails, and the client cannot
know whether the server has read it. To make this rare, connections are closed before the server does: after `IDLE`
seconds, or earlier if the server announces a limit (`Keep-Alive: timeout=`). Checking the socket before sending is not
enough, since the server's FIN may still be in transit. A safe request without a body is sent again; any other request
fails.

A resume must not fail in this way, since it would be unknown whether the agent received it. It has a fence: a function
that checks, before the first byte, that the resume may still be sent. Such a request is sent on a new connection, whose
idle time has not begun. If the connection cannot be opened, certainly nothing was sent. The price is one connection for
each resume, and over TLS one handshake.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.http1.upstream_connection import UpstreamConnection
from ap_resume_shim.http1.upstream_exchange import Http1Exchange
from ap_resume_shim.proxy.idle_connections import IDLE, idle_limit
from ap_resume_shim.proxy.transport import Address, UpstreamRequest, unreachable

MAX_IDLE_CONNECTIONS = 256
"""Maximum number of idle connections."""


class Http1Transport:
    """A `Transport` on httptools, with 1xx responses, trailers and upgrades. Its exchanges raise the errors.

    Methods that `Transport` does not have are internal.
    """

    upgrades = trailers = True

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._close_timer: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self, request: UpstreamRequest) -> Http1Exchange:
        """Return the exchange of a request. Nothing is sent before `head` is awaited."""
        return Http1Exchange(self, request)

    async def aclose(self) -> None:
        """Close all connections. Exchanges in progress fail; those that are opening a connection, once it is open."""
        self._closed = True
        if self._close_timer is not None:
            self._close_timer.cancel()
        for connection in list(self._open):
            connection.fail("the proxy closed its connections")

    def take_idle(self) -> UpstreamConnection | None:
        """Return an idle connection whose idle time is not over; None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.loop.time() < connection.usable_until and not connection.transport.is_closing():
                return connection
            connection.abort()
        return None

    async def replace_idle(self) -> UpstreamConnection:
        """Open a connection, and close the oldest idle one, so that resumes do not accumulate connections.

        Raises `UpstreamUnreachable`.
        """
        if self._idle:
            self._idle.pop(0).abort()
        return await self.connect()

    async def connect(self) -> UpstreamConnection:
        """Open a connection. Raises `UpstreamUnreachable`."""
        address, loop = self.address, asyncio.get_running_loop()
        tls = _ssl_argument(address)
        try:
            async with asyncio.timeout(address.connect):
                if address.uds is not None:
                    _, connection = await loop.create_unix_connection(
                        lambda: UpstreamConnection(self, loop), address.uds
                    )
                else:
                    _, connection = await loop.create_connection(
                        lambda: UpstreamConnection(self, loop),
                        address.host,
                        address.port,
                        ssl=tls,
                        server_hostname=address.host if tls else None,
                    )
        except TimeoutError:
            late = TimeoutError(f"it took longer than {address.connect:g} seconds")
            raise unreachable(address, late) from None
        except OSError as error:  # includes ssl.SSLError
            raise unreachable(address, error) from error
        if self._closed:
            connection.abort()
            raise unreachable(address, ConnectionError("the proxy closed its connections"))
        return connection

    def release(self, connection: UpstreamConnection, response_headers: HeaderList) -> None:
        """Keep a connection for the next request. `response_headers` are the fields of its latest response."""
        seconds = idle_limit(response_headers)
        if seconds <= 0 or len(self._idle) >= MAX_IDLE_CONNECTIONS:
            connection.abort()
            return
        connection.usable_until = connection.loop.time() + seconds
        self._idle.append(connection)
        if self._close_timer is None:
            self._close_timer = connection.loop.call_later(IDLE, self._close_idle)

    def _close_idle(self) -> None:
        self._close_timer = None
        now = asyncio.get_running_loop().time()
        kept = [connection for connection in self._idle if now < connection.usable_until]
        old, self._idle = set(self._idle) - set(kept), kept
        for connection in old:
            connection.abort()
        if kept:
            self._close_timer = kept[0].loop.call_later(IDLE, self._close_idle)

    def on_open(self, connection: UpstreamConnection) -> None:
        """Called by a connection when it is open."""
        self._open.add(connection)

    def on_closed(self, connection: UpstreamConnection) -> None:
        """Called by a connection when it is closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


def _ssl_argument(address: Address) -> Any:
    """Return asyncio's `ssl` argument: a context, True for the certificates of the system, None for http."""
    return None if address.scheme == "http" else address.tls or True
