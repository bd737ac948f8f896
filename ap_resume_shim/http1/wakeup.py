"""`Wakeup`: an event for one task, which continues at once, not in the next iteration of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context


class Wakeup:
    """One task awaits it, any number of times. `set` has no effect while no task waits.

    For a task it is a future (see `asyncio.isfuture`): the task passes `add_done_callback` the function that continues
    it. A future of asyncio schedules that function; `set` calls it.
    """

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_continue", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = False
        self._cancelled: asyncio.CancelledError | None = None
        self._continue: Callable[[Wakeup], object] | None = None
        self._context: Context

    def set(self) -> None:
        """Continue the waiting task: at once if the caller is a callback of the event loop, soon if it is a task."""
        if self._continue is None:
            return
        if asyncio.current_task(self._loop) is not None:
            self._continue_soon()
            return
        proceed, self._continue = self._continue, None
        self._context.run(proceed, self)

    def _continue_soon(self) -> None:
        assert self._continue is not None
        self._loop.call_soon(self._continue, self, context=self._context)
        self._continue = None

    # Called by the task.

    def __await__(self) -> Generator[Wakeup, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of the task."""
        return self._loop

    def add_done_callback(self, callback: Callable[[Wakeup], object], *, context: Context) -> None:
        """Called when the task begins to wait."""
        self._continue, self._context = callback, context

    def cancel(self, msg: object = None) -> bool:
        """Called when the task is cancelled. Returns False if it does not wait."""
        if self._continue is None:
            return False
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self._continue_soon()
        return True

    def result(self) -> None:
        """Called when the task continues. Raises `CancelledError` after `cancel`."""
        error, self._cancelled = self._cancelled, None
        if error is not None:
            raise error
