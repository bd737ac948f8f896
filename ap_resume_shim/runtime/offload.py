"""Runs work on large JSON in a worker thread: megabytes would block every other request of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

LARGE = 64 * 1024
"""Size in bytes from which JSON is processed in the worker thread."""

_THREAD = ThreadPoolExecutor(1, "ap_resume_shim")
"""One thread: several would only compete with the event loop for the interpreter's lock."""


async def offload(work: Callable[[], T]) -> T:
    """Run `work` in the worker thread. A cancellation is raised with its message, but only after the work has ended."""
    doing = asyncio.get_running_loop().run_in_executor(_THREAD, work)
    message: tuple[Any, ...] | None = None
    while not doing.done():
        try:
            await asyncio.wait({doing})
        except asyncio.CancelledError as cancelled:
            message = cancelled.args
    if message is not None and (task := asyncio.current_task()) is not None:
        task.uncancel()  # `cancel` below counts as another request
        task.cancel(*message)
    return doing.result()
