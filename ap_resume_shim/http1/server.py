"""`Http1Server`: serves an ASGI app on listening sockets, and shuts down in order.

It is asyncio's server with `Http1Protocol`, and keeps track of the connections and the requests in progress.
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
"""Length of the queue of connections that are not accepted yet."""
POLL = 0.05
"""Seconds between checks whether the last connection has closed."""


class Http1Server:
    """Serves one app. Limits are attributes of the protocol class."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        protocol: type[Http1Protocol] = Http1Protocol,
        keep_alive: float = 75.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Does not listen before `start`.

        - `protocol`: the class of connections.
        - `keep_alive`: seconds for which an idle connection stays open.
        - `tls`: the context for https; None for http.
        """
        self.app, self.keep_alive = app, keep_alive
        self.connections: set[Http1Protocol] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        """One task for each request in progress, and for each tunnel."""
        self.clock = Clock(self.connections)
        self._protocol, self._tls = protocol, tls
        self._listeners: list[asyncio.Server] = []
        self._aborted = False

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on the sockets, which the server owns from now on."""
        loop = asyncio.get_running_loop()
        for listening in sockets:
            made = await loop.create_server(
                lambda: self._protocol(self, loop), sock=listening, ssl=self._tls, backlog=BACKLOG
            )
            self._listeners.append(made)

    async def close(self) -> None:
        """Stop accepting, and wait until all connections are closed. Requests in progress may end."""
        for listener in self._listeners:
            listener.close()
        while not self._aborted:
            for connection in list(self.connections):  # also one that was being accepted when the listener closed
                connection.shutdown()
            await asyncio.sleep(POLL)
            if not self.connections and not self.tasks:
                return

    def cancel(self, reason: str) -> int:
        """Cancel the requests in progress; each may still respond. Returns their number."""
        tasks = [task for task in self.tasks if not task.done()]
        for task in tasks:
            task.cancel(reason)
        return len(tasks)

    def abort(self) -> None:
        """Abort all connections, so that `close` returns."""
        self._aborted = True
        for connection in list(self.connections):
            connection.transport.abort()
