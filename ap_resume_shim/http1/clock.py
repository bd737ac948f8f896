"""`Clock`: what the connections of a server share. A timer for each request would cost more than the request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from ap_resume_shim.http1.request_response_cycle import Request


class Clock:
    """Calls `tick` of each connection once a second, and `flush` of a request at the end of a turn of the loop."""

    _all: WeakKeyDictionary[ServerState, Clock] = WeakKeyDictionary()

    def __init__(self, connections: set[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._connections, self._loop = connections, loop
        self._running = False
        self._held: list[Request] = []

    @classmethod
    def of(cls, state: ServerState, loop: asyncio.AbstractEventLoop) -> Clock:
        """The server's own; runs while there are connections."""
        clock = cls._all.get(state)
        if clock is None:
            clock = cls._all[state] = cls(state.connections, loop)
        if not clock._running:
            clock._running = True
            loop.call_later(1.0, clock._tick)
        return clock

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
