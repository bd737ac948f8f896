"""Aegra: the thread tells little, the state and the runs tell all."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.backends.aegra import Aegra
from ap_resume_shim.core.dialect import Dialect, Found, GoOn, Input, Started
from ap_resume_shim.core.errors import InvalidRequest, ResumeError, UnsupportedInput, UpstreamError
from ap_resume_shim.core.exchange import Ended, Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from tests.backends.driving import THREAD, answer, follow, look, refused, resume

AE = Aegra()
ID = "ae79149e652c33cd78e17b8f97b58eef"
ASKED = {"id": ID, "value": "approve?"}
ASKS = Interrupt(ID, "approve?")
STATE, RUNS = "GET …/state", "GET …/runs?limit=10"
BOTH = f"{STATE} + {RUNS}"


def state(*tasks: dict[str, Any], next_: tuple[str, ...] = ("ask",)) -> dict[str, Any]:
    return {"values": {"topic": "x"}, "next": list(next_), "tasks": [{"interrupts": [], **task} for task in tasks]}


def run(status: str, **more: Any) -> dict[str, Any]:
    default = {"run_id": "r1", "assistant_id": "agent", "created_at": "2026-11-24T10:00:01Z", "updated_at": "u"}
    return {**default, "status": status, "output": {}, "error_message": None, **more}


ANNOUNCED = run("interrupted", output={"__interrupt__": [ASKED]})
PENDING = state({"interrupts": [ASKED]})


def found(told: dict[str, Any], *runs: dict[str, Any]) -> Found:
    asked, thread = look(AE, {STATE: told, RUNS: list(runs)})
    assert asked == [BOTH]
    return thread


# The thread


def test_ids_are_case_sensitive() -> None:
    assert AE.thread_key("Any String") == "Any String"


def test_an_interrupted_thread_is_found_by_its_state_and_its_last_run() -> None:
    thread = found(PENDING, ANNOUNCED)
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


def test_an_answered_question_of_a_step_that_failed_is_not_pending() -> None:
    thread = found(state({"interrupts": [ASKED], "error": "boom"}), run("error"))
    assert (thread.interrupts, thread.answered, thread.error) == ((), (ASKS,), "boom")


def test_the_runs_own_words_about_its_error_come_first() -> None:
    assert found(state({"error": "boom"}), run("error", error_message="told")).error == "told"


def test_an_unknown_thread_is_404_by_its_state() -> None:
    """Its list of runs is an empty 200."""
    missing = answer({"error": "not_found", "message": "Thread not found", "details": None}, 404)
    assert refused(AE, {STATE: missing, RUNS: []}).code == "thread_not_found"


# The agent


def test_the_agent_of_the_last_run_may_be_named_by_its_id() -> None:
    uuid = "6bbbf146-21ad-5f8f-9669-f883eab95006"
    server = {STATE: PENDING, RUNS: [{**ANNOUNCED, "assistant_id": uuid}]}
    server[f"GET /assistants/{uuid}"] = {"assistant_id": uuid, "graph_id": "ask"}
    asked, thread = look(AE, server, agent_id=uuid)
    assert asked == [f"{BOTH} + GET /assistants/{uuid}"]
    assert thread.agent_id == uuid


def test_an_agent_of_the_same_graph_may_take_over() -> None:
    other = "6bbbf146-21ad-5f8f-9669-f883eab95006"
    server = {STATE: PENDING, RUNS: [{**ANNOUNCED, "assistant_id": other}]}
    server["POST /assistants/search"] = [{"assistant_id": "custom", "graph_id": "ask"}]
    server[f"GET /assistants/{other}"] = {"assistant_id": other, "graph_id": "ask"}
    asked, thread = look(AE, server, agent_id="ask")
    assert asked == [f"{BOTH} + POST /assistants/search", f"GET /assistants/{other}"]
    assert thread.agent_id == "custom", "by its id, whatever the client called it"


def test_an_agent_of_another_graph_is_refused() -> None:
    other = "6bbbf146-21ad-5f8f-9669-f883eab95006"
    server = {STATE: PENDING, RUNS: [{**ANNOUNCED, "assistant_id": other}]}
    server["POST /assistants/search"] = [{"assistant_id": "custom", "graph_id": "two"}]
    server[f"GET /assistants/{other}"] = {"assistant_id": other, "graph_id": "ask"}
    assert refused(AE, server, agent_id="two").code == "invalid_request"


def test_an_unknown_agent_is_404() -> None:
    server = {STATE: PENDING, RUNS: [ANNOUNCED], "POST /assistants/search": []}
    assert refused(AE, server, agent_id="nobody").code == "agent_not_found"


# Arming a thread again


GIVEN = Input({ID: "yes"})


def prepare(thread: Found, verdict: Input | GoOn, server: dict[str, Any]) -> list[str]:
    asked, (_, prepared) = follow(AE.prepare(resume(), thread, verdict), server)
    assert prepared == verdict
    return asked


def test_a_run_that_stopped_at_its_question_needs_no_arming() -> None:
    assert prepare(found(PENDING, ANNOUNCED), GIVEN, {}) == []


def test_going_on_needs_no_arming() -> None:
    assert prepare(found(PENDING, run("error")), GoOn(), {}) == []


def test_a_thread_that_says_itself_that_it_is_interrupted_needs_no_arming() -> None:
    thread = found(PENDING, run("interrupted"))
    assert prepare(thread, GIVEN, {"GET …": {"status": "interrupted"}}) == ["GET …"]


@pytest.mark.parametrize("last", [run("interrupted"), run("error"), run("interrupted", output=None)])
def test_a_thread_that_a_cancelled_or_failed_run_left_behind_is_run_up_to_its_question(last: Any) -> None:
    """Every resume is 400 for ever otherwise."""
    server = {"GET …": {"status": "idle"}, "POST …/runs/wait": {"__interrupt__": [ASKED]}}
    assert prepare(found(PENDING, last), GIVEN, server) == ["GET …", "POST …/runs/wait"]


def test_a_thread_that_cannot_be_armed_has_seen_no_answer() -> None:
    flow = AE.prepare(resume(), found(PENDING, run("error")), GIVEN)
    with pytest.raises(UpstreamError) as error:
        follow(flow, {"GET …": {"status": "error"}, "POST …/runs/wait": answer("oops", 500)})
    assert error.value.metadata == {"resume_state": "not_sent"}
    assert error.value.message.endswith("The answer was not sent: try again.")


# The answer


def body(verdict: Input | GoOn, mode: Mode = Mode.WAIT, **fields: Any) -> Any:
    return AE.resume(resume(mode, **fields), Found("interrupted", agent_id="agent"), verdict).json


def test_the_answer_goes_keyed_by_id() -> None:
    assert body(GIVEN) == {"assistant_id": "agent", "command": {"resume": {ID: "yes"}}, "on_disconnect": "cancel"}


def test_going_on_runs_the_checkpoint_since_input_null_is_422() -> None:
    sent = body(GoOn())
    assert "checkpoint" in sent
    assert not {"input", "command"} & set(sent)


@pytest.mark.parametrize("value", ["a\0b", {"a\0": 1}, 2**64, -(2**63) - 1])
def test_what_postgresql_does_not_keep_is_refused(value: Any) -> None:
    with pytest.raises(UnsupportedInput):
        AE.check(resume(), Found("interrupted", (ASKS,), agent_id="an-assistant"), Input({ID: value}))


def test_nobody_is_guessed_to_go_on_with_a_thread() -> None:
    with pytest.raises(InvalidRequest, match="agent_id"):
        AE.check(resume(), Found("interrupted", (ASKS,)), Input({ID: "yes"}))


@pytest.mark.parametrize("value", [None, {}, {"f" * 32: 1}, 2**64 - 1, "é\x01"])
def test_every_other_value_is_carried(value: Any) -> None:
    AE.check(resume(), Found("interrupted", (ASKS,), agent_id="an-assistant"), Input({ID: value}))


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
    started, path = Started("r1"), f"/threads/{THREAD}/runs/r1"
    assert (AE.location(resume(), started), AE.run(resume(), started)) == (path, Request.get(path))
    assert AE.cancel(resume(), started) == Request("POST", path + "/cancel")
    assert AE.join(resume(), started) == Request("GET", path + "/stream", accept="text/event-stream")
    assert AE.delete(resume()) == Request("DELETE", f"/threads/{THREAD}")


def test_its_answers_are_read_as_langgraphs_are() -> None:
    assert AE.has_ended(answer(run("success")))
    assert AE.ended(b'\n{"topic": "x", "__interrupt__": []}') == Ended({"topic": "x"})
    assert type(AE).reframer is Dialect.reframer
