"""Aegra: the thread tells little, the state and the runs tell all."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.backends.langgraph.aegra import Aegra
from ap_resume_shim.backends.langgraph.state import EDITED, UNANSWERABLE
from ap_resume_shim.core.dialect import Answers, Continue, Dialect, Found, Started
from ap_resume_shim.core.errors import (
    InterruptAlreadyAnswered,
    InterruptNotPending,
    InvalidRequest,
    ResumeError,
    UnsupportedInput,
    UpstreamError,
)
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.steps import Ask
from tests.backends.driving import THREAD, Changing, answer, follow, look, refused, resume

AE = Aegra()
ID = "ae79149e652c33cd78e17b8f97b58eef"
ASKED = {"id": ID, "value": "approve?"}
ASKS = Interrupt(ID, "approve?")
CHECKPOINT = {"checkpoint_id": "c1", "checkpoint_ns": ""}
STATE, RUNS = "GET …/state?subgraphs=true", "GET …/runs?limit=10"
BOTH = f"{STATE} + {RUNS}"


def state(*tasks: dict[str, Any], next_: tuple[str, ...] = ("ask",), source: str = "loop") -> dict[str, Any]:
    return {
        "values": {"topic": "x"},
        "next": list(next_),
        "tasks": [{"interrupts": [], **task} for task in tasks],
        "metadata": {"source": source},
        "checkpoint": CHECKPOINT,
    }


def run(status: str, **more: Any) -> dict[str, Any]:
    default = {"run_id": "r1", "assistant_id": "agent", "created_at": "2026-11-24T10:00:01Z", "updated_at": "u"}
    return {**default, "status": status, "output": {}, "error_message": None, **more}


ANNOUNCED = run("interrupted", output={"__interrupt__": [ASKED]})
PENDING = state({"interrupts": [ASKED]})


def found(told: dict[str, Any], *runs: dict[str, Any], **server: Any) -> Found[Any]:
    return look(AE, {STATE: told, RUNS: list(runs), **server})[1]


# The thread


def test_ids_are_case_sensitive() -> None:
    assert AE.thread_key("Any String") == "Any String"


def test_an_interrupted_thread_is_found_by_its_state_and_its_last_run() -> None:
    asked, thread = look(AE, {STATE: PENDING, RUNS: [ANNOUNCED]})
    assert asked == [BOTH]
    assert (thread.status, thread.interrupts, thread.breakpoint) == ("interrupted", (ASKS,), False)
    assert (thread.agent_id, thread.run_id, thread.updated_at) == ("agent", "r1", "u")
    assert thread.values == {"topic": "x"}


def test_a_thread_is_busy_while_any_of_its_runs_is_active() -> None:
    """It has no mutual exclusion: an older run may still be going on."""
    older = run("running", created_at="2026-11-24T10:00:00Z")
    assert found(PENDING, ANNOUNCED, older).status == "busy"
    assert found(PENDING, run("pending")).status == "busy"


@pytest.mark.parametrize(
    ("run_status", "status"),
    [("success", "idle"), ("interrupted", "interrupted"), ("error", "error"), ("timeout", "error"), ("odd", "idle")],
)
def test_the_newest_run_tells_the_status(run_status: str, status: str) -> None:
    older = run("error", created_at="2026-11-24T10:00:00Z")
    assert found(state(next_=()), older, run(run_status)).status == status


def test_a_thread_that_never_ran_is_idle() -> None:
    thread = found(state(next_=()))
    assert (thread.status, thread.agent_id, thread.run_id, thread.interrupts) == ("idle", None, None, ())


def test_a_static_breakpoint_is_a_run_that_succeeded_before_the_end() -> None:
    assert found(state({}), run("success")).breakpoint
    assert not found(state({}, next_=()), run("success")).breakpoint
    assert not found(state({}), run("error")).breakpoint
    assert not found(state({}), run("interrupted")).breakpoint, "cancelled in mid-step"


@pytest.mark.parametrize("last", [ANNOUNCED, run("error"), run("success")])
def test_an_edited_state_goes_on_whatever_the_last_run_said(last: Any) -> None:
    thread = found(state({}, source="update"), last)
    assert (thread.interrupts, thread.breakpoint, thread.stopped) == ((), True, EDITED)


def test_questions_without_usable_ids_are_no_dead_end() -> None:
    question = {"id": "placeholder-id", "value": "continue?"}
    last = run("interrupted", output={"__interrupt__": [question]})
    asked, thread = look(AE, {STATE: state({"interrupts": [question]}, {"interrupts": [question]}), RUNS: [last]})
    assert asked == [BOTH]
    assert (thread.interrupts, thread.breakpoint, thread.stopped) == ((), True, UNANSWERABLE)


def test_a_step_that_failed_beside_an_answered_question_is_retried() -> None:
    failed = {"name": "work", "error": "boom"}
    by_id = state({"interrupts": [ASKED], "result": {"a": 1}}, failed)
    thread = found(state({"result": {"a": 1}}, failed), run("error"), **{"GET …/state/c1": by_id})
    assert thread.answered == (ASKS,)


def test_a_question_that_was_announced_during_the_look_counts_as_later() -> None:
    """The state was read before the run had ended, the runs afterwards."""
    before = state({"interrupts": [{"id": "b" * 32, "value": "before?"}]})
    server = Changing({STATE: [before, PENDING], RUNS: [[ANNOUNCED]]})
    asked, thread = look(AE, server)
    assert asked == [BOTH, BOTH]
    assert (thread.interrupts, thread.moving) == ((ASKS,), True)


def test_what_a_state_never_lists_does_not_move() -> None:
    """Such as the question of a task that somebody else's `command.goto` started beside another one."""
    goto = run("interrupted", output={"__interrupt__": [{"id": "b" * 32, "value": "beside?"}]})
    thread = found(PENDING, goto)
    assert (thread.interrupts, thread.moving) == ((ASKS,), False)


def test_an_answered_question_of_a_step_that_failed_is_not_pending() -> None:
    thread = found(state({"interrupts": [ASKED], "error": "boom"}), run("error"))
    assert (thread.interrupts, thread.answered, thread.error) == ((), (ASKS,), "boom")


def test_the_runs_own_words_about_its_error_come_first() -> None:
    told = state({"interrupts": [ASKED], "error": "boom"})
    assert found(told, run("error", error_message="told")).error == "told"


def test_an_unknown_thread_is_404_by_its_state() -> None:
    """Its list of runs is an empty 200."""
    missing = answer({"error": "not_found", "message": "Thread not found", "details": None}, 404)
    assert refused(AE, {STATE: missing, RUNS: []}).code == "thread_not_found"


# The agent


UUID = "6bbbf146-21ad-5f8f-9669-f883eab95006"
DEFAULT = "a457ba2f-c0dc-56e6-817d-ddf904d1e526"
"""The id of the default assistant of the graph `ask`."""


def served(own: str, **graphs: str) -> dict[str, Any]:
    assistants = {f"GET /assistants/{id_}": {"assistant_id": id_, "graph_id": graph} for id_, graph in graphs.items()}
    return {STATE: PENDING, RUNS: [{**ANNOUNCED, "assistant_id": own}], **assistants}


def test_the_agent_of_the_last_run_may_be_named_by_its_id() -> None:
    asked, thread = look(AE, served(UUID, **{UUID: "ask"}), agent_id=UUID)
    assert asked == [f"{BOTH} + GET /assistants/{UUID}"]
    assert thread.agent_id == UUID


def test_the_name_of_the_threads_graph_is_the_threads_own_assistant() -> None:
    asked, thread = look(AE, served(UUID, **{UUID: "ask", DEFAULT: "ask"}), agent_id="ask")
    assert asked == [f"{BOTH} + GET /assistants/{DEFAULT}", f"GET /assistants/{UUID}"]
    assert thread.agent_id == UUID


def test_an_agent_of_another_graph_is_refused() -> None:
    server = served(UUID, **{UUID: "two", DEFAULT: "ask"})
    assert refused(AE, server, agent_id="ask").code == "invalid_request"


def test_an_unknown_agent_is_404() -> None:
    missing = answer({"error": "not_found", "message": "Assistant not found", "details": None}, 404)
    server = {**served(UUID), f"GET /assistants/{DEFAULT}": missing}
    assert refused(AE, server, agent_id="ask").code == "agent_not_found"


# Arming a thread again


GIVEN = Answers({ID: "yes"})


def prepare(thread: Found[Any], verdict: Answers | Continue, server: dict[str, Any]) -> tuple[list[str], Any]:
    asked, (_, prepared) = follow(AE.prepare(resume(), thread, verdict), server)
    return asked, prepared


def test_a_run_that_stopped_at_its_question_needs_no_arming() -> None:
    assert prepare(found(PENDING, ANNOUNCED), GIVEN, {}) == ([], GIVEN)


def test_going_on_needs_no_arming() -> None:
    assert prepare(found(PENDING, run("error")), Continue(), {}) == ([], Continue())


def test_a_thread_that_says_itself_that_it_is_interrupted_needs_no_arming() -> None:
    thread = found(PENDING, run("interrupted"))
    assert prepare(thread, GIVEN, {"GET …": {"status": "interrupted"}}) == (["GET …"], GIVEN)


def announcing(question: Any) -> dict[str, Any]:
    return run("interrupted", output={"__interrupt__": [question]})


AGAIN = {"id": "c" * 32, "value": "approve?"}
ARMED = {
    "GET …": {"status": "idle"},
    "POST …/runs/wait": {"__interrupt__": [AGAIN]},
    STATE: state({"interrupts": [AGAIN]}),
    RUNS: [announcing(AGAIN)],
}


@pytest.mark.parametrize("last", [run("interrupted"), run("error"), run("interrupted", output=None)])
def test_a_thread_that_a_cancelled_or_failed_run_left_behind_asks_again_under_a_new_id(last: Any) -> None:
    """Every resume is 400 for ever otherwise (recording `cancelled`)."""
    asked, prepared = prepare(found(PENDING, last), GIVEN, ARMED)
    assert asked == ["GET …", "POST …/runs/wait", BOTH]
    assert prepared == Answers({"c" * 32: "yes"})


def test_an_armed_thread_is_given_a_moment_until_its_run_is_at_rest() -> None:
    rows = [[run("running")], [run("running")], [announcing(AGAIN)]]
    server = Changing({name: [told] for name, told in ARMED.items()} | {RUNS: rows})
    asked, prepared = prepare(found(PENDING, run("interrupted")), GIVEN, server)
    assert asked == ["GET …", "POST …/runs/wait", BOTH, "pause", BOTH, "pause", BOTH]
    assert prepared == Answers({"c" * 32: "yes"})


def test_a_thread_is_armed_from_its_whole_checkpoint() -> None:
    """From an empty one Aegra goes on with the answer of the cancelled run."""
    flow = AE.prepare(resume(), found(PENDING, run("interrupted")), GIVEN)
    next(flow)
    step = flow.send((answer({"status": "idle"}),))
    assert isinstance(step, Ask)
    assert step.requests[0].json == {"assistant_id": "agent", "checkpoint": CHECKPOINT}
    assert step.once


def test_an_answer_is_not_sent_to_another_question_that_the_armed_thread_asks() -> None:
    other = {"id": "c" * 32, "value": "something else?"}
    server = {**ARMED, STATE: state({"interrupts": [other]}), RUNS: [announcing(other)]}
    with pytest.raises(InterruptNotPending) as error:
        prepare(found(PENDING, run("interrupted")), GIVEN, server)
    assert error.value.metadata["interrupts"] == [other]


def test_one_of_two_equal_questions_is_not_told_from_the_other_after_arming() -> None:
    both = state({"interrupts": [ASKED]}, {"interrupts": [{"id": "b" * 32, "value": "approve?"}]})
    server = {**ARMED, STATE: both, RUNS: [ANNOUNCED]}
    with pytest.raises(InterruptNotPending):
        prepare(found(both, run("interrupted")), GIVEN, server)


def test_of_two_questions_the_armed_thread_gets_the_answer_to_the_one_that_was_answered() -> None:
    other, again = {"id": "b" * 32, "value": "other?"}, {"id": "d" * 32, "value": "other?"}
    server = {**ARMED, STATE: state({"interrupts": [again]}, {"interrupts": [AGAIN]})}
    thread = found(state({"interrupts": [ASKED]}, {"interrupts": [other]}), run("interrupted"))
    assert prepare(thread, GIVEN, server)[1] == Answers({"c" * 32: "yes"})


def test_a_thread_is_not_armed_where_a_step_that_has_ended_would_run_again() -> None:
    thread = found(state({"interrupts": [ASKED]}, {"result": {"b": 1}}), run("interrupted"))
    with pytest.raises(InterruptAlreadyAnswered, match="as_node"):
        prepare(thread, GIVEN, {"GET …": {"status": "idle"}})


def test_a_thread_is_not_armed_twice_from_the_same_fork() -> None:
    """Aegra keeps the questions' ids then, and goes on with the answer that was cancelled."""
    thread = found(state({"interrupts": [ASKED]}, source="fork"), run("interrupted"))
    with pytest.raises(InterruptAlreadyAnswered):
        prepare(thread, GIVEN, {"GET …": {"status": "idle"}})


def test_a_thread_that_cannot_be_armed_has_seen_no_answer() -> None:
    flow = AE.prepare(resume(), found(PENDING, run("error")), GIVEN)
    with pytest.raises(UpstreamError) as error:
        follow(flow, {"GET …": {"status": "error"}, "POST …/runs/wait": answer("oops", 500)})
    assert error.value.metadata == {"resume_state": "not_sent"}
    assert error.value.message.endswith("The answer was not sent: try again.")


def test_a_thread_whose_arming_failed_has_seen_no_answer() -> None:
    """Such as where a step beside the question fails again."""
    server = {**ARMED, STATE: PENDING, RUNS: [run("error", error_message="boom")]}
    with pytest.raises(UpstreamError, match="boom") as error:
        prepare(found(PENDING, run("error")), GIVEN, server)
    assert error.value.metadata == {"resume_state": "not_sent"}
    assert error.value.message.endswith("the thread may accept none now: read it first.")


# The answer


def body(verdict: Answers | Continue, mode: Mode = Mode.WAIT, **fields: Any) -> Any:
    return AE.resume(resume(mode, **fields), Found("interrupted", agent_id="agent"), verdict).json


def test_the_answer_goes_keyed_by_id() -> None:
    assert body(GIVEN) == {"assistant_id": "agent", "command": {"resume": {ID: "yes"}}, "on_disconnect": "cancel"}


def test_going_on_runs_the_checkpoint_since_input_null_is_422() -> None:
    sent = body(Continue())
    assert "checkpoint" in sent
    assert not {"input", "command"} & set(sent)


@pytest.mark.parametrize("value", ["a\0b", {"a\0": 1}, 2**64, -(2**63) - 1])
def test_what_postgresql_does_not_keep_is_refused(value: Any) -> None:
    with pytest.raises(UnsupportedInput):
        AE.check(resume(), Found("interrupted", (ASKS,), agent_id="an-assistant"), Answers({ID: value}))


def test_nobody_is_guessed_to_go_on_with_a_thread() -> None:
    with pytest.raises(InvalidRequest, match="agent_id"):
        AE.check(resume(), Found("interrupted", (ASKS,)), Answers({ID: "yes"}))


@pytest.mark.parametrize("value", [None, {}, {"f" * 32: 1}, 2**64 - 1, "é\x01"])
def test_every_other_value_is_carried(value: Any) -> None:
    AE.check(resume(), Found("interrupted", (ASKS,), agent_id="an-assistant"), Answers({ID: value}))


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ("Cannot resume: thread is not in interrupted state", 400, "thread_not_interrupted"),
        ("Assistant 'x' not found", 404, "agent_not_found"),
        ("Thread not found", 404, "thread_not_found"),
        ("command and input are mutually exclusive", 422, "invalid_request"),
    ],
)
def test_a_refusal_means_what_it_says(message: str, status: int, code: str) -> None:
    error: ResumeError = AE.refusal(answer({"error": "x", "message": message, "details": None}, status))
    assert error.code == code


# The run


def test_a_background_run_is_named_in_its_body_alone() -> None:
    raw = answer(run("pending")).body
    started = AE.started(Response(200), raw, resume(Mode.BACKGROUND), Found("interrupted"))
    assert started == Started("r1", "agent", "2026-11-24T10:00:01Z", "u", "pending", None)


@pytest.mark.parametrize("mode", [Mode.WAIT, Mode.STREAM])
def test_wait_and_stream_name_it_in_their_head(mode: Mode) -> None:
    head = answer("", 200, ("content-location", f"/threads/{THREAD}/runs/r1"))
    assert AE.started(head, b"", resume(mode), Found("interrupted", agent_id="agent")) == Started("r1", "agent")


def test_an_older_server_names_no_run_on_a_wait() -> None:
    assert AE.started(Response(200), b"", resume(), Found("interrupted")) is None


def test_the_run_is_read_cancelled_and_found_below_its_thread() -> None:
    started: Started[Any] = Started("r1")
    path = f"/threads/{THREAD}/runs/r1"
    assert (AE.location(resume(), started), AE.run(resume(), started)) == (path, Request.get(path))
    assert AE.cancel(resume(), started) == Request("POST", path + "/cancel")
    assert AE.join(resume(), started) == Request("GET", path + "/stream", accept="text/event-stream")
    assert AE.delete(resume()) == Request("DELETE", f"/threads/{THREAD}")


def test_its_answers_are_read_as_langgraphs_are() -> None:
    assert AE.has_ended(answer(run("success")))
    one_of_two = {"id": "b" * 32, "value": "really?", "response_schema": None}
    assert AE.ended(answer({"topic": "x", "__interrupt__": [one_of_two]}).body) == Ended({"topic": "x"})
    assert type(AE).reframer is Dialect.reframer
