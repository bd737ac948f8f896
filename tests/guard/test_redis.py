"""The guard that processes share: leases, fences, and a store that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock

import pytest
from redis.asyncio import Redis

from ap_resume_shim import ConfigurationError
from ap_resume_shim.core.errors import GuardUnavailable, HoldLapsed
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import KeyRecord
from ap_resume_shim.guard import ResumeKey, load_guard
from ap_resume_shim.guard.redis import CONNECTIONS, RedisGuard
from tests.guard.conftest import Clock, arrived, claims, taken
from tests.servers.process import free_port
from tests.support.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.anyio

KEYED = ResumeKey("t", "body", key="k")
HOLD, ANSWER = "ap_resume_shim:3:{t}:hold", "ap_resume_shim:3:{t}:k"


@pytest.fixture
async def guard(store: RedisServer, anyio_backend: str) -> AsyncIterator[RedisGuard]:
    guard = RedisGuard(store.url, clock=Clock())
    yield guard
    await guard.aclose()


@pytest.fixture
async def other(store: RedisServer, anyio_backend: str) -> AsyncIterator[RedisGuard]:
    guard = RedisGuard(store.url, clock=Clock())
    yield guard
    await guard.aclose()


async def lapse(client: Redis) -> None:
    """Time goes by: the lease of the thread is over."""
    seconds, micro = await client.time()
    now = str(seconds * 1_000_000 + micro)
    await client.hset(HOLD, "until", now)
    if await client.exists(ANSWER):
        await client.hset(ANSWER, "until", now)


async def test_a_thread_is_free_when_the_lease_of_a_dead_process_is_over(
    guard: RedisGuard, other: RedisGuard, client: Redis
) -> None:
    assert await claims(await arrived(guard))
    assert not await claims(await arrived(other))
    await lapse(client)
    assert await claims(await arrived(other))


async def test_who_arrived_before_a_lease_was_over_is_refused(
    guard: RedisGuard, other: RedisGuard, client: Redis
) -> None:
    """Nobody knows whether the dead process had sent its resume: it counts as accepted at that moment."""
    before, dying = await arrived(other), await arrived(guard)
    assert await claims(dying)
    during = await arrived(other)
    await lapse(client)
    after = await arrived(other)
    assert [await arrival.rival() for arrival in (before, during, after)] == ["accepted", "accepted", None]
    assert [await claims(arrival) for arrival in (before, during)] == [False, False]
    assert (await after.had_run_in_flight(), await claims(after)) == (True, True)


async def test_a_lease_that_was_over_can_be_seen_at_rest(guard: RedisGuard, other: RedisGuard, client: Redis) -> None:
    assert await claims(await arrived(guard))
    await lapse(client)
    after = await arrived(other)
    await after.mark_idle()
    await asyncio.sleep(0.05)
    assert not await (await arrived(other)).had_run_in_flight()


async def test_a_key_of_a_dead_process_is_spent(guard: RedisGuard, other: RedisGuard, client: Redis) -> None:
    assert await claims(await arrived(guard, KEYED))
    await lapse(client)
    assert await (await arrived(other, KEYED)).recall() == KeyRecord("body", live=False, accepted=False)


async def test_a_hold_of_which_too_little_is_left_is_renewed_before_sending(guard: RedisGuard, client: Redis) -> None:
    arrival = await arrived(guard)
    await arrival.claim()
    until = float(await client.hget(HOLD, "until") or 0)
    guard.clock.now += 20  # type: ignore[attr-defined]
    await arrival.forward()
    assert float(await client.hget(HOLD, "until") or 0) > until
    assert arrival.still_held()


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_process_that_outlived_its_lease_cannot_send(
    guard: RedisGuard, other: RedisGuard, client: Redis, claimed: bool
) -> None:
    slow = await arrived(guard)
    await slow.claim()
    await lapse(client)
    if claimed:
        assert await claims(await arrived(other))
    guard.clock.now += guard.lease + 1  # type: ignore[attr-defined]
    with pytest.raises(HoldLapsed, match="was not sent"):
        await slow.forward()
    await slow.mark_rejected()
    await slow.close()
    assert await claims(await arrived(other)) is not claimed, "what another holds is not let go"


async def test_a_hold_that_another_resume_took_over_has_no_lease_left(
    guard: RedisGuard, other: RedisGuard, client: Redis
) -> None:
    """By this process's clock there would be: the clocks of the store and of its clients differ."""
    slow = await arrived(guard)
    await slow.claim()
    await lapse(client)
    assert await claims(await arrived(other))
    guard.clock.now += 20  # type: ignore[attr-defined]
    with pytest.raises(HoldLapsed, match="was not sent"):
        await slow.forward()
    assert not slow.still_held()


async def test_the_fence_falls_without_the_store(guard: RedisGuard, client: Redis) -> None:
    """The last look before the first byte is at the process's own clock: it takes no time."""
    arrival = await arrived(guard)
    await arrival.claim()
    await arrival.forward()
    guard.clock.now += guard.lease - 1  # type: ignore[attr-defined]
    assert arrival.still_held()
    guard.clock.now += 1  # type: ignore[attr-defined]
    assert not arrival.still_held()


async def test_a_hold_is_renewed_while_its_process_lives(store: RedisServer, client: Redis) -> None:
    guard = RedisGuard(store.url, lease=1.5, timeout=0.5)
    arrival = await arrived(guard, KEYED)
    await arrival.claim()
    until = await client.hget(HOLD, "until"), await client.hget(ANSWER, "until")
    while until[0] == await client.hget(HOLD, "until"):
        await asyncio.sleep(0.02)
    await arrival.forward()
    assert arrival.still_held()
    await arrival.mark_accepted("r1")
    assert not arrival.still_held(), "what is not on its way yet must not go out any more"
    live = await client.hget(ANSWER, "until")
    while live == await client.hget(ANSWER, "until"):
        await asyncio.sleep(0.02)
    await arrival.close()
    assert not guard.renewing
    await guard.aclose()


async def test_an_acceptance_while_the_arrival_is_read_counts_as_one_after_it(
    guard: RedisGuard, other: RedisGuard, client: Redis
) -> None:
    """The lookup runs beside the reading: what it saw may be older than what the store told."""
    late = guard.begin(ResumeKey("t"))
    go = reading_late(guard)
    await taken(await arrived(other))
    go.set()
    assert (await late.claim(), await late.rival()) == ("accepted", "accepted")


def reading_late(guard: RedisGuard) -> asyncio.Event:
    """Let what the guard asks the store from now on wait, as on a slow network, until the event is set."""
    call, go = guard.call, asyncio.Event()

    async def later(*arguments: Any) -> Any:
        await go.wait()
        return await call(*arguments)

    guard.call = later  # type: ignore[method-assign, assignment]
    guard.clock.now += 10  # type: ignore[attr-defined]
    return go


async def test_who_arrived_before_an_acceptance_cannot_say_that_its_run_rests(
    guard: RedisGuard, other: RedisGuard, client: Redis
) -> None:
    """The thread that it saw at rest was that before the run."""
    late = guard.begin(ResumeKey("t"))
    go = reading_late(guard)
    await taken(await arrived(other))
    go.set()
    await late.recall()
    await late.mark_idle()
    await asyncio.sleep(0.05)
    assert await (await arrived(other)).had_run_in_flight()


async def test_what_rests_since_the_arrival_did_not_rest_at_it(
    guard: RedisGuard, other: RedisGuard, client: Redis
) -> None:
    first = await taken(await arrived(other))
    late = guard.begin(ResumeKey("t"))
    go = reading_late(guard)
    await first.mark_idle()
    while await client.hget(HOLD, "in_flight") == "1":
        await asyncio.sleep(0.01)
    go.set()
    assert await late.had_run_in_flight()


@pytest.mark.parametrize("seen", ["mark_committed", "mark_idle"])
async def test_what_is_committed_since_the_arrival_was_not_at_it(
    guard: RedisGuard, other: RedisGuard, client: Redis, seen: str
) -> None:
    """The lookup beside the reading may have seen the thread before."""
    first = await taken(await arrived(other), answered=("q1",), hold=True)
    late = guard.begin(ResumeKey("t"))
    go = reading_late(guard)
    await getattr(first, seen)()
    while not await client.hexists(HOLD, "committed"):
        await asyncio.sleep(0.01)
    go.set()
    assert (await late.uncommitted()).names == {"q1"}
    assert (await (await arrived(other)).uncommitted()).names == set()


async def test_an_answer_that_is_too_large_is_not_kept(store: RedisServer, client: Redis) -> None:
    guard = RedisGuard(store.url, clock=Clock(), keep_bytes=1000)
    arrival = await taken(await arrived(guard, KEYED), "r1")
    await arrival.keep(Reply(200, "x" * 2000))
    await arrival.close()
    assert await (await arrived(guard, KEYED)).recall() == KeyRecord("body", False, True, "r1")
    await guard.aclose()


async def test_all_that_is_kept_has_an_end(store: RedisServer, client: Redis) -> None:
    guard = RedisGuard(store.url, clock=Clock(), keep=60, duplicate_window=5)
    most = {"hold": 24 * 3600, "k": 60, "r": 5, "ids": 7 * 24 * 3600}

    async def has_an_end(*names: str) -> None:
        left = {key: await client.pttl(key) for key in await client.keys("*")}
        assert set(left) == {f"ap_resume_shim:3:{{t}}:{name}" for name in names}
        assert all(0 < left[f"ap_resume_shim:3:{{t}}:{name}"] <= most[name] * 1000 for name in names), left

    ticket = ResumeKey("t", "body", key="k", repeat="r", window=5)
    arrival = await arrived(guard, ticket)
    assert await arrival.claim((), ("id",)) is None
    await has_an_end("hold", "k", "r", "ids")
    await arrival.forward()
    for step in (arrival.mark_accepted(), arrival.mark_run_id("r1"), arrival.keep(Reply(200, {})), arrival.mark_idle()):
        await step
        await has_an_end("hold", "k", "r", "ids")
    await arrival.close()
    await client.flushdb()  # what was claimed is forgotten, or was never known
    await arrival.mark_accepted(hold=True)
    await has_an_end("hold", "k")
    await arrival.mark_committed()
    await has_an_end("hold", "k")
    await client.flushdb()
    await arrival.remember(["id"])
    while not await client.keys("*"):
        await asyncio.sleep(0.01)
    await has_an_end("ids")
    await guard.aclose()


@pytest.mark.parametrize("hold", [False, True])
async def test_an_acceptance_that_comes_late_does_not_end_the_hold_of_another(
    guard: RedisGuard, other: RedisGuard, client: Redis, hold: bool
) -> None:
    slow = await arrived(guard)
    assert await claims(slow)
    await slow.forward()
    await lapse(client)
    holder = await arrived(other)
    assert await claims(holder)
    await slow.mark_accepted(hold=hold)
    assert await (await arrived(other)).claim() == "holding"
    await slow.close()
    assert await (await arrived(other)).claim() == "holding"
    await holder.mark_rejected()
    assert await claims(await arrived(other))


def taking(guard: RedisGuard, seconds: float) -> None:
    """Let every answer of the store take so long, on the process's own clock."""
    call = guard.call

    async def slow(*arguments: Any) -> Any:
        told = await call(*arguments)
        guard.clock.now += seconds  # type: ignore[attr-defined]
        return told

    guard.call = slow  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("renewed", [False, True])
async def test_a_hold_is_measured_from_before_the_store_was_asked(
    guard: RedisGuard, client: Redis, renewed: bool
) -> None:
    arrival = await arrived(guard)
    if not renewed:
        taking(guard, 10)
    assert await claims(arrival)
    if renewed:
        guard.clock.now += 20  # type: ignore[attr-defined]
        taking(guard, 10)
    await arrival.forward()
    assert arrival.still_held()
    guard.clock.now += guard.lease - 10  # type: ignore[attr-defined]
    assert not arrival.still_held()


async def test_without_the_store_nothing_is_claimed() -> None:
    guard = RedisGuard(f"redis://127.0.0.1:{free_port()}/0", timeout=0.2)
    arrival = guard.begin(ResumeKey("t"))
    for ask in (
        arrival.recall,
        arrival.repeated,
        arrival.had_run_in_flight,
        arrival.rival,
        arrival.claim,
        arrival.uncommitted,
        arrival.known_ids,
    ):
        with pytest.raises(GuardUnavailable, match="nothing was sent"):
            await ask()
    await arrival.close()
    await guard.aclose()


async def test_a_store_that_dies_after_the_claim_costs_nobody_an_answer() -> None:
    with redis_server() as server:
        guard = RedisGuard(server.url, timeout=0.5)
        arrival = await arrived(guard, KEYED)
        await arrival.claim()
        server.stop()
        await arrival.forward()
        await arrival.mark_accepted("r1")
        await arrival.keep(Reply(200, {}))
        await arrival.mark_idle()
        await arrival.close()
        with pytest.raises(GuardUnavailable):
            await guard.begin(KEYED).claim()
        server.start()
        assert await claims(await arrived(guard, KEYED)), "a store that came back empty"
        await guard.aclose()


async def test_a_store_that_comes_back_is_told_of_the_acceptance(store: RedisServer, client: Redis) -> None:
    """Else the hold would be renewed as long as the answer takes."""
    guard, other = RedisGuard(store.url, lease=1.5, timeout=0.5), RedisGuard(store.url)
    arrival = await arrived(guard, KEYED)
    await arrival.claim()
    await arrival.forward()
    call, guard.call = guard.call, AsyncMock(side_effect=GuardUnavailable("away"))  # type: ignore[method-assign]
    await arrival.mark_accepted("r1")
    assert await (await arrived(other)).rival() == "holding"
    guard.call = call  # type: ignore[method-assign]
    while await client.hget(HOLD, "holder"):
        await asyncio.sleep(0.02)
    kept = await (await arrived(other, KEYED)).recall()
    assert kept is not None and (kept.accepted, kept.run_id) == (True, "r1")
    await arrival.close()
    await guard.aclose()
    await other.aclose()


async def test_a_guard_that_may_goes_on_alone_while_the_store_is_away() -> None:
    with redis_server() as server:
        guard = load_guard(server.url, timeout=0.5, required=False)
        held = await arrived(guard)
        server.stop()
        assert await claims(held)
        assert not await claims(await arrived(guard))
        await held.close()
        assert await claims(await arrived(guard, "another"))
        await guard.aclose()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:port/0", "redis://[::1/0"])
async def test_an_address_that_is_none_is_said_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not the address"):
        load_guard(url)


@pytest.mark.parametrize(("name", "options"), [("mongodb://here", {}), ("redis://127.0.0.1", {"lease": 1})])
async def test_what_is_no_guard_is_said_at_once(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        load_guard(name, **options)


async def test_a_host_may_be_called_valkey() -> None:
    guard = RedisGuard("redis://valkey.invalid:1/0", timeout=0.2)
    assert "valkey.invalid" in guard._url
    await guard.aclose()


async def test_valkey_is_spoken_to_as_redis_is(store: RedisServer, client: Redis) -> None:
    guard = load_guard(store.url.replace("redis", "valkey"))
    assert await claims(await arrived(guard))
    await guard.aclose()


async def test_many_resumes_at_once_wait_for_a_free_connection(store: RedisServer, client: Redis) -> None:
    """redis-py's default pool refuses the 101st call, or in older versions opens a connection for each."""
    guard = RedisGuard(store.url, timeout=10)
    sessions = [guard.begin(ResumeKey(str(number))) for number in range(300)]
    assert await asyncio.gather(*(session.claim() for session in sessions)) == [None] * 300
    connections = await client.client_list()
    assert 1 < len(connections) <= 1 + CONNECTIONS
    await asyncio.gather(*(session.mark_rejected() for session in sessions))
    await guard.aclose()
