"""`Waiter`: one task waits until a callback wakes it."""

from __future__ import annotations

import asyncio


class Waiter:
    """Unlike `asyncio.Event`, it remembers nothing: `wake` without a waiting task has no effect."""

    _future: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait for the next `wake`. Only one task may wait."""
        assert self._future is None, "one task waits"
        self._future = asyncio.get_running_loop().create_future()
        try:
            await self._future
        finally:
            self._future = None

    def wake(self) -> None:
        """Wake the waiting task, if there is one."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
