"""What a guard keeps is bounded, and a resume asks the store seldom: counted, as a clock would tell of the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.guard import MemoryGuard
from benchmarks.guard import drive, trips
from tests.support.redis_server import need_redis, redis_server

KEYS = 30_000
MOST = {
    (Mode.BACKGROUND, False): 3,
    (Mode.BACKGROUND, True): 4,
    (Mode.WAIT, False): 4,
    (Mode.WAIT, True): 5,
    (Mode.STREAM, False): 4,
    (Mode.STREAM, True): 5,
}
"""Round trips to the store that a resume of a thread at rest may make, by mode and whether it has a key."""


@pytest.mark.parametrize(
    ("remembered", "keep_bytes"), [(500, 64 * 1024 * 1024), (KEYS, 50_000)], ids=["by count", "by bytes"]
)
def test_a_memory_guard_never_keeps_more_than_it_may(remembered: int, keep_bytes: int) -> None:
    guard = MemoryGuard(remembered=remembered, keep_bytes=keep_bytes, duplicate_window=3600)
    most_answers = most_bytes = most_threads = most_repeats = 0

    async def many() -> None:
        nonlocal most_answers, most_bytes, most_threads, most_repeats
        for number in range(KEYS):
            await drive(guard, number)
            most_answers = max(most_answers, len(guard.records))
            most_bytes = max(most_bytes, guard.records._bytes)
            most_threads = max(most_threads, len(guard._threads))
            most_repeats = max(most_repeats, len(guard.repeats))

    asyncio.run(many())
    assert 0 < most_answers <= remembered
    assert 0 < most_bytes <= keep_bytes
    assert most_threads <= remembered
    assert most_repeats <= remembered + 1, "the newest, until the next resume arrives"
    assert most_answers == remembered or most_bytes > keep_bytes * 0.9, "one of the bounds was reached"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    need_redis()
    with redis_server() as server:
        yield server.url


@pytest.mark.parametrize(("mode", "keyed"), MOST, ids=[f"{m.name.lower()}{', key' * k}" for m, k in MOST])
def test_a_resume_asks_the_store_once_before_it_is_sent_and_seldom_after(store: str, mode: Mode, keyed: bool) -> None:
    made, before, after_the_look = asyncio.run(trips(store, mode, keyed=keyed))
    assert len(made) <= MOST[mode, keyed]
    assert before == ["begin", "claim"]
    assert after_the_look == ["claim"], "the arrival is told beside the look"
