"""Two at once, one in the moment of the interrupt, and clients that leave."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.sse import Decoder
from tests.e2e.placements import GRAPHS
from tests.support.leaving import leaving
from tests.support.waiting import eventually
from tests.support.world import World


def test_of_concurrent_resumes_exactly_one_is_forwarded(world: World, mode: Mode) -> None:
    thread = world.thread("two", secs=8)
    with ThreadPoolExecutor(10) as pool:
        body = {"thread_id": thread, "input": "click"}
        answers = list(pool.map(lambda _: world.client.patch(mode.route, json=body), range(10)))
    won = [answer for answer in answers if answer.status_code == 200]
    lost = [answer for answer in answers if answer.status_code == 409]
    assert (len(won), len(lost)) == (1, 9)
    assert {answer.json()["code"] for answer in lost} == {"resume_in_progress"}
    eventually(lambda: world.driver.status(thread) == "interrupted", "the second gate is asked")
    assert len(world.run_requests(thread)) == 2
    assert world.values(thread)["answer"] == "click"


@pytest.mark.on("langgraph", "langgraph-old")  # the other servers have one spelling for a thread
def test_modes_and_spellings_exclude_each_other(world: World) -> None:
    thread = world.thread("two", secs=8)
    spellings = [thread, thread.upper(), thread.replace("-", "")] * 2
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(
                lambda pair: world.client.patch(pair[1].route, json={"thread_id": pair[0], "input": "click"}),
                zip(spellings, [*Mode, *Mode], strict=True),
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]


@pytest.mark.parametrize("number", range(10))
def test_a_resume_in_the_moment_of_the_interrupt_event_is_not_refused(world: World, mode: Mode, number: int) -> None:
    """Servers announce an interrupt before they record it: ten rounds in each of three modes."""
    thread = world.driver.thread()
    if world.driver.name in GRAPHS:
        path, body = f"/threads/{thread}/runs/stream", {"assistant_id": "ask", "input": {"topic": "x"}}
    else:
        path, body = "/runs/stream", {"thread_id": thread, "agent_id": "ask", "input": {"topic": "x"}}
    answer = None
    decoder = Decoder()
    with world.client.stream("POST", path, json={**body, "stream_mode": ["values", "updates"]}) as response:
        for chunk in response.iter_raw():
            if any("__interrupt__" in (event.data or "") for event in decoder.feed(chunk)):
                answer = world.resume(mode, thread, input="at once")
                break
    assert answer is not None, "no interrupt was announced"
    assert answer.status == 200, answer.response.text
    assert world.values(thread)["answer"] == "at once"


@pytest.mark.parametrize("named", [True, False])
def test_the_next_question_may_be_answered_in_the_moment_of_its_event(world: World, mode: Mode, named: bool) -> None:
    """The run before may still be seen as running then: an answer that names the question passes all the same.

    One that does not name it may have been meant for the question before. It is refused, and may be tried again.
    """
    thread = world.thread("two")
    asked: list[dict[str, Any]] = []
    decoder = Decoder()
    body = {"thread_id": thread, "input": "first", "stream_mode": ["values", "updates"]}
    answer = None
    with world.client.stream("PATCH", Mode.STREAM.route, json=body) as response:
        for chunk in response.iter_raw():
            asked += [i for event in decoder.feed(chunk) for i in _announced(event.json)]
            if asked:
                pin = {"interrupt_id": asked[0]["id"]} if named else {}
                answer = world.resume(mode, thread, input="second", **pin)
                break
    assert answer is not None, "no interrupt was announced"
    if answer.status == 409 and not named:
        assert (answer.code, answer.response.headers["retry-after"]) == ("resume_in_progress", "1")
        answer = world.resume(mode, thread, input="second")
    assert answer.status == 200, answer.response.text
    assert world.values(thread)["answer"] == ["first", "second"]


def _announced(data: Any) -> list[dict[str, Any]]:
    """The interrupts in an event of the stream."""
    return list(data.get("__interrupt__") or []) if isinstance(data, dict) else []


@pytest.mark.modes(Mode.WAIT, Mode.STREAM)
def test_a_client_that_leaves_cancels_the_run(world: World, mode: Mode) -> None:
    thread = world.thread("slowask", secs=15)
    _leave(world, mode, thread, "cancel")
    eventually(lambda: world.driver.runs(thread)[0]["status"] not in ("pending", "running"), "the run stops")
    assert "bye" not in str(world.values(thread).get("answers"))


@pytest.mark.modes(Mode.WAIT, Mode.STREAM)
def test_a_client_that_leaves_lets_the_run_continue_if_it_said_so(world: World, mode: Mode) -> None:
    thread = world.thread("slowask", secs=10)
    _leave(world, mode, thread, "continue")
    eventually(lambda: "bye" in str(world.values(thread).get("answers")), "the run goes on to its end")


def _leave(world: World, mode: Mode, thread: str, on_disconnect: str) -> None:
    """Resume, and close the connection when there is a run: that it is busy may be over before a slow server tells."""
    with leaving(world.place.url, mode, {"thread_id": thread, "input": "bye", "on_disconnect": on_disconnect}):
        eventually(lambda: len(world.driver.runs(thread)) > 1, "the run is there")


def test_a_background_resume_goes_on_when_its_client_leaves(world: World) -> None:
    thread = world.thread("slowask", secs=1)
    body = {"thread_id": thread, "input": "bye", "on_disconnect": "cancel"}
    client = world.new_client()
    client.patch(Mode.BACKGROUND.route, json=body)
    client.close()
    eventually(lambda: "bye" in str(world.values(thread).get("answers")), "the run goes on to its end")
