"""`Http1Server`: an ASGI app on listening sockets, from the first connection to the end of the last one.

It is asyncio's server with `Http1Protocol`, and what an orderly end needs: the connections, and the requests under way.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ap_resume_shim.http1.clock import Clock
from ap_resume_shim.http1.server_connection import Http1Protocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

BACKLOG = 2048
"""Connections that the system accepts before they are served."""
POLL = 0.05
"""Seconds between two looks whether the last connection has ended."""


class Http1Server:
    """Serves one app. The protocol's limits are attributes of its class."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        protocol: type[Http1Protocol] = Http1Protocol,
        keep_alive: float = 75.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`keep_alive`: seconds that an idle connection is kept open."""
        self.app, self.keep_alive = app, keep_alive
        self.connections: set[Http1Protocol] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        """One for each request under way, and for each tunnel."""
        self.clock = Clock(self.connections)
        self._protocol, self._tls = protocol, tls
        self._listeners: list[asyncio.Server] = []
        self._aborted = False

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Serve the clients of these sockets, which are the server's from now on."""
        loop = asyncio.get_running_loop()
        for listening in sockets:
            made = await loop.create_server(
                lambda: self._protocol(self, loop), sock=listening, ssl=self._tls, backlog=BACKLOG
            )
            self._listeners.append(made)

    async def close(self) -> None:
        """Take no new connections, and wait for the end of those that there are: each may finish its request."""
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections):
            connection.shutdown()
        while (self.connections or self.tasks) and not self._aborted:
            await asyncio.sleep(POLL)

    def cancel(self, reason: str) -> int:
        """Cancel the requests under way, so that each answers as it can: how many there are."""
        tasks = [task for task in self.tasks if not task.done()]
        for task in tasks:
            task.cancel(reason)
        return len(tasks)

    def abort(self) -> None:
        """Break off every connection; `close` waits no longer."""
        self._aborted = True
        for connection in list(self.connections):
            connection.transport.abort()
