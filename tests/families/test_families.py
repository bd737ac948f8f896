"""What every backend does, on the real server: which resumes reach the agent, once, and which are refused before."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.sse import Decoder
from tests.support.calling import CLIENT
from tests.support.leaving import leaving
from tests.support.outcome import Outcome
from tests.support.serving import serving
from tests.support.waiting import eventually
from tests.support.world import Same, Thread, World


def pending(world: World, thread: Thread) -> list[dict[str, Any]]:
    """The questions that wait, as the shim tells them to who answers none of them."""
    outcome = world.resume(Mode.WAIT, thread, input="?", interrupt_id="none-of-them")
    assert outcome.code == "interrupt_not_pending", outcome.text
    asked: list[dict[str, Any]] = outcome.metadata["interrupts"]
    return asked


@pytest.mark.shows("ask")
def test_an_interrupted_thread_is_resumed_once(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    outcome = world.resume(mode, thread, input=world.driver.yes)
    assert outcome.status == 200, outcome.text
    assert outcome.run_id
    assert world.heard(thread) == [Same(world.driver.yes)]
    world.ends(thread)
    if mode is Mode.WAIT:
        assert outcome.run["status"] == "success"
    if mode is Mode.STREAM:
        assert outcome.names[0] == "metadata"
        assert "error" not in outcome.names


@pytest.mark.shows("ask")
def test_a_finished_thread_is_409(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    assert world.resume(Mode.WAIT, thread, input=world.driver.yes).status == 200
    with world.untouched():
        outcome = world.resume(mode, thread, input=world.driver.no)
    assert (outcome.status, outcome.code) == (409, "thread_not_interrupted"), outcome.text
    assert len(world.heard(thread)) == 1


def test_an_unknown_thread_is_refused(world: World, mode: Mode) -> None:
    with world.untouched():
        outcome = world.resume(mode, world.driver.unknown(), input=world.driver.yes)
    expected = (404, "thread_not_found") if world.driver.has_lookup else (409, "thread_not_interrupted")
    assert (outcome.status, outcome.code) == expected, outcome.text


@pytest.mark.shows("slow")
def test_a_busy_thread_is_409(world: World, mode: Mode) -> None:
    thread = world.thread("slow", secs=15, wait=False)  # a thread that is read from its log takes a while to look at
    with world.untouched():
        outcome = world.resume(mode, thread, input=world.driver.yes)
    assert (outcome.status, outcome.code) == (409, "thread_busy"), outcome.text
    assert outcome.response.headers["retry-after"] == "1"


@pytest.mark.shows("slowask")
def test_of_concurrent_resumes_exactly_one_is_heard(world: World, mode: Mode) -> None:
    thread = world.thread("slowask", secs=1.0)
    before = world.resumes
    with ThreadPoolExecutor(6) as pool:
        body = {"thread_id": thread, "input": world.driver.yes}
        answers = list(pool.map(lambda _: world.client.patch(mode.route, json=body), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409], [a.text for a in answers]
    assert world.resumes == before + 1
    world.ends(thread)
    assert len(world.heard(thread)) == 1


@pytest.mark.shows("slowask")
def test_a_second_resume_right_behind_the_first_is_refused(world: World, mode: Mode) -> None:
    thread, before = world.thread("slowask", secs=1.0), world.resumes
    assert world.resume(Mode.BACKGROUND, thread, input=world.driver.yes).status == 200
    # A derived background resume is answered after a second, which a busy server may need to read the request.
    eventually(lambda: world.resumes > before, "the server has the first resume")
    with world.untouched():
        outcome = world.resume(mode, thread, input=world.driver.no)
    assert outcome.status == 409, outcome.text
    assert outcome.code in ("thread_busy", "resume_in_progress", "thread_not_interrupted")
    world.ends(thread)
    assert world.heard(thread) == [Same(world.driver.yes)]


@pytest.mark.shows("slowask")
@pytest.mark.having("commits", "fresh")
def test_another_shim_sees_the_resume_as_soon_as_the_server_has_answered(world: World, mode: Mode) -> None:
    """Its guard knows nothing of the first resume: what refuses the second one is the thread's state alone."""
    driver = world.driver
    shim = ResumeShim(
        ReverseProxy(world.place.server), driver.backend, options=driver.options, resume_at=driver.resume_at
    )
    with serving(shim) as url, httpx.Client(base_url=url, timeout=60, verify=False) as other:
        for _ in range(5):
            thread = world.thread("slowask", secs=0.3)
            assert world.resume(Mode.BACKGROUND, thread, input=driver.yes).status == 200
            second = Outcome(other.patch(mode.route, json={"thread_id": thread, "input": driver.no}), mode)
            assert second.code in ("thread_busy", "thread_not_interrupted", "resume_in_progress"), second.text
            world.ends(thread)
            assert world.heard(thread) == [Same(driver.yes)]


@pytest.mark.shows("two")
def test_two_questions_in_a_row_get_their_own_answers(world: World, mode: Mode) -> None:
    thread = world.thread("two")
    first = world.resume(mode, thread, input=world.driver.yes)
    assert first.status == 200, first.text
    eventually(lambda: len(world.noted(thread, "asked")) == 2, "the second question is asked")
    second = eventually(lambda: _taken(world.resume(mode, thread, input=world.driver.no)), "the second is answered")
    assert second.status == 200
    assert world.heard(thread, 2) == [Same(world.driver.yes), Same(world.driver.no)]


def _taken(outcome: Outcome) -> Outcome | None:
    """The outcome, unless it may come again: a background run was still on its way to its question."""
    if outcome.status == 409 and outcome.code in ("thread_busy", "resume_in_progress"):
        return None
    assert outcome.status == 200, outcome.text
    return outcome


@pytest.mark.shows("two")
def test_a_wait_that_ends_at_the_next_question_says_so(world: World) -> None:
    thread = world.thread("two")
    outcome = world.resume(Mode.WAIT, thread, input=world.driver.yes)
    assert outcome.run["status"] == "interrupted", outcome.text
    assert len(outcome.run["metadata"]["interrupts"]) == 1


@pytest.mark.shows("two")
def test_a_stream_ends_at_the_next_question_and_tells_it(world: World) -> None:
    thread = world.thread("two")
    outcome = world.resume(Mode.STREAM, thread, input=world.driver.yes, stream_mode=["values", "updates"])
    assert outcome.status == 200, outcome.text
    assert any("__interrupt__" in (data or {}) for _, data in outcome.events if isinstance(data, dict)), outcome.text


@pytest.mark.shows("par")
def test_a_bare_answer_to_two_questions_is_409(world: World, mode: Mode) -> None:
    thread = world.thread("par")
    with world.untouched():
        outcome = world.resume(mode, thread, input=world.driver.yes)
    assert (outcome.status, outcome.code) == (409, "multiple_interrupts"), outcome.text
    assert len(outcome.metadata["interrupts"]) == 2


@pytest.mark.shows("par")
def test_a_map_answers_both_questions(world: World, mode: Mode) -> None:
    thread = world.thread("par")
    first, second = (str(item["id"]) for item in pending(world, thread))
    answers = {first: world.driver.yes, second: world.driver.yes}
    outcome = world.resume(mode, thread, input=answers)
    if world.driver.one_at_a_time:
        assert (outcome.status, outcome.code) == (409, "multiple_interrupts"), outcome.text
        for id_ in (first, second):
            assert world.resume(Mode.WAIT, thread, input=world.driver.yes, interrupt_id=id_).status == 200
    else:
        assert outcome.status == 200, outcome.text
    assert world.heard(thread, 2) == [Same(world.driver.yes)] * 2


@pytest.mark.shows("par")
def test_a_map_with_an_unknown_id_is_409(world: World, mode: Mode) -> None:
    thread = world.thread("par")
    first, _ = (str(item["id"]) for item in pending(world, thread))
    with world.untouched():
        outcome = world.resume(mode, thread, input={first: world.driver.yes, "x": world.driver.yes})
    assert (outcome.status, outcome.code) == (409, "interrupt_not_pending"), outcome.text


@pytest.mark.shows("ask")
def test_a_pin_to_another_question_is_409(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    with world.untouched():
        outcome = world.resume(mode, thread, input=world.driver.yes, interrupt_id="another")
    assert (outcome.status, outcome.code) == (409, "interrupt_not_pending"), outcome.text


@pytest.mark.shows("ask")
@pytest.mark.having("ids")
def test_a_pin_to_the_question_is_taken(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    (asked,) = pending(world, thread)
    assert world.resume(mode, thread, input=world.driver.yes, headers={"AP-Interrupt-Id": asked["id"]}).status == 200
    assert world.heard(thread) == [Same(world.driver.yes)]


@pytest.mark.shows("boom")
def test_an_agent_that_fails_is_a_run_with_an_error(world: World, mode: Mode) -> None:
    thread = world.thread("boom")
    outcome = world.resume(mode, thread, input=world.driver.yes)
    assert outcome.status == 200, outcome.text
    if mode is Mode.WAIT:
        assert outcome.run["status"] == "error", outcome.text
        assert outcome.run["metadata"]["error"]
    if mode is Mode.STREAM:
        assert "error" in outcome.names, outcome.text
    assert world.heard(thread) == [Same(world.driver.yes)]


@pytest.mark.shows("ask")
@pytest.mark.having("wrong")
def test_a_wrong_answer_is_refused_and_the_question_stays(world: World, mode: Mode) -> None:
    for wrong in world.driver.wrong:
        thread = world.thread("ask")
        outcome = world.resume(mode, thread, input=wrong)
        assert outcome.status == 422, (wrong, outcome.text)
        assert not world.noted(thread, "got")
        again = world.resume(Mode.WAIT, thread, input=world.driver.yes)
        assert again.status == 200, again.text
        assert world.heard(thread) == [Same(world.driver.yes)]


@pytest.mark.shows("ask")
@pytest.mark.having("agents")
def test_an_unknown_agent_is_404(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    with world.untouched():
        outcome = world.resume(mode, thread, input=world.driver.yes, agent_id="nobody")
    assert (outcome.status, outcome.code) == (404, "agent_not_found"), outcome.text


@pytest.mark.shows("ask")
@pytest.mark.having("agents")
def test_the_threads_own_agent_may_be_named(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    outcome = world.resume(mode, thread, input=world.driver.yes, agent_id=world.driver.agent_id("ask"))
    assert outcome.status == 200, outcome.text
    assert world.heard(thread) == [Same(world.driver.yes)]


@pytest.mark.shows("ask")
def test_a_webhook_is_refused_where_it_would_not_be_called(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    with world.untouched():
        outcome = world.resume(mode, thread, input=world.driver.yes, webhook="http://127.0.0.1:9/hook")
    assert (outcome.status, outcome.code) == (422, "unsupported_field"), outcome.text


@pytest.mark.shows("ask")
def test_a_retry_with_the_same_key_gets_the_same_answer(world: World) -> None:
    thread, key = world.thread("ask"), {"Idempotency-Key": f'"{time.monotonic_ns()}"'}
    first = world.resume(Mode.WAIT, thread, key, input=world.driver.yes)
    again = world.resume(Mode.WAIT, thread, key, input=world.driver.yes)
    assert first.status == 200, first.text
    assert (again.status, again.response.json()) == (200, first.response.json())
    assert again.response.headers["idempotency-replayed"] == "true"
    assert len(world.heard(thread)) == 1


@pytest.mark.shows("slowask")
def test_a_background_resume_answers_before_the_run_ends_and_outlives_its_client(world: World) -> None:
    thread = world.thread("slowask", secs=5.0)
    client = world.new_client()
    body = {"thread_id": thread, "input": world.driver.yes}
    answer = client.patch(Mode.BACKGROUND.route, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "pending"
    assert not world.noted(thread, "ended")
    client.close()
    world.ends(thread)


@pytest.mark.shows("slowask")
@pytest.mark.modes(Mode.WAIT, Mode.STREAM)
def test_a_client_that_leaves_lets_the_run_continue_if_it_said_so(world: World, mode: Mode) -> None:
    thread = world.thread("slowask", secs=4.0)
    _leave(world, mode, thread, "continue")
    world.ends(thread)


@pytest.mark.shows("slowask")
@pytest.mark.modes(Mode.WAIT, Mode.STREAM)
@pytest.mark.having("cancels")
def test_a_client_that_leaves_cancels_the_run(world: World, mode: Mode) -> None:
    thread = world.thread("slowask", secs=6.0)
    _leave(world, mode, thread, "cancel")
    time.sleep(6.5)
    assert not world.noted(thread, "ended")


def _leave(world: World, mode: Mode, thread: Thread, on_disconnect: str) -> None:
    """Resume, and close the connection when the agent has heard the answer."""
    body = {"thread_id": thread, "input": world.driver.yes, "on_disconnect": on_disconnect}
    with leaving(world.place.url, mode, body):
        world.heard(thread)


@pytest.mark.shows("ask")
@pytest.mark.parametrize("asked", ["values", "messages", "updates", "custom"])
def test_a_stream_has_the_modes_asked_for_and_no_others(world: World, asked: str) -> None:
    thread = world.thread("ask")
    outcome = world.resume(Mode.STREAM, thread, input=world.driver.yes, stream_mode=asked)
    assert outcome.status == 200, outcome.text
    assert set(outcome.names) <= {"metadata", asked}, outcome.text
    assert world.heard(thread) == [Same(world.driver.yes)]


@pytest.mark.shows("ask")
def test_values_tell_what_the_run_gave(world: World) -> None:
    thread = world.thread("ask")
    waited = world.resume(Mode.WAIT, thread, input=world.driver.yes).response.json()
    assert waited["values"] or waited.get("messages"), waited
    thread = world.thread("ask")
    streamed = world.resume(Mode.STREAM, thread, input=world.driver.yes, stream_mode="values")
    assert "values" in streamed.names, streamed.text


@pytest.mark.shows("slowask")
def test_a_stream_begins_before_the_run_ends(world: World) -> None:
    thread = world.thread("slowask", secs=5.0)
    body = {"thread_id": thread, "input": world.driver.yes, "stream_mode": ["values", "updates", "custom"]}
    decoder = Decoder()
    with world.client.stream("PATCH", Mode.STREAM.route, json=body) as response:
        chunks = response.iter_raw()
        assert any(decoder.feed(chunk) for chunk in chunks)
        assert not world.noted(thread, "ended")
        assert all(chunk is not None for chunk in chunks), "read to its end"


@pytest.mark.having("recognised")
def test_the_backend_is_recognised(world: World) -> None:
    shim = ResumeShim(ReverseProxy(world.place.server), options=world.driver.options)
    with serving(shim) as url:
        CLIENT.patch(f"{url}/runs/resume", json={"thread_id": world.driver.unknown()})
    assert shim.backend == world.driver.backend
