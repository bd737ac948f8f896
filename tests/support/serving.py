"""Serves an ASGI app on a real socket: uvicorn, or `Http1Server`, in a thread on a free port."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp

from ap_resume_shim.http1.server import Http1Server
from ap_resume_shim.http1.server_connection import Http1Protocol


def listening() -> socket.socket:
    """Return a socket bound to a free loopback port."""
    bound = socket.socket(proto=socket.IPPROTO_TCP)  # otherwise asyncio leaves Nagle's algorithm on
    bound.bind(("127.0.0.1", 0))
    return bound


async def stop_accepting(sockets: Iterable[Any]) -> None:
    """Accept no more connections, and wait for those that are being accepted.

    Before Python 3.12.8, asyncio loses such a connection if the server closes: in the test that runs when the garbage
    collector finds it, the socket is a `ResourceWarning`. uvicorn does not close it either.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.SelectorEventLoop):
        for one in sockets:
            loop.remove_reader(one)
        for _ in range(3):
            await asyncio.sleep(0)


class _Ours:
    """`Http1Server`, started and stopped as uvicorn's server is."""

    def __init__(self, app: ASGIApp, options: dict[str, Any]) -> None:
        self.started = self.should_exit = False
        self._app, self._options = app, options

    def run(self, sockets: list[socket.socket]) -> None:
        factory = uvloop.new_event_loop if self._options.get("loop") == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self._serve(sockets))

    async def _serve(self, sockets: list[socket.socket]) -> None:
        keep_alive = self._options.get("timeout_keep_alive", 5.0)
        server = Http1Server(self._app, protocol=self._options["http"], keep_alive=keep_alive)
        await server.start(sockets)
        self.started = True
        while not self.should_exit:
            await asyncio.sleep(0.01)
        await stop_accepting(sockets)
        closing = asyncio.create_task(server.close())
        if not (await asyncio.wait({closing}, timeout=1))[0]:
            server.cancel("the test is over")
            server.abort()
        await closing


class _Server(uvicorn.Server):
    async def main_loop(self) -> None:
        """Check more often than uvicorn whether to stop, because a suite starts hundreds of servers."""
        await self.on_tick(0)
        while not self.should_exit:
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await stop_accepting(sockets or [])
        await super().shutdown(sockets)


@contextmanager
def serving(app: ASGIApp, *, at: socket.socket | None = None, **options: Any) -> Iterator[str]:
    """Serve an app during the block, and yield its URL. `at` is a bound socket, `options` are uvicorn's."""
    bound = at or listening()
    server: Any
    if isinstance(http := options.get("http"), type) and issubclass(http, Http1Protocol):
        server = _Ours(app, options)
    else:
        limits = {"log_level": "critical", "timeout_graceful_shutdown": 1, "loop": "asyncio"}
        server = _Server(uvicorn.Config(app, **{**limits, **options}))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        bound.close()
