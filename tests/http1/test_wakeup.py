"""`Wakeup`: a waiting task goes on within the callback of the event loop that wakes it."""

import asyncio
from collections.abc import Callable

import pytest

from ap_resume_shim.http1.wakeup import Wakeup

pytestmark = pytest.mark.anyio


async def in_a_callback(function: Callable[[], None]) -> None:
    """Call it as the event loop calls a protocol: outside of any task."""
    called = asyncio.get_running_loop().create_future()

    def call() -> None:
        function()
        called.set_result(None)

    asyncio.get_running_loop().call_soon(call)
    await called


class Waiter:
    """A task that counts how often it was woken."""

    def __init__(self) -> None:
        self.wakeup = Wakeup(asyncio.get_running_loop())
        self.woken = 0
        self.task = asyncio.create_task(self._count())

    async def _count(self) -> None:
        while True:
            await self.wakeup
            self.woken += 1


async def test_a_callback_of_the_event_loop_continues_the_task_at_once() -> None:
    waiter, seen = Waiter(), []
    await asyncio.sleep(0)

    def wake_twice() -> None:
        for _ in range(2):
            waiter.wakeup.set()
            seen.append(waiter.woken)

    await in_a_callback(wake_twice)
    assert seen == [1, 2]
    waiter.task.cancel()


async def test_another_task_continues_the_task_soon() -> None:
    waiter = Waiter()
    await asyncio.sleep(0)
    waiter.wakeup.set()
    assert waiter.woken == 0
    await asyncio.sleep(0)
    assert waiter.woken == 1
    waiter.task.cancel()


async def test_no_task_waits_and_nothing_happens() -> None:
    waiter = Waiter()
    waiter.wakeup.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiter.woken == 0
    waiter.task.cancel()


async def test_a_cancelled_task_gets_the_reason_and_can_wait_again() -> None:
    wakeup = Wakeup(asyncio.get_running_loop())

    async def wait_twice() -> tuple[object, ...]:
        try:
            await wakeup
        except asyncio.CancelledError as cancelled:
            await wakeup
            return cancelled.args
        return ()

    task = asyncio.create_task(wait_twice())
    await asyncio.sleep(0)
    task.cancel("the server ends")
    await asyncio.sleep(0)
    await in_a_callback(wakeup.set)
    assert await task == ("the server ends",)


async def test_a_task_that_is_cancelled_after_it_was_woken_ends() -> None:
    waiter = Waiter()
    await asyncio.sleep(0)
    waiter.wakeup.set()
    waiter.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter.task
    assert waiter.woken == 0
