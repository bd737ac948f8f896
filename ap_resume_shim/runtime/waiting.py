"""Waiting: for a future, with a deadline, with keep-alives, and with an eye on the client.

Everything here waits for plain futures, for which `asyncio.wait` makes no task: a stream of many small chunks costs no
task a chunk. A cancellation reaches whoever waits, never the future that is waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from ap_resume_shim.core.steps import ClientGone

Future = asyncio.Future[Any]
Wait = Callable[[Future], Awaitable[None]]
"""A way to wait for a future: `wait` with some of its options."""


class Expired(Exception):
    """The deadline of a wait has passed. No `TimeoutError`: those are raised by apps, too."""


class Signal:
    """Something that happens once: as `asyncio.Event`, with a future in place of a coroutine to wait for."""

    __slots__ = ("_future", "_set")

    def __init__(self) -> None:
        self._set = False
        self._future: Future | None = None

    def set(self) -> None:
        """It has happened."""
        self._set = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._set

    @property
    def future(self) -> Future:
        """Done when it has happened. To be waited for by `wait`: a plain `await` that is cancelled would cancel it."""
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
            if self._set:
                self._future.set_result(None)
        return self._future


class KeepAlive:
    """Calls `send` whenever `interval` seconds have passed since the client was last sent anything."""

    def __init__(self, interval: float, send: Callable[[], Awaitable[None]]) -> None:
        self._interval, self._send = interval, send
        self._clock = asyncio.get_running_loop().time
        self.restart()

    def restart(self) -> None:
        """The client was sent something, or begins to wait."""
        self._since = self._clock()

    def remaining(self) -> float:
        """Seconds until the next keep-alive is due; 0 if it is due now."""
        return max(0.0, self._since + self._interval - self._clock())

    async def send_if_due(self) -> None:
        """Send a keep-alive, unless it is too early."""
        if self.remaining() <= 0:
            self.restart()
            await self._send()


async def wait(
    future: Future,
    *,
    until: float = inf,
    gone: Future | None = None,
    leaving: float = 0.0,
    keepalive: KeepAlive | None = None,
) -> None:
    """Wait until `future` is done, and leave its result where it is.

    - `until`: the deadline, as the event loop's time; raises `Expired` when it has passed.
    - `gone`: done when the client has left; raises `ClientGone`, unless `future` is done within `leaving` seconds.
    - `keepalive`: what the client is sent meanwhile.
    """
    now = asyncio.get_running_loop().time
    awaited = (future,) if gone is None else (future, gone)
    while not future.done():
        remaining = until - now()
        if remaining <= 0:
            raise Expired
        if keepalive is not None:
            remaining = min(remaining, keepalive.remaining())
        await _first(awaited, remaining)
        if future.done():
            return
        if gone is not None and gone.done():
            await _first((future,), leaving)
            if not future.done():
                raise ClientGone
        elif keepalive is not None and now() < until:
            await keepalive.send_if_due()


async def _first(futures: tuple[Future, ...], seconds: float) -> None:
    """Wait until one of the futures is done, or the time is over."""
    timeout = None if seconds == inf else seconds
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


@contextmanager
def timer(seconds: float) -> Iterator[Future]:
    """A future that is done after that many seconds."""
    over = Signal()
    handle = asyncio.get_running_loop().call_later(seconds, over.set)
    try:
        yield over.future
    finally:
        handle.cancel()


class Buffer:
    """Chunks on their way from one task to another: `size` at most, so that the writer is no further ahead."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._chunks: deque[bytes] = deque()
        self._readable, self._writable = Signal(), Signal()
        self._ended = self._closed = False

    async def put(self, chunk: bytes) -> None:
        """Add a chunk as soon as there is room for it. A closed buffer drops it."""
        while len(self._chunks) >= self._size:
            self._writable = self._writable if not self._writable.is_set() else Signal()
            await wait(self._writable.future)
        if not self._closed:
            self._chunks.append(chunk)
            self._readable.set()

    def end(self) -> None:
        """No chunk will follow."""
        self._ended = True
        self._readable.set()

    def close(self) -> None:
        """Nobody will read any more: drop what is there, and what follows."""
        self._closed = True
        self._chunks.clear()
        self._writable.set()

    async def get(self, wait: Wait = wait) -> bytes | None:
        """The next chunk, which is waited for by `wait`; None at the end, as often as it is asked for."""
        if not self._chunks and not self._ended:
            self._readable = Signal()
            await wait(self._readable.future)
        if not self._chunks:
            return None
        self._writable.set()
        return self._chunks.popleft()
