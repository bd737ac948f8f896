"""Every kind of guard, each as two replicas have it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from ap_resume_shim.guard import FallbackGuard, Guard, GuardSession, MemoryGuard, ResumeKey
from ap_resume_shim.guard.redis import RedisGuard
from tests.support.redis_server import RedisServer, redis_server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def store() -> Iterator[RedisServer]:
    """One redis-server for all tests of a process; each test uses threads of its own."""
    with redis_server() as server:
        yield server


@pytest.fixture
async def client(store: RedisServer, anyio_backend: str) -> AsyncIterator[Redis]:
    """A client of the store, which is empty."""
    client = Redis.from_url(store.url, decode_responses=True)
    await client.flushdb()
    yield client
    await client.aclose()


class Clock:
    """Seconds, as the test says."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Replicas:
    """Two guards that share what they know (in memory: one guard, twice)."""

    one: Guard
    other: Guard
    clock: Clock


@pytest.fixture(params=["memory", "redis", "fallback"])
async def replicas(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Replicas]:
    clock = Clock()
    guards: list[Guard]
    if request.param == "memory":
        guards = [MemoryGuard(clock=clock, duplicate_window=60)] * 2
    else:
        url = request.getfixturevalue("store").url
        await _empty(url)
        # A clock that stands still: on a slow machine, an acceptance just before an arrival counts as one after it.
        guards = [RedisGuard(url, duplicate_window=60, clock=clock, timeout=10) for _ in range(2)]
        if request.param == "fallback":
            guards = [FallbackGuard(guard, MemoryGuard(duplicate_window=60)) for guard in guards]
    yield Replicas(guards[0], guards[1], clock)
    for guard in guards:
        await guard.aclose()


async def _empty(url: str) -> None:
    client = Redis.from_url(url)
    await client.flushdb()
    await client.aclose()


async def arrived(guard: Guard, ticket: ResumeKey | str = "t") -> GuardSession:
    """A resume that has arrived, also in the store's eyes."""
    arrival = guard.begin(ResumeKey(ticket) if isinstance(ticket, str) else ticket)
    await arrival.recall()
    return arrival


async def claims(arrival: GuardSession) -> bool:
    """Whether it gets the thread."""
    return await arrival.claim() is None


async def taken(
    arrival: GuardSession, run_id: str | None = None, *, answered: tuple[str, ...] = (), hold: bool = False
) -> GuardSession:
    """A resume that the backend took."""
    assert await arrival.claim(answered) is None
    await arrival.forward()
    await arrival.mark_accepted(run_id, hold=hold)
    return arrival
