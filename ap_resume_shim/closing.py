"""Closing what was opened in an event loop, where nobody says when: a mounted app has no lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable


async def close_with_the_loop(close: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `close` when the running loop ends: it closes the generators that it knows.

    To be held on to, after its first step: `closing = close_with_the_loop(f); await anext(closing)`.
    """
    try:
        yield
    finally:
        await close()
