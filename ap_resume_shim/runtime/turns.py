"""Turns of the resumes that wait for a thread which another resume holds.

In each process, only the resume that has waited longest repeats its claim. So resumes that arrive later do not overtake
it, and the number of claims does not grow with the number of resumes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ap_resume_shim.core.steps.guard import Contention

STEP = 0.005
"""Minimum time between two claims of a thread, in seconds."""
RATE = 500
"""Maximum number of claims that a process repeats per second, for all threads together: each is a round trip to the
store."""


@dataclass(slots=True)
class _Queue:
    """The resumes that wait for one thread."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the resume that repeats its claim; asyncio's lock is fair."""
    length: int = 0


_queues: dict[tuple[asyncio.AbstractEventLoop, str], _Queue] = {}


async def claim_in_turn(
    thread: str,
    claim: Callable[[], Awaitable[Contention | None]],
    seconds: float,
    pause: Callable[[float], Awaitable[None]],
) -> tuple[Contention | None, float]:
    """Repeat `claim` while it returns "holding", for at most `seconds`. Returns its last result, and the time passed.

    `pause` waits between two claims. Raises what `claim` and `pause` raise.
    """
    now = asyncio.get_running_loop().time
    began = now()
    with _queue(thread) as turn:
        try:
            async with asyncio.timeout(seconds):
                await turn.acquire()
        except TimeoutError:
            return "holding", now() - began
        try:
            while (rival := await claim()) == "holding" and (left := began + seconds - now()) > 0:
                await pause(min(left, max(STEP, len(_queues) / RATE)))
        finally:
            turn.release()
    return rival, now() - began


@contextmanager
def _queue(thread: str) -> Iterator[asyncio.Lock]:
    """Join the queue of a thread during the block."""
    key = asyncio.get_running_loop(), thread
    queue = _queues.setdefault(key, _Queue())
    queue.length += 1
    try:
        yield queue.turn
    finally:
        queue.length -= 1
        if not queue.length:
            del _queues[key]
