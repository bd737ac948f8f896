"""The ledger of every kind of guard: what one replica has noted of a thread, another recalls."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from redis.asyncio import Redis

from ap_resume_shim.core.errors import GuardUnavailable
from ap_resume_shim.guard import FallbackGuard, Ledger, MemoryGuard, MemoryLedger
from ap_resume_shim.guard.ledger import FallbackLedger
from ap_resume_shim.guard.redis import RedisGuard
from ap_resume_shim.guard.redis_ledger import FORMAT
from tests.guard.conftest import Clock, Replicas, arrived, claims
from tests.support.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.anyio

WEEK = 7 * 24 * 3600


async def test_what_one_has_noted_another_recalls(replicas: Replicas) -> None:
    assert await replicas.one.ledger.note("t", {"run": "é"})
    assert await replicas.other.ledger.recall("t") == [{"run": "é"}]


async def test_the_newest_comes_first(replicas: Replicas) -> None:
    for number in range(5):
        await (replicas.one, replicas.other)[number % 2].ledger.note("t", number)
    assert await replicas.one.ledger.recall("t") == [4, 3, 2, 1, 0]


async def test_of_an_unknown_thread_nothing_is_recalled(replicas: Replicas) -> None:
    await replicas.one.ledger.note("t", 1)
    assert await replicas.one.ledger.recall("another") == []


@pytest.mark.parametrize("entry", [None, False, 0, "", [], {}, -1.5, "\x00\u2028😀", {"a": [{"b": None}]}], ids=repr)
async def test_an_entry_comes_back_as_it_was(replicas: Replicas, entry: Any) -> None:
    await replicas.one.ledger.note("t", entry)
    (recalled,) = await replicas.one.ledger.recall("t")
    assert (recalled, type(recalled)) == (entry, type(entry))


async def test_what_is_noted_again_is_the_newest_and_there_once(replicas: Replicas) -> None:
    for entry in ("a", "b", "a"):
        await replicas.one.ledger.note("t", entry)
    assert await replicas.one.ledger.recall("t") == ["a", "b"]


async def test_the_newest_few_are_kept(replicas: Replicas) -> None:
    for number in range(40):
        await replicas.one.ledger.note("t", number)
    assert await replicas.one.ledger.recall("t") == list(range(39, 7, -1))


async def test_an_entry_that_is_too_large_is_not_noted(replicas: Replicas, caplog: pytest.LogCaptureFixture) -> None:
    await replicas.one.ledger.note("t", "small")
    with caplog.at_level(logging.WARNING):
        assert not await replicas.one.ledger.note("t", "x" * 64 * 1024)
    assert "too large for the ledger" in caplog.text and "xxx" not in caplog.text
    assert await replicas.one.ledger.recall("t") == ["small"]
    assert await replicas.one.ledger.note("t", "x" * (64 * 1024 - 2))


async def test_what_is_kept_cannot_be_changed_from_outside(replicas: Replicas) -> None:
    entry = {"run": 1}
    await replicas.one.ledger.note("t", entry)
    entry["run"] = 2
    (recalled,) = await replicas.one.ledger.recall("t")
    recalled["run"] = 3
    assert await replicas.one.ledger.recall("t") == [{"run": 1}]


async def test_of_many_at_once_none_is_lost(replicas: Replicas) -> None:
    both = (replicas.one.ledger, replicas.other.ledger)
    assert all(await asyncio.gather(*(both[number % 2].note("t", number) for number in range(30))))
    assert sorted(await replicas.one.ledger.recall("t")) == list(range(30))


async def test_ledger_and_guard_do_not_meet(replicas: Replicas) -> None:
    await replicas.one.ledger.note("t", 1)
    assert await claims(await arrived(replicas.one))
    assert await replicas.one.ledger.recall("t") == [1]


class TestInMemory:
    """What a process keeps has bounds."""

    async def test_the_threads_that_were_noted_longest_ago_go_first(self) -> None:
        ledger = MemoryLedger(threads=2)
        for thread in ("a", "b", "a", "c"):
            await ledger.note(thread, thread)
        assert [await ledger.recall(thread) for thread in "abc"] == [["a"], [], ["c"]]

    async def test_a_thread_ends_a_lifetime_after_its_last_entry(self) -> None:
        clock = Clock()
        ledger = MemoryLedger(lifetime=10, clock=clock)
        await ledger.note("t", 1)
        clock.now += 9
        await ledger.note("t", 2)
        clock.now += 9
        assert await ledger.recall("t") == [2, 1]
        clock.now += 1
        assert await ledger.recall("t") == []
        assert not ledger._pages and not ledger._bytes

    async def test_all_entries_together_are_bounded(self) -> None:
        ledger = MemoryLedger(entries=3, entry_bytes=100, all_bytes=1000)
        for number in range(200):
            await ledger.note(f"thread {number % 20}", f"{number:090}")
            held = [written for page in ledger._pages.values() for written in page.entries]
            assert ledger._bytes == sum(map(len, held)) <= 1000
        assert await ledger.recall("thread 19") == [f"{199:090}"]


class TestInRedis:
    """Lists with an end; and a store that goes away."""

    async def test_a_thread_ends_a_lifetime_after_its_last_entry(self, store: RedisServer, client: Redis) -> None:
        guard = RedisGuard(store.url)
        await guard.ledger.note("t", 1)
        (key,) = await client.keys("*")
        assert key == f"ap_resume_shim:{{t}}:{FORMAT}"
        await client.pexpire(key, 5000)
        await guard.ledger.note("t", 1)
        assert WEEK - 60 < await client.ttl(key) <= WEEK
        await guard.aclose()

    async def test_a_store_that_is_away_costs_the_traffic_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        with redis_server() as server:
            guard = RedisGuard(server.url, timeout=0.5)
            assert await guard.ledger.note("t", 1)
            server.stop()
            with caplog.at_level(logging.WARNING):
                assert [await guard.ledger.note("t", number) for number in range(5)] == [False] * 5
            assert len(caplog.records) == 1 and "is not recorded" in caplog.text
            with pytest.raises(GuardUnavailable, match="nothing was sent"):
                await guard.ledger.recall("t")
            server.start()
            assert await guard.ledger.note("t", 6)
            assert await guard.ledger.recall("t") == [6]
            await guard.aclose()

    async def test_a_store_that_is_back_is_said_to_be_away_when_it_goes_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with redis_server() as server:
            guard = RedisGuard(server.url, timeout=0.5)
            for _ in range(2):
                server.stop()
                await guard.ledger.note("t", 1)
                server.start()
                await guard.ledger.note("t", 1)
            assert caplog.text.count("is not recorded") == 2
            await guard.aclose()


def alone_or_with(server: RedisServer) -> tuple[FallbackGuard, Ledger]:
    """A guard that may go on alone, and what another process sees of its ledger."""
    shared = RedisGuard(server.url, timeout=0.5)
    return FallbackGuard(shared, MemoryGuard()), shared.ledger


class TestWithFallback:
    """Between a store and one process."""

    async def test_while_the_store_is_away_a_process_knows_what_it_saw(self) -> None:
        with redis_server() as server:
            guard, _ = alone_or_with(server)
            await guard.ledger.note("t", "before")
            server.stop()
            assert await guard.ledger.note("t", "meanwhile")
            assert await guard.ledger.recall("t") == ["meanwhile", "before"]
            await guard.aclose()

    async def test_a_store_that_comes_back_is_told_when_the_thread_is_recalled(self) -> None:
        with redis_server() as server:
            guard, others = alone_or_with(server)
            server.stop()
            await guard.ledger.note("t", 1)
            await guard.ledger.note("t", 2)
            server.start()
            assert await guard.ledger.recall("t") == [2, 1]
            assert await others.recall("t") == [2, 1]
            await others.note("t", 3)
            assert await guard.ledger.recall("t") == [3, 2, 1], "told once"
            await guard.aclose()

    async def test_a_store_that_comes_back_is_told_before_the_next_entry(self) -> None:
        with redis_server() as server:
            guard, others = alone_or_with(server)
            server.stop()
            await guard.ledger.note("t", 1)
            server.start()
            await guard.ledger.note("t", 2)
            assert await others.recall("t") == [2, 1]
            await guard.aclose()

    async def test_what_is_too_large_is_not_told_again_and_again(self) -> None:
        with redis_server() as server:
            guard, others = alone_or_with(server)
            assert not await guard.ledger.note("t", "x" * 100_000)
            await others.note("t", 1)
            assert await guard.ledger.recall("t") == [1]
            await guard.aclose()

    async def test_an_entry_that_fits_is_stored_in_both_although_its_encryption_makes_it_larger(self) -> None:
        with redis_server() as server:
            guard, others = alone_or_with(server)
            large = {"facts": {}, "owner": "o", "contents": "x" * 60_000}
            assert await guard.ledger.note("t", large)
            assert await guard.ledger.note("t", "next")
            assert len(await others.recall("t")) == 2
            assert (await guard.ledger.recall("t"))[0] == "next"
            await guard.aclose()

    async def test_what_a_store_has_missed_is_remembered_of_so_many_threads(self) -> None:
        shared, alone = Away(), MemoryLedger()
        ledger = FallbackLedger(shared, alone, threads=2)
        for thread in "abc":
            await ledger.note(thread, thread)
        shared.away = False
        assert [await ledger.recall(thread) for thread in "abc"] == [[], ["b"], ["c"]]


class Away(MemoryLedger):
    """A store that is away until it is said to be there."""

    away = True

    async def note(self, thread: str, entry: Any) -> bool:
        return not self.away and await super().note(thread, entry)
