"""Ends: closing what was opened in an event loop, where nobody says when, and what to do when the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable


async def close_with_the_loop(close: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `close` when the running loop ends: it closes the generators that it knows.

    To be held on to, after its first step: `closing = close_with_the_loop(f); await anext(closing)`.
    """
    try:
        yield
    finally:
        await close()


SHUTDOWN = "graceful shutdown exceeded"
"""A part of what uvicorn says when it cancels requests in the end; the sidecar says the same."""

LAST_WORDS = 2.0
"""Seconds for a cut request to send its response, and for the guard to record the outcome in its store."""


def is_shutdown(cancelled: asyncio.CancelledError) -> bool:
    """Whether the server ends. Else a middleware has given up waiting, and answers itself."""
    return any(SHUTDOWN in str(reason) for reason in cancelled.args)


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its last words, whatever is cancelled meanwhile. Raises what it raises,
    and `CancelledError` when they take too long.
    """
    task.cancel()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LAST_WORDS
    while not task.done() and loop.time() < deadline:
        try:
            await asyncio.wait({task}, timeout=deadline - loop.time())
        except asyncio.CancelledError:
            pass
    if not task.done():
        raise asyncio.CancelledError
    task.result()
