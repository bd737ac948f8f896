"""Resumes that wait for a thread: their order, the number of their claims, and how they stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.errors import GuardUnavailable
from ap_resume_shim.core.steps import ClientGone
from ap_resume_shim.core.steps.guard import Contention
from ap_resume_shim.runtime import turns
from ap_resume_shim.runtime.turns import claim_in_turn
from tests.support.agent import PROTOCOL, Agent
from tests.support.calling import Call, http

pytestmark = pytest.mark.anyio

LONG = 600.0
Waiting = asyncio.Task[tuple[Contention | None, float]]


class Stage:
    """Threads that are held; a claim takes one that is free. The test decides when the pauses end."""

    def __init__(self) -> None:
        self.free: set[str] = set()
        self.claims: list[int] = []
        self.pauses: list[tuple[float, asyncio.Future[None]]] = []
        self._number = 0

    def claim(self, thread: str) -> Callable[[], Awaitable[Contention | None]]:
        number, self._number = self._number, self._number + 1

        async def claim() -> Contention | None:
            self.claims.append(number)
            await asyncio.sleep(0)
            if thread not in self.free:
                return "holding"
            self.free.remove(thread)
            return None

        return claim

    async def pause(self, seconds: float) -> None:
        self.pauses.append((seconds, asyncio.get_running_loop().create_future()))
        await self.pauses[-1][1]

    def wait(self, thread: str = "t", seconds: float = LONG) -> Waiting:
        return asyncio.create_task(claim_in_turn(thread, self.claim(thread), seconds, self.pause))

    async def proceed(self, failure: BaseException | None = None) -> None:
        """End all pauses, the last one with a failure, and let the tasks run."""
        ended, self.pauses = self.pauses, []
        for _, over in ended[:-1] if failure else ended:
            if not over.done():
                over.set_result(None)
        if failure is not None:
            ended[-1][1].set_exception(failure)
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_only_the_resume_that_has_waited_longest_repeats_its_claim(stage: Stage) -> None:
    waiting = [stage.wait() for _ in range(50)]
    await settle()
    for _ in range(3):
        await stage.proceed()
    assert stage.claims == [0, 0, 0, 0]
    for number, task in enumerate(waiting):
        stage.free.add("t")
        await stage.proceed()
        assert [task.done() for task in waiting].count(True) == number + 1
        assert (await task)[0] is None
    assert stage.claims[-1] == 49
    assert len(stage.claims) < 4 + 3 * 50


async def test_threads_do_not_wait_for_each_other_and_share_the_rate_of_claims(stage: Stage) -> None:
    waiting = [stage.wait(str(number)) for number in range(200)]
    await settle()
    assert len(stage.claims) == 200
    assert max(seconds for seconds, _ in stage.pauses) == 200 / turns.RATE
    stage.free.add("7")
    await stage.proceed()
    assert [number for number, task in enumerate(waiting) if task.done()] == [7]
    for task in waiting:
        task.cancel()


@pytest.mark.parametrize("failure", [GuardUnavailable("The store is gone."), ClientGone()])
async def test_a_resume_that_fails_while_it_waits_gives_its_turn_to_the_next(stage: Stage, failure: Exception) -> None:
    first, second = stage.wait(), stage.wait()
    await settle()
    await stage.proceed(failure)
    with pytest.raises(type(failure)):
        await first
    assert stage.claims == [0, 1]
    stage.free.add("t")
    await stage.proceed()
    assert (await second)[0] is None


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_a_resume_that_is_cancelled_gives_its_turn_to_the_next(stage: Stage, cancelled: int) -> None:
    waiting = [stage.wait() for _ in range(3)]
    await settle()
    waiting.pop(cancelled).cancel()
    await settle()
    for task in waiting:
        stage.free.add("t")
        await stage.proceed()
        assert (await task)[0] is None


async def test_a_resume_whose_time_is_over_claims_once_more_or_waits_for_its_turn_no_longer(stage: Stage) -> None:
    first, second = stage.wait(seconds=0.01), stage.wait(seconds=0.01)
    rival, seconds = await second
    assert (rival, seconds >= 0.01, stage.claims) == ("holding", True, [0])
    await stage.proceed()
    assert (await first)[0] == "holding"
    assert stage.claims == [0, 0]


async def test_nothing_is_stored_after_the_last_wait(stage: Stage) -> None:
    waiting = [stage.wait(thread) for thread in "aab"]
    await settle()
    for task in waiting:
        task.cancel()
    await settle()
    assert not turns._queues


async def test_the_number_of_claims_does_not_grow_with_the_number_of_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = 0

    async def held(*_: object) -> Contention:
        nonlocal claims
        claims += 1
        return "holding"

    monkeypatch.setattr("ap_resume_shim.guard.memory._MemorySession.claim", held)
    settle, resumes = 0.1, 50
    shim = ResumeShim(Agent(), PROTOCOL, settle=settle)
    calls = [Call(b'{"thread_id": "t", "input": "yes"}') for _ in range(resumes)]
    await asyncio.gather(*(call(shim, http("PATCH", "/runs/resume")) for call in calls))
    assert {call.status for call in calls} == {409}
    assert claims <= 2 * resumes + 2 * settle / turns.STEP
