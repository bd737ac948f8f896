"""A store that stalls, goes away, forgets, or has its clock set, and a machine that is suspended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from redis.asyncio import Redis

from ap_resume_shim.core.errors import GuardUnavailable, HoldLapsed
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import KeyRecord
from ap_resume_shim.guard import FallbackGuard, MemoryGuard, ResumeKey
from ap_resume_shim.guard.redis import RedisGuard
from ap_resume_shim.guard.redis_scripts import PRELUDE
from tests.guard.conftest import arrived, claims, taken
from tests.support.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.anyio

KEYED = ResumeKey("t", "body", key="k", repeat="again", window=60)
HOUR, LEASE = 3600.0, 30.0


@pytest.fixture
async def guards(store: RedisServer, client: Redis) -> AsyncIterator[list[RedisGuard]]:
    """Two processes' guards."""
    guards = [RedisGuard(store.url, lease=LEASE, duplicate_window=60) for _ in range(2)]
    for guard in guards:
        guard.outbox._pause = 0.01
    yield guards
    for guard in guards:
        await guard.aclose()


async def eventually(holds: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it holds within a few seconds."""
    for _ in range(300):
        if await holds():
            return True
        await asyncio.sleep(0.02)
    return False


class Cut:
    """A process whose store is out of reach: before its calls are carried out, or before their answers come back."""

    def __init__(self, guard: RedisGuard) -> None:
        self._guard, self._call = guard, guard.call

    def off(self, *, carried_out: tuple[str, ...] = ()) -> None:
        async def call(script: str, *arguments: Any) -> Any:
            if script in carried_out:
                await self._call(script, *arguments)
            raise GuardUnavailable("away")

        self._guard.call = call  # type: ignore[method-assign, assignment]

    def back(self) -> None:
        self._guard.call = self._call  # type: ignore[method-assign]


# A store that stalls while a resume claims


@pytest.mark.parametrize("dies", [False, True])
async def test_a_claim_that_a_stalled_store_carries_out_late_holds_nothing(dies: bool) -> None:
    with redis_server() as server:
        guard, other = RedisGuard(server.url, timeout=0.5), RedisGuard(server.url)
        await (await taken(await arrived(guard, "another"))).close()  # the store knows the scripts
        arrival = await arrived(guard, KEYED)
        with server.stalled():
            with pytest.raises(GuardUnavailable, match="nothing was sent"):
                await arrival.claim()
            if not dies:
                await arrival.close()
        assert await eventually(lambda: claims_in_time(other)), "no lease has to run out"
        assert await (await arrived(other, KEYED)).recall() is None
        await guard.aclose()
        await other.aclose()


async def claims_in_time(guard: RedisGuard) -> bool:
    try:
        return await claims(await arrived(guard))
    except GuardUnavailable:
        return False


async def test_a_claim_whose_answer_was_lost_is_released_when_the_store_is_back(guards: list[RedisGuard]) -> None:
    guard, other = guards
    arrival, store = await arrived(guard, KEYED), Cut(guard)
    store.off(carried_out=("claim",))
    with pytest.raises(GuardUnavailable):
        await arrival.claim()
    await arrival.close()
    assert not await claims(await arrived(other))
    store.back()
    assert await eventually(lambda: claims_in_time(other))
    later = await arrived(other, KEYED)
    assert (await later.recall(), await later.repeated()) == (None, False)


async def test_what_happened_while_the_store_was_away_is_stored_in_order(guards: list[RedisGuard]) -> None:
    guard, other = guards
    before = await arrived(other)
    arrival, store = await arrived(guard, KEYED), Cut(guard)
    await arrival.claim()
    await arrival.forward()
    store.off()
    await arrival.mark_accepted()
    await arrival.mark_run_id("r1")
    await arrival.keep(Reply(200, {"a": 1}))
    await arrival.close()
    store.back()
    answer = KeyRecord("body", False, True, "r1", Reply(200, {"a": 1}))

    async def stored() -> bool:
        return await (await arrived(other, KEYED)).recall() == answer

    assert await eventually(stored)
    assert not await claims(before)
    assert await claims(await arrived(other))


# A process that guards alone


@pytest.mark.parametrize("carried_out", [(), ("begin", "claim")])
async def test_what_was_accepted_alone_is_stored_as_taken(
    guards: list[RedisGuard], carried_out: tuple[str, ...]
) -> None:
    shared, other = guards
    guard, store = FallbackGuard(shared, MemoryGuard()), Cut(shared)
    older = await arrived(other, KEYED)
    store.off(carried_out=carried_out)
    alone = await taken(await arrived(guard, KEYED), "r1")
    await alone.keep(Reply(200, {}))
    await alone.close()
    store.back()

    async def known() -> bool:
        return await (await arrived(other, KEYED)).recall() == KeyRecord("body", False, True, "r1", Reply(200, {}))

    assert await eventually(known), "the key is spent for all"
    assert not await claims(older), "it arrived before the acceptance"
    assert await claims(await arrived(other))


async def test_what_was_forwarded_alone_and_broke_off_is_stored_as_taken(guards: list[RedisGuard]) -> None:
    shared, other = guards
    guard, store = FallbackGuard(shared, MemoryGuard()), Cut(shared)
    older = await arrived(other)
    store.off()
    alone = await arrived(guard)
    assert await claims(alone)
    await alone.forward()
    await alone.close()
    store.back()

    async def refused() -> bool:
        return not await claims(older)

    assert await eventually(refused)


async def test_what_was_certainly_not_taken_alone_leaves_no_trace(guards: list[RedisGuard]) -> None:
    shared, other = guards
    guard, store = FallbackGuard(shared, MemoryGuard()), Cut(shared)
    older = await arrived(other, KEYED)
    store.off(carried_out=("begin", "claim"))
    alone = await arrived(guard, KEYED)
    assert await claims(alone)
    await alone.forward()
    await alone.mark_rejected()
    await alone.close()
    store.back()
    assert await eventually(lambda: claims(older))
    assert await (await arrived(guard, KEYED)).recall() == KeyRecord("body", live=True), "that of the older one"


# Clocks


class StoreClock:
    """The store's clock, as the test sets it: seconds."""

    def __init__(self, client: Redis) -> None:
        self._client, self.now = client, 1_800_000_000.0

    async def set(self, change: float) -> None:
        self.now += change
        await self._client.set("now", int(self.now * 1_000_000))


@pytest.fixture
async def store_clock(client: Redis) -> AsyncIterator[StoreClock]:
    """The scripts read the time from a key."""
    told = PRELUDE.replace("clock[1] * 1000000 + clock[2]", "tonumber(redis.call('GET', 'now'))")
    assert told != PRELUDE
    with mock.patch("ap_resume_shim.guard.redis.PRELUDE", told):
        await (clock := StoreClock(client)).set(0)
        yield clock


@pytest.mark.parametrize("jump", [-HOUR, HOUR, -24 * HOUR, -0.0005])
async def test_a_clock_that_was_set_locks_no_thread(
    guards: list[RedisGuard], store_clock: StoreClock, jump: float
) -> None:
    first = await taken(await arrived(guards[0]))
    await first.close()
    waiting = await arrived(guards[1])
    await store_clock.set(jump)
    await store_clock.set(1)
    assert await eventually(lambda: claims_in_time(guards[1]))
    assert not await claims(waiting)


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
async def test_versions_are_told_apart_whatever_the_clock_says(
    guards: list[RedisGuard], store_clock: StoreClock, jump: float
) -> None:
    waiting = await arrived(guards[1])
    await taken(await arrived(guards[0]))
    await store_clock.set(jump)
    waiting_too = await arrived(guards[1])
    await store_clock.set(1 - jump)
    await taken(await arrived(guards[0]))
    assert [await claims(arrival) for arrival in (waiting, waiting_too)] == [False, False]


async def test_the_hold_of_a_dead_process_ends_though_the_clock_was_set_back(
    guards: list[RedisGuard], store_clock: StoreClock
) -> None:
    assert await claims(await arrived(guards[0], KEYED))
    await store_clock.set(-HOUR)
    during = await arrived(guards[1], KEYED)
    assert (await claims(during), await during.recall()) == (False, KeyRecord("body", live=True))
    await store_clock.set(LEASE - 1)
    assert not await claims(await arrived(guards[1]))
    await store_clock.set(2)
    after = await arrived(guards[1], KEYED)
    assert (await claims(after), await after.recall()) == (True, KeyRecord("body", live=False))


async def test_a_live_process_keeps_its_hold_when_the_clock_was_set(
    guards: list[RedisGuard], store_clock: StoreClock
) -> None:
    holder = await arrived(guards[0])
    assert await claims(holder)
    for jump in (-HOUR, HOUR, HOUR):
        await store_clock.set(jump)
        await holder._renew()  # type: ignore[attr-defined]
        assert not await claims(await arrived(guards[1]))
    await holder.forward()
    assert holder.still_held()


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
async def test_what_is_uncommitted_ages_though_the_clock_was_set(
    guards: list[RedisGuard], store_clock: StoreClock, jump: float
) -> None:
    await taken(await arrived(guards[0]), answered=("q",))
    await store_clock.set(jump)
    age = (await (await arrived(guards[1])).uncommitted()).age
    assert age == pytest.approx(max(0, jump), abs=0.1)
    await store_clock.set(31)
    assert (await (await arrived(guards[1])).uncommitted()).age >= age + 31


async def test_what_is_stored_late_is_as_old_as_it_is(guards: list[RedisGuard], store_clock: StoreClock) -> None:
    guard, ahead = guards[0], 0.0
    guard.clock = lambda: time.monotonic() + ahead
    arrival, store = await arrived(guard), Cut(guard)
    assert await arrival.claim(("q",)) is None
    store.off()
    await arrival.mark_accepted()
    ahead = 100.0
    store.back()

    async def age() -> float:
        return (await (await arrived(guards[1])).uncommitted()).age

    async def old() -> bool:
        return await age() >= 100

    assert await eventually(old)


class Suspended:
    """A machine that was suspended: its monotonic clock stood still, the other went on."""

    def __init__(self) -> None:
        self.seconds, self._boottime = 0.0, time.clock_gettime

    def clock_gettime(self, clock: int) -> float:
        return self._boottime(clock) + (self.seconds if clock == time.CLOCK_BOOTTIME else 0)


@pytest.fixture
def suspended() -> Iterator[Suspended]:
    machine = Suspended()
    with mock.patch.object(time, "clock_gettime", machine.clock_gettime):
        yield machine


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system does not say how long it was suspended")
async def test_a_machine_that_was_suspended_sends_nothing(suspended: Suspended, guards: list[RedisGuard]) -> None:
    asleep, on_its_way = await arrived(guards[0]), await arrived(guards[0], "another")
    assert await claims(asleep)
    assert await claims(on_its_way)
    await on_its_way.forward()
    assert on_its_way.still_held()
    suspended.seconds = LEASE
    assert not on_its_way.still_held()
    with pytest.raises(HoldLapsed, match="was not sent"):
        await asleep.forward()
