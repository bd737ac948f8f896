"""Two sidecars that share a guard, in front of one backend: rounds of resumes at once, kills, and retries.

`AP_TEST_ROUNDS` says how many rounds; a fifth of them with a kill, a seventh of those in conventions that are drawn at
random. `AP_TEST_SEED` repeats a draw.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random, SystemRandom
from typing import Any

import httpx
import pytest

from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.sse import Decoder
from tests.e2e.conventions import CONVENTIONS, asked, taken
from tests.e2e.placements import GRAPHS, PLACEMENTS
from tests.e2e.replicas import Draw, Point, Replicas, replicas
from tests.support.matrix import chosen
from tests.support.outcome import Outcome
from tests.support.redis_server import RedisServer, redis_server
from tests.support.sidecar import Sidecar
from tests.support.waiting import eventually

ROUNDS = int(os.environ.get("AP_TEST_ROUNDS", "5"))
KILLS = max(2, ROUNDS // 5)
AT_ONCE = 20
EARLY, LATE = range(AT_ONCE - 2), range(AT_ONCE - 2, AT_ONCE)
BACKENDS = ("langgraph", "aegra", "agent-protocol")
MORTAL = ("--guard-lease", "3", "--commit-timeout", "3")
"""Options of sidecars that are killed."""
GUARDED = ("--vendor-resumes", "guard", "--duplicate-window", "30", *MORTAL)  # one click may take seconds to arrive


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Sidecars are one of the matrix's placements; the backends are those that it chose."""
    names = chosen("AP_TEST_BACKENDS", ("langgraph", "agent-protocol"))
    there = "sidecar" in chosen("AP_TEST_PLACEMENTS", PLACEMENTS)
    metafunc.parametrize("backend", [name for name in names if name in BACKENDS and there], scope="module")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def pair(backend: str, redis: RedisServer) -> Iterator[Replicas]:
    with replicas(backend, redis) as made:
        yield made


def test_of_resumes_at_once_through_two_sidecars_exactly_one_succeeds(pair: Replicas) -> None:
    with ThreadPoolExecutor(10) as pool:
        threads = list(pool.map(lambda _: pair.thread("two"), range(ROUNDS)))
    for number, thread in enumerate(threads):
        pair.gate.expect(AT_ONCE)
        answers = asyncio.run(a_round(pair, thread, number))
        codes = sorted(str(answer and (answer.code or answer.status)) for answer in answers)
        assert codes == ["200", *["resume_in_progress"] * (AT_ONCE - 1)], f"round {number}"
        (winner,) = [str(index) for index, answer in enumerate(answers) if answer and answer.status == 200]
        assert (pair.gate.sent, pair.driver.values(thread)["answer"]) == ([winner], winner), f"round {number}"
        assert len(pair.driver.runs(thread)) == 2, f"round {number}"


async def a_round(pair: Replicas, thread: str, number: int) -> list[Outcome | None]:
    """All at once; the last two, one through each sidecar, do not see the thread before it asks again."""
    kept_back = asyncio.create_task(pair.at_once(thread, LATE, first=number, late=True))
    answers = await pair.at_once(thread, EARLY, first=number)
    await asyncio.to_thread(eventually, lambda: asks_again(pair, thread), "the second gate is asked")
    pair.gate.late.set()
    return answers + await kept_back


def asks_again(pair: Replicas, thread: str) -> bool:
    """Whether one answer came to the agent, which waits for the next."""
    return "answer" in pair.driver.values(thread) and pair.driver.status(thread) == "interrupted"


@pytest.mark.parametrize("number", range(KILLS))
def test_of_resumes_at_once_with_a_sidecar_killed_none_is_sent_twice(
    backend: str, redis: RedisServer, number: int
) -> None:
    point = list(Point)[number % len(Point)]
    with replicas(backend, redis, *MORTAL) as pair:
        asyncio.run(killed_in_a_round(pair, point, number))


async def killed_in_a_round(pair: Replicas, point: Point, number: int) -> None:
    at, killed = killer(pair, point)
    thread = pair.thread("two")
    pair.gate.expect(AT_ONCE, at)
    kept_back = asyncio.create_task(pair.at_once(thread, LATE, first=number, on_disconnect="continue", late=True))
    answers = await pair.at_once(thread, EARLY, first=number, on_disconnect="continue")
    (sent,) = pair.gate.sent
    for who, answer in enumerate(answers):
        if pair.of(str(who)) not in killed and str(who) != sent:
            assert answer is not None and answer.code == "resume_in_progress"
    left = 1 - pair.sidecars.index(killed[0])
    await asyncio.to_thread(eventually, lambda: is_free(pair, left, thread), "the thread is free again")
    pair.gate.late.set()
    refused = [answer.code for answer in await kept_back if answer is not None]
    assert refused == ["resume_in_progress"], "it arrived before"
    assert pair.gate.sent == [sent]
    answered = pair.driver.values(thread).get("answer")
    assert answered in {Point.LOST: (None,), Point.SENT: (None, sent)}.get(point, (sent,))
    assert len(pair.driver.runs(thread)) <= (1 if point is Point.LOST else 2)
    fresh = pair.resume(left, Mode.WAIT, thread, input="fresh")
    assert fresh.status == 200
    assert pair.driver.values(thread)["answer"] == ("fresh" if answered is None else [answered, "fresh"])


def killer(pair: Replicas, point: Point | None) -> tuple[Callable[[Point, str], bool], list[Sidecar]]:
    """What kills a sidecar at a point of the round, and the sidecar that it killed."""
    killed: list[Sidecar] = []

    def at(here: Point, who: str) -> bool:
        if here is point and not killed:
            killed.append(pair.of(who))
            killed[0].kill()
        return here is point

    return at, killed


def test_of_answers_in_any_conventions_at_once_exactly_one_reaches_its_question(
    backend: str, redis: RedisServer
) -> None:
    if backend not in GRAPHS:
        pytest.skip("the conventions are those of LangGraph's family")
    names = [name for name in CONVENTIONS if backend == "langgraph" or (name != "a2a" and "WebSocket" not in name)]
    seed = os.environ.get("AP_TEST_SEED") or str(SystemRandom().randrange(10**9))
    print(f"AP_TEST_SEED={seed} repeats this draw")
    with replicas(backend, redis, *GUARDED) as pair, ThreadPoolExecutor(10) as pool:
        threads = list(pool.map(lambda _: pair.thread("two"), range(ROUNDS)))
        first: dict[str, Any] = {}
        for number, thread in enumerate(threads):
            draw = Draw.of(Random(f"{seed} {number}"), names, AT_ONCE, kills=number % 7 == 2)
            first[thread] = asyncio.run(a_drawn_round(pair, thread, draw, f"seed {seed}, round {number}: {draw}"))
        pair.gate.expect(1)
        later = [name for name in names if name != "a2a"]  # the server may not know the newest run as a task
        names_now = [Random(f"{seed} later {number}").choice(later) for number in range(ROUNDS)]
        list(pool.map(partial(answers_what_is_asked_now, pair), names_now, threads, first.values()))


async def a_drawn_round(pair: Replicas, thread: str, draw: Draw, story: str) -> Any:
    """Returns the answer that the first gate got, if it got one; the second gate got none."""
    at, killed = killer(pair, draw.kill)
    pair.gate.expect(AT_ONCE if draw.together else 1, at)
    seen = asked(pair.driver, thread)
    kept_back = asyncio.create_task(pair.click(seen, draw, LATE, late=True))
    fates = await pair.click(seen, draw, EARLY)
    story = f"{story}; sent: {pair.gate.sent}, then {fates}"
    left = 1 - pair.sidecars.index(killed[0]) if killed else 0
    waits = (lambda: is_free(pair, left, thread)) if killed else (lambda: asks_again(pair, thread))
    await asyncio.to_thread(eventually, waits, story)
    pair.gate.late.set()
    fates += await kept_back
    sent, answered = pair.gate.sent, pair.driver.values(thread).get("answer")
    winners = [str(number) for number, fate in enumerate(fates) if fate == "taken"]
    if killed:
        assert len(sent) <= 1 and set(winners) <= set(sent), story
        assert answered in (None, *(draw.clicks[int(who)].value for who in sent)), story
        assert all(pair.of(str(number)) is killed[0] for number, fate in enumerate(fates) if fate is None), story
        pair.restart(killed[0])
    else:
        assert len(winners) == 1 and sent == winners and None not in fates, story
        assert answered == draw.clicks[int(sent[0])].value, story
    assert pair.driver.values(thread).get("runs", 0) == (answered is not None), story
    assert len(pair.driver.runs(thread)) <= 2, story
    return answered


def answers_what_is_asked_now(pair: Replicas, convention: str, thread: str, before: Any) -> None:
    """Later, one more answer reaches the question that is asked now."""

    async def answers() -> httpx.Response | None:
        request = CONVENTIONS[convention](asked(pair.driver, thread), "fresh")
        async with httpx.AsyncClient(timeout=180, verify=False) as client:
            return await pair.send(client, "0", request)

    response = asyncio.run(answers())
    assert response is not None and taken(response), f"{convention}: {response and response.text}"
    expected = "fresh" if before is None else [before, "fresh"]
    eventually(lambda: pair.driver.values(thread).get("answer") == expected, f"{convention} after {before}")
    assert pair.driver.values(thread)["runs"] == (1 if before is None else 2)


def is_free(pair: Replicas, through: int, thread: str) -> bool:
    """Whether nobody holds the thread, and no run goes on: asked by a resume that is never sent."""
    return pair.resume(through, Mode.BACKGROUND, thread, input="?", interrupt_id="none").code == "interrupt_not_pending"


@pytest.mark.modes(Mode.BACKGROUND, Mode.WAIT)
def test_a_retry_through_the_other_sidecar_gets_the_same_answer(pair: Replicas, mode: Mode) -> None:
    thread, key = pair.thread("two"), a_key()
    first = pair.resume(0, mode, thread, key, input="yes")
    eventually(lambda: asks_again(pair, thread), "the second gate is asked")
    again = pair.resume(1, mode, thread, key, input="yes")
    assert (first.status, again.status, again.response.json()) == (200, 200, first.response.json())
    assert (again.run_id, again.response.headers["idempotency-replayed"]) == (first.run_id, "true")
    assert "idempotency-replayed" not in first.response.headers
    assert pair.driver.values(thread)["answer"] == "yes"


def test_a_key_that_comes_with_another_body_is_refused(pair: Replicas, mode: Mode) -> None:
    thread, key = pair.thread("ask"), a_key()
    assert pair.resume(0, mode, thread, key, input="yes").status == 200
    again = pair.resume(1, mode, thread, key, input="no")
    assert (again.status, again.code) == (422, "idempotency_key_reused")


def test_another_caller_with_the_same_key_never_gets_the_answer(pair: Replicas, mode: Mode) -> None:
    thread, key = pair.thread("ask"), a_key()
    assert pair.resume(0, mode, thread, {"authorization": "Bearer one", **key}, input="yes").status == 200
    eventually(lambda: pair.driver.status(thread) != "busy", "the run ends")
    for caller in ({"authorization": "Bearer another"}, {}):
        answer = pair.resume(1, mode, thread, {**caller, **key}, input="yes")
        assert (answer.code, answer.response.headers.get("idempotency-replayed")) == ("thread_not_interrupted", None)


def test_a_retry_of_a_wait_that_is_under_way_is_told_so(pair: Replicas) -> None:
    thread, key = pair.thread("slowask", secs=20), a_key()

    async def twice() -> str | None:
        body = {"thread_id": thread, "input": "yes"}
        async with httpx.AsyncClient(timeout=180, verify=False) as client:
            url = pair.sidecars[0].url + Mode.WAIT.route
            first = asyncio.create_task(client.patch(url, json=body, headers=key))
            await asyncio.to_thread(eventually, lambda: pair.driver.status(thread) == "busy", "the run starts")
            again = await asyncio.to_thread(pair.resume, 1, Mode.WAIT, thread, key, input="yes")
            assert not first.done()
            first.cancel()  # which cancels the run
        return again.code

    assert asyncio.run(twice()) == "resume_in_progress"
    eventually(lambda: pair.driver.status(thread) != "busy", "the run is cancelled")
    assert len(pair.driver.runs(thread)) == 2


def test_a_retry_of_a_stream_joins_its_run_until_that_ends(pair: Replicas) -> None:
    thread, key = pair.thread("slowask", secs=6), a_key()
    body = {"thread_id": thread, "input": "yes", "on_disconnect": "continue"}
    decoder = Decoder()
    with pair.client.stream("PATCH", pair.sidecars[0].url + Mode.STREAM.route, json=body, headers=key) as response:
        events = (event for chunk in response.iter_raw() for event in decoder.feed(chunk) if event.data is not None)
        run_id = next(events).json["run_id"]
    again = pair.resume(1, Mode.STREAM, thread, key, input="yes", on_disconnect="continue")
    assert (again.status, again.run_id, again.response.headers["idempotency-replayed"]) == (200, run_id, "true")
    eventually(lambda: pair.driver.values(thread).get("answers") == ["yes"], "the run goes on to its end")
    eventually(lambda: pair.driver.status(thread) != "busy", "the run ends")
    ended = pair.resume(0, Mode.STREAM, thread, key, input="yes", on_disconnect="continue")
    assert (ended.status, ended.code, ended.metadata["run_id"]) == (409, "resume_in_progress", run_id)
    assert pair.driver.values(thread)["answers"] == ["yes"]


def a_key() -> dict[str, str]:
    return {"idempotency-key": f'"{uuid.uuid4()}"'}
