"""Work on large JSON, in a thread: megabytes would hold up every other request of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

LARGE = 64 * 1024
"""Bytes from which on JSON is read and written in the thread."""

_THREAD = ThreadPoolExecutor(1, "ap_resume_shim")
"""One: several would only leave the event loop less of the interpreter's lock."""


async def offload(work: Callable[[], T]) -> T:
    """Do `work` in the thread. It is over when this returns, however it ends: a cancellation comes after it."""
    doing = asyncio.get_running_loop().run_in_executor(_THREAD, work)
    cancelled = 0
    while not doing.done():
        try:
            await asyncio.wait({doing})
        except asyncio.CancelledError:
            cancelled += 1
    if cancelled and (task := asyncio.current_task()) is not None:
        task.uncancel()  # it counts those that were requested
        task.cancel()
    return doing.result()
