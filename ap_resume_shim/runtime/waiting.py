"""Waits for a future with a deadline and keep-alives, and detects a client that disconnects.

All functions wait for plain futures: a stream of many small chunks costs no task per chunk. A cancellation reaches the
waiting task, never the future.
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
    """The deadline of a wait has passed. It is not a `TimeoutError`, because apps raise those too."""


class Signal:
    """An event that happens once: like `asyncio.Event`, but with a future to wait for instead of a coroutine."""

    __slots__ = ("_future", "_set")

    def __init__(self) -> None:
        self._set = False
        self._future: Future | None = None

    def set(self) -> None:
        """Mark the event as happened."""
        self._set = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def is_set(self) -> bool:
        """True if it has happened."""
        return self._set

    @property
    def future(self) -> Future:
        """Done when the event has happened. Use `wait` for it: a cancelled plain `await` would cancel the future."""
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
            if self._set:
                self._future.set_result(None)
        return self._future


class KeepAlive:
    """Calls `send` whenever `interval` seconds have passed without a byte to the client."""

    def __init__(self, interval: float, send: Callable[[], Awaitable[None]]) -> None:
        self._interval, self._send = interval, send
        self._clock = asyncio.get_running_loop().time
        self.restart()

    def restart(self) -> None:
        """Restart the interval: the client received something, or begins to wait."""
        self._since = self._clock()

    def remaining(self) -> float:
        """Seconds until the next keep-alive is due; 0 if it is due now."""
        return max(0.0, self._since + self._interval - self._clock())

    async def send_if_due(self) -> None:
        """Send a keep-alive if one is due."""
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
    """Wait until `future` is done; do not retrieve its result.

    - `until`: the deadline in the event loop's time; raises `Expired` when it has passed.
    - `gone`: done when the client has left; raises `ClientGone`, unless `future` is done within `leaving` seconds.
    - `keepalive`: sends keep-alives meanwhile.
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
    """Wait until one of the futures is done, or until the time has passed: `asyncio.wait` with less overhead."""
    loop = asyncio.get_running_loop()
    awake = loop.create_future()

    def wake(_: Future | None = None) -> None:
        if not awake.done():
            awake.set_result(None)

    timeout = None if seconds == inf else loop.call_later(seconds, wake)
    for future in futures:
        future.add_done_callback(wake)
    try:
        await awake
    finally:
        if timeout is not None:
            timeout.cancel()
        for future in futures:
            future.remove_done_callback(wake)


@contextmanager
def timer(seconds: float) -> Iterator[Future]:
    """Yield a future that is done after that many seconds."""
    over = Signal()
    handle = asyncio.get_running_loop().call_later(seconds, over.set)
    try:
        yield over.future
    finally:
        handle.cancel()


class Buffer:
    """A queue of chunks from one task to another; `put` waits while it holds `size` chunks."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._chunks: deque[bytes] = deque()
        self._readable, self._writable = Signal(), Signal()
        self._ended = self._closed = False

    async def put(self, chunk: bytes) -> None:
        """Add a chunk; wait for room first. A closed buffer drops it."""
        while len(self._chunks) >= self._size:
            self._writable = self._writable if not self._writable.is_set() else Signal()
            await wait(self._writable.future)
        if not self._closed:
            self._chunks.append(chunk)
            self._readable.set()

    def end(self) -> None:
        """Mark the end: no chunk follows."""
        self._ended = True
        self._readable.set()

    def close(self) -> None:
        """Close the reader's side: drop all chunks, present and future."""
        self._closed = True
        self._chunks.clear()
        self._writable.set()

    async def get(self, wait: Wait = wait) -> bytes | None:
        """Return the next chunk; `wait` waits for it. Returns None at the end, every time."""
        if not self._chunks and not self._ended:
            self._readable = Signal()
            await wait(self._readable.future)
        if not self._chunks:
            return None
        self._writable.set()
        return self._chunks.popleft()
