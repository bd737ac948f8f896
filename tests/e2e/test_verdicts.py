"""Which resumes reach the backend, and which are refused before it is touched."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.protocol import Mode
from tests.e2e.placements import GRAPHS
from tests.support.outcome import Outcome
from tests.support.waiting import eventually
from tests.support.world import World


def refused(world: World, thread: str, outcome: Outcome, status: int, code: str, runs_before: int = 1) -> None:
    """The verdict, and the proof that the backend saw no request that creates a run."""
    assert (outcome.status, outcome.code) == (status, code), outcome.response.text
    assert len(world.run_requests(thread)) == runs_before


def test_an_interrupted_thread_is_resumed(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    outcome = world.resume(mode, thread, input="yes")
    assert outcome.status == 200, outcome.response.text
    assert world.values(thread) == {"topic": "lunch", "answer": "yes", "runs": 1}
    assert world.driver.status(thread) == "idle"


def test_a_finished_thread_is_409(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    world.resume(Mode.WAIT, thread, input="yes")
    outcome = world.resume(mode, thread, input="again")
    refused(world, thread, outcome, 409, "thread_not_interrupted", runs_before=2)
    assert world.values(thread)["answer"] == "yes"


def test_a_thread_that_never_ran_is_409(world: World, mode: Mode) -> None:
    thread = world.driver.thread()
    refused(world, thread, world.resume(mode, thread, input=1), 409, "thread_not_interrupted", runs_before=0)


def test_an_unknown_thread_is_404(world: World, mode: Mode) -> None:
    thread = world.driver.unknown()
    refused(world, thread, world.resume(mode, thread, input=1), 404, "thread_not_found", runs_before=0)


@pytest.mark.parametrize("thread", ["not-a-uuid", "..", "a/b", "a%2Fb", "a\\b", "a\nb", ""])
def test_a_malformed_thread_id_is_refused(world: World, mode: Mode, thread: str) -> None:
    outcome = world.resume(mode, thread, input=1)
    # Aegra's and the legacy server's ids are any strings: what could be one is looked for.
    opaque = world.driver.name in ("aegra", "agent-protocol") and thread in ("not-a-uuid", "a%2Fb")
    expected = (404, "thread_not_found") if opaque else (422, "invalid_request")
    assert (outcome.status, outcome.code) == expected
    assert not thread or not world.run_requests(thread)


def test_a_busy_thread_is_409_after_the_settle_time(world: World, mode: Mode) -> None:
    thread = world.driver.start("slow", {"secs": 120}, wait=False)  # on a busy machine, a resume takes a while
    eventually(lambda: world.driver.status(thread) == "busy", "the run starts")
    outcome = world.resume(mode, thread, input=1)
    refused(world, thread, outcome, 409, "thread_busy")
    assert outcome.response.headers["retry-after"] == "1"
    world.driver.cancel(thread, world.driver.runs(thread)[0]["run_id"])


def test_two_gates_in_a_row_get_their_own_answers(world: World, mode: Mode) -> None:
    thread = world.thread("two")
    assert world.resume(mode, thread, input="first").status == 200
    assert world.driver.status(thread) == "interrupted"
    assert world.resume(mode, thread, input="second").status == 200
    assert world.values(thread)["answer"] == ["first", "second"]


def test_a_bare_value_for_two_parallel_interrupts_is_409(world: World, mode: Mode) -> None:
    thread = world.thread("par")
    outcome = world.resume(mode, thread, input="both?")
    refused(world, thread, outcome, 409, "multiple_interrupts")
    assert [i["value"] for i in outcome.metadata["interrupts"]]
    assert len(pending(world, thread)) == 2


def pending(world: World, thread: str) -> list[str]:
    """The ids of the questions that wait, as the shim tells them; in the order of their questions."""
    outcome = world.resume(Mode.WAIT, thread, input="which?")
    assert outcome.code == "multiple_interrupts"
    asked = outcome.metadata["interrupts"]
    return [str(item["id"]) for item in sorted(asked, key=lambda item: str(item["value"]))]


def test_a_whole_map_answers_both_parallel_interrupts(world: World, mode: Mode) -> None:
    thread = world.thread("par")
    a, b = pending(world, thread)
    assert world.resume(mode, thread, input={a: "A", b: None}).status == 200
    values = world.values(thread)
    assert (values["a"], values["b"]) == ("A", None)


def test_half_a_map_answers_one_and_leaves_the_other_pending(world: World, mode: Mode) -> None:
    thread = world.thread("par")
    _, b = pending(world, thread)
    assert world.resume(mode, thread, input={b: "B"}).status == 200
    assert world.driver.status(thread) == "interrupted"
    assert world.resume(mode, thread, input="A").status == 200
    values = world.values(thread)
    assert (values["a"], values["b"]) == ("A", "B")


@pytest.mark.parametrize("unknown", ["0" * 32, "x"])
def test_a_map_with_an_unknown_id_is_409(world: World, mode: Mode, unknown: str) -> None:
    thread = world.thread("par")
    a, _ = pending(world, thread)
    refused(world, thread, world.resume(mode, thread, input={a: 1, unknown: 2}), 409, "interrupt_not_pending")


def test_a_pin_picks_one_of_two_interrupts(world: World, mode: Mode) -> None:
    thread = world.thread("par")
    a, _ = pending(world, thread)
    assert world.resume(mode, thread, input="A", headers={"AP-Interrupt-Id": a}).status == 200
    assert world.driver.status(thread) == "interrupted"
    outcome = world.resume(mode, thread, input="late", interrupt_id=a)
    refused(world, thread, outcome, 409, "interrupt_not_pending", runs_before=2)


def test_a_static_breakpoint_goes_on_without_a_value(world: World, mode: Mode) -> None:
    thread = world.thread("brk")
    refused(world, thread, world.resume(mode, thread, input="v"), 422, "unsupported_input")
    assert world.resume(mode, thread).status == 200
    assert len(world.values(thread)["answers"]) == 2


@pytest.mark.on(*GRAPHS)  # only graphs have subgraphs
def test_an_interrupt_inside_a_subgraph_is_resumed(world: World, mode: Mode) -> None:
    thread = world.thread("sub")
    assert world.resume(mode, thread, input="yes").status == 200
    assert world.values(thread)["answer"] == "yes"


def test_go_on_answers_a_question_with_null(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    assert world.resume(mode, thread).status == 200
    assert world.values(thread)["answer"] is None


def test_an_agent_that_fails_is_a_run_with_an_error(world: World, mode: Mode) -> None:
    thread = world.thread("errask")
    outcome = world.resume(mode, thread, input="boom")
    assert outcome.status == 200
    if mode is Mode.WAIT:
        assert outcome.run["status"] == "error"
        assert "boom" in str(outcome.run["metadata"]["error"])
    if mode is Mode.STREAM:
        assert "error" in [name for name, _ in outcome.events]
    assert world.driver.status(thread) == "error"


@pytest.mark.on(*GRAPHS)  # the legacy server ends a thread whose agent failed
def test_another_answer_after_a_failure_is_409_and_going_on_retries(world: World, mode: Mode) -> None:
    thread = world.thread("flakyask", tag=world.driver.unknown())
    world.resume(Mode.WAIT, thread, input="first")
    outcome = world.resume(mode, thread, input="second")
    refused(world, thread, outcome, 409, "interrupt_already_answered", runs_before=2)
    assert world.resume(mode, thread).status == 200
    assert "first" in str(world.values(thread)), world.values(thread)


@pytest.mark.on(*GRAPHS)  # the legacy server drops the question with the run
def test_a_cancelled_run_leaves_its_question_to_be_answered(world: World, mode: Mode) -> None:
    thread = world.thread("slowask", secs=6)  # a busy machine takes a while to get to the cancellation
    run = world.client.patch(Mode.BACKGROUND.route, json={"thread_id": thread, "input": "first"}).json()
    eventually(lambda: world.driver.status(thread) == "busy", "the run starts")
    world.driver.cancel(thread, run["run_id"])
    eventually(lambda: world.driver.status(thread) != "busy", "the run is cancelled")
    outcome = world.resume(mode, thread, input="second")
    assert outcome.status == 200, outcome.response.text
    assert world.values(thread)["answers"] == ["second"]
