"""langhost: two replicas of the server share PostgreSQL and Redis, and each has a sidecar in front of it.

Runs if `AP_TEST_BACKENDS` names `langhost`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import httpx
import pytest

from ap_resume_shim.core.protocol import Mode
from tests.e2e.drivers import Langhost
from tests.servers.run import start
from tests.support.matrix import chosen
from tests.support.outcome import KEPT, Outcome
from tests.support.sidecar import sidecar
from tests.support.waiting import eventually

ROUNDS, CLICKS = 24, 4
MODES = tuple(Mode)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The server takes long to start: only a choice of backends includes it."""
    metafunc.parametrize("backend", [name for name in chosen("AP_TEST_BACKENDS", ()) if name == "langhost"])


@dataclass(frozen=True)
class Pair:
    """Two replicas, and the address of the sidecar in front of each."""

    drivers: list[Langhost]
    sidecars: list[str]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        first = stack.enter_context(start("langhost"))
        servers = [first, stack.enter_context(start("langhost", beside=first))]
        every = "--port", "0", "--backend", "langgraph", "--namespace", "agents", "--guard", first.stores["REDIS_URI"]
        shims = [stack.enter_context(sidecar("--upstream", server.url, *every)) for server in servers]
        clients = [httpx.Client(base_url=server.url, timeout=180, limits=KEPT) for server in servers]
        for client in clients:
            stack.enter_context(client)
        yield Pair([Langhost(client) for client in clients], [shim.url for shim in shims])


def test_of_four_clicks_through_two_sidecars_in_front_of_two_replicas_exactly_one_succeeds(
    pair: Pair, backend: str
) -> None:
    answers: dict[str, str] = {}
    for number in range(ROUNDS):
        starts, reads = pair.drivers[number % 2], pair.drivers[1 - number % 2]
        thread = starts.start("two", {"topic": "lunch"})
        clicks = asyncio.run(a_round(pair, thread, number))
        (winner,) = [value for value, outcome in enumerate(clicks) if outcome.status == 200]
        codes = {outcome.code for outcome in clicks if outcome.status != 200}
        assert codes <= {"resume_in_progress", "thread_not_interrupted"}, f"round {number}"
        eventually(partial(asks_again, reads, thread), f"round {number}: the second question is pending")
        answers[thread] = str(winner)
        assert received(reads, thread) == (str(winner), 1, 2), f"round {number}"
    later = {thread: received(pair.drivers[0], thread) for thread in answers}
    assert later == {thread: (answer, 1, 2) for thread, answer in answers.items()}, "an answer arrived late"


def received(driver: Langhost, thread: str) -> tuple[str, int, int]:
    """The answers that the agent received, how often it was resumed, and the number of runs."""
    values = driver.values(thread)
    return values["answer"], values["runs"], len(driver.runs(thread))


def asks_again(driver: Langhost, thread: str) -> bool:
    return "answer" in driver.values(thread) and driver.status(thread) == "interrupted"


async def a_round(pair: Pair, thread: str, number: int) -> list[Outcome]:
    """Four answers to the first question at once, in all modes, alternately through the two sidecars."""
    async with httpx.AsyncClient(timeout=180) as client:

        async def click(value: int) -> Outcome:
            mode = MODES[(number + value) % len(MODES)]
            body = {"thread_id": thread, "input": str(value), "on_disconnect": "continue"}
            return Outcome(await client.patch(pair.sidecars[value % 2] + mode.route, json=body), mode)

        return await asyncio.gather(*(click(value) for value in range(CLICKS)))
