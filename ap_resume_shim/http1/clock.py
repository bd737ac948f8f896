"""`Clock`: what the connections of a server share. A timer for each request would cost more than the request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ap_resume_shim.http1.request_response_cycle import Request
    from ap_resume_shim.http1.server_connection import Http1Protocol


class Clock:
    """Calls `tick` of each connection once a second, and `flush` of a request at the end of a turn of the loop."""

    _loop: asyncio.AbstractEventLoop

    def __init__(self, connections: set[Http1Protocol]) -> None:
        self._connections = connections
        self._running = False
        self._held: list[Request] = []

    def run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run while there are connections."""
        if not self._running:
            self._running, self._loop = True, loop
            loop.call_later(1.0, self._tick)

    def _tick(self) -> None:
        """Once a second."""
        now = self._loop.time()
        for connection in list(self._connections):
            connection.tick(now)
        self._running = bool(self._connections)
        if self._running:
            self._loop.call_later(1.0, self._tick)

    def hold(self, request: Request) -> None:
        """Write a head at the end of this turn of the loop, if it was not written with its body by then."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(request)

    def _flush(self) -> None:
        held, self._held = self._held, []
        for request in held:
            request.flush()
