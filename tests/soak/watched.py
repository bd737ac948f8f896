"""The sidecar, as `serve` starts it, in a process that also tells what it holds; run as `python -m tests.soak.watched`.

On SIGUSR1 it writes a line of JSON to the descriptor that AP_TEST_TELL names: what `held` gives.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from ap_resume_shim.guard.memory import MemoryGuard
from ap_resume_shim.http1 import upstream_connection
from ap_resume_shim.http1.request_response_cycle import RequestResponseCycle
from ap_resume_shim.http1.server_connection import Http1Protocol
from ap_resume_shim.http1.tunnel import _Forwarder
from ap_resume_shim.http1.upstream_connection import UpstreamConnection
from ap_resume_shim.http1.upstream_exchange import Http1Exchange
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.driver import Resumption
from ap_resume_shim.runtime.exchange import Exchange
from ap_resume_shim.sidecar import server as serving
from ap_resume_shim.sidecar.cli import main

PASSING = (
    Http1Protocol,
    RequestResponseCycle,
    Http1Exchange,
    UpstreamConnection,
    _Forwarder,
    Exchange,
    Resumption,
    Client,
)
"""What lives no longer than a connection, a request or a resume."""
_C = ctypes.CDLL(None)
PATIENCE = float(os.environ.get("AP_TEST_PATIENCE", "60"))
TELL = int(os.environ.get("AP_TEST_TELL", "1"))


class Watched(serving._Sidecar):
    """The sidecar of `serve`."""

    async def serve(self, listening: Sequence[socket.socket]) -> None:
        """Listen to the signal, too."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._tell)
        await super().serve(listening)

    def _tell(self) -> None:
        os.write(TELL, json.dumps(self.held()).encode() + b"\n")

    def held(self) -> dict[str, Any]:
        """Counts: tasks, connections of clients, requests under way, each class of `PASSING`, threads that the guard
        keeps for somebody; and blocks of memory."""
        while gc.collect():
            pass
        if hasattr(_C, "malloc_trim"):
            _C.malloc_trim(0)  # what the C library keeps for later is nobody's
        living = gc.get_objects()
        passing = Counter(type(one) for one in living)
        threads = [thread for one in living if type(one) is MemoryGuard for thread in one._threads.values()]
        protocols = sum(count for kind, count in passing.items() if issubclass(kind, Http1Protocol))
        return {
            "tasks": len(asyncio.all_tasks()),
            "connections": len(self.server.connections),
            "requests": len(self.server.tasks),
            "threads held": sum(bool(thread.arrivals or thread.holder) for thread in threads),
            "Http1Protocol": protocols,
            **{kind.__name__: passing[kind] for kind in PASSING[1:]},
            "doing": [_where(task) for task in asyncio.all_tasks()],
            "blocks": sys.getallocatedblocks(),
        }


def _where(task: asyncio.Task[Any]) -> str:
    """Where a task waits."""
    awaited, lines = cast(Any, task.get_coro()), []
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        lines.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        awaited = awaited.cr_await
    return " > ".join(lines)


if __name__ == "__main__":
    Http1Protocol.io_timeout = Http1Protocol.head_timeout = upstream_connection.WRITE_TIMEOUT = PATIENCE
    serving._Sidecar = Watched  # type: ignore[misc]
    main(["serve", *sys.argv[1:]])
