"""Closing resources with the event loop, and cancelling tasks when the process shuts down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Receive


async def close_with_the_loop(close: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `close` when the running event loop shuts down, which closes its asynchronous generators.

    The caller starts the generator and keeps a reference: `closing = close_with_the_loop(f); await anext(closing)`.
    """
    try:
        yield
    finally:
        await close()


SHUTDOWN = "graceful shutdown exceeded"
"""Part of the message with which uvicorn cancels requests at shutdown. The sidecar uses the same message."""

CLEANUP_TIMEOUT = 2.0
"""Seconds in which a cancelled request may send its response, and the guard may store the outcome."""


def is_shutdown(cancelled: asyncio.CancelledError) -> bool:
    """True if the server is shutting down; False if another middleware cancelled the request, and responds itself."""
    return any(SHUTDOWN in str(reason) for reason in cancelled.args)


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended, even if the caller is cancelled again.

    Raises the exception of the task, and `CancelledError` if it takes longer than `CLEANUP_TIMEOUT`.
    """
    task.cancel()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CLEANUP_TIMEOUT
    while not task.done() and loop.time() < deadline:
        try:
            await asyncio.wait({task}, timeout=deadline - loop.time())
        except asyncio.CancelledError:
            pass
    if not task.done():
        raise asyncio.CancelledError
    task.result()


def delay_shutdown(receive: Receive, tasks: Collection[asyncio.Task[None]]) -> Receive:
    """Return the lifespan's `receive`, which delivers `lifespan.shutdown` once the tasks have ended, or have had
    `CLEANUP_TIMEOUT` for it. uvicorn sends it after it has cancelled the requests, and exits without waiting for them.
    """

    async def delayed() -> Message:
        message = await receive()
        if message["type"] == "lifespan.shutdown" and tasks:
            await asyncio.wait(set(tasks), timeout=CLEANUP_TIMEOUT)
        return message

    return delayed
