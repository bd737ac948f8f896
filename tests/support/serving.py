"""Serves an ASGI app on a real socket: uvicorn in a thread, on a free port."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp


def listening() -> socket.socket:
    """Return a socket bound to a free loopback port."""
    bound = socket.socket(proto=socket.IPPROTO_TCP)  # otherwise asyncio leaves Nagle's algorithm on
    bound.bind(("127.0.0.1", 0))
    return bound


class _Server(uvicorn.Server):
    async def main_loop(self) -> None:
        """Check more often than uvicorn whether to stop, because a suite starts hundreds of servers."""
        await self.on_tick(0)
        while not self.should_exit:
            await asyncio.sleep(0.01)


@contextmanager
def serving(app: ASGIApp, *, at: socket.socket | None = None, **options: Any) -> Iterator[str]:
    """Serve an app during the block, and yield its URL. `at` is a bound socket, `options` are uvicorn's."""
    bound = at or listening()
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1, **{"loop": "asyncio", **options})
    server = _Server(config)
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
