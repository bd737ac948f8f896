"""`Clock`: the timers that all connections of a server share.

A separate timer for each request would cost more than handling the request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ap_resume_shim.http1.request_response_cycle import RequestResponseCycle
    from ap_resume_shim.http1.server_connection import Http1Protocol


class Clock:
    """Calls `tick` of each connection once a second, and `flush` of a cycle in the next iteration of the event loop."""

    _loop: asyncio.AbstractEventLoop

    def __init__(self, connections: set[Http1Protocol]) -> None:
        self._connections = connections
        self._running = False
        self._pending: list[RequestResponseCycle] = []

    def run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the ticks; they end when there are no connections."""
        if not self._running:
            self._running, self._loop = True, loop
            loop.call_later(1.0, self._tick)

    def _tick(self) -> None:
        """Call each connection, and schedule the next tick."""
        now = self._loop.time()
        for connection in list(self._connections):
            connection.tick(now)
        self._running = bool(self._connections)
        if self._running:
            self._loop.call_later(1.0, self._tick)

    def flush_soon(self, cycle: RequestResponseCycle) -> None:
        """Call `flush` of the cycle in the next iteration of the event loop."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(cycle)

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for cycle in pending:
            cycle.flush()
