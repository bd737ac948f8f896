"""The profiles of servers whose resume is a POST to the run, with answers as they were recorded or read."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.backends import load_backend
from ap_resume_shim.core.dialect import Answers, Dialect, Found
from ap_resume_shim.core.errors import AmbiguousInterrupt, UnsupportedInput
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Ended
from tests.backends.driving import THREAD, answer, look, refused, resume

AGNTCY, AGENTSEEK, DURAGRAPH = (load_backend(name) for name in ("agntcy", "agentseek", "duragraph"))
HOBBY = [load_backend(name) for name in ("run-resume", "run-resume-body", "run-resume-wait", "run-resume-stream")]
ASKED: Found[None] = Found("interrupted", (Interrupt(None),), run_id="r1")


def run(status: str, run_id: str = "r1", **more: Any) -> dict[str, Any]:
    return {"run_id": run_id, "status": status, "agent_id": "agent", "assistant_id": "agent", **more}


def agntcy(*runs: dict[str, Any]) -> Found[Any]:
    asked, found = look(AGNTCY, {"GET …": {"status": "idle", "values": {"a": 1}}, "GET …/runs": list(runs)})
    assert asked == ["GET … + GET …/runs"]
    return found


def agentseek(status: str, *runs: dict[str, Any]) -> Found[Any]:
    return look(AGENTSEEK, {"GET …": {"status": status}, "GET …/runs?limit=1": list(runs)})[1]


def duragraph(*runs: dict[str, Any]) -> tuple[list[str], Found[Any]]:
    state = {"values": {"channels": {"a": 1}}}
    server = {"GET /api/v1…": {"status": "idle"}, "GET /api/v1…/runs": list(runs), "GET /api/v1…/state": state}
    return look(DURAGRAPH, server)


# Langrove: the thread is `idle` while it waits, and shows the question of a run that failed


@pytest.mark.parametrize(
    ("thread", "runs", "status", "questions"),
    [
        ("idle", [run("success")], "interrupted", 1),
        ("idle", [], "idle", 0),
        ("idle", [run("pending", "r2")], "busy", 0),
        ("busy", [run("running", "r2")], "busy", 0),
        ("busy", [run("success")], "busy", 1),
        ("error", [run("error", "r2")], "error", 0),
        ("idle", [run("interrupted", "r2")], "idle", 0),
    ],
)
def test_langroves_questions_are_those_of_a_run_that_succeeded(
    thread: str, runs: list[dict[str, Any]], status: str, questions: int
) -> None:
    row = {"status": thread, "values": {"a": 1}, "interrupts": [{"id": "0" * 32, "value": "sure?"}]}
    _, found = look(load_backend("langrove"), {"GET …": row, "GET …/runs?limit=1": runs})
    assert (found.status, found.values) == (status, {"a": 1})
    assert found.interrupts == (Interrupt("0" * 32, "sure?"),) * questions


# AGNTCY: the thread is `idle` for ever, its runs are told oldest first


@pytest.mark.parametrize(
    ("runs", "status", "waits"),
    [
        ([], "idle", None),
        ([run("interrupted")], "interrupted", "r1"),
        ([run("success"), run("interrupted", "r2")], "interrupted", "r2"),
        ([run("pending"), run("interrupted", "r2")], "busy", "r1"),
        ([run("interrupted"), run("success", "r2")], "idle", "r2"),
        ([run("error")], "error", "r1"),
    ],
)
def test_agntcys_runs_tell_how_a_thread_stands(runs: list[dict[str, Any]], status: str, waits: str | None) -> None:
    found = agntcy(*runs)
    assert (found.status, found.run_id, found.values) == (status, waits, {"a": 1})
    assert found.interrupts == ((Interrupt(None),) if status == "interrupted" else ())


@pytest.mark.parametrize("mode", Mode)
def test_agntcys_answer_is_the_whole_body(mode: Mode) -> None:
    request = AGNTCY.resume(resume(mode), ASKED, Answers({None: {"approved": True}}))
    assert request == Request.post("/runs/r1", {"approved": True})


@pytest.mark.parametrize("value", [None, True, 1, "yes", ["yes"], {}, {"0" * 32: 1}], ids=repr)
def test_agntcy_carries_objects_alone(value: Any) -> None:
    with pytest.raises(UnsupportedInput):
        AGNTCY.check(resume(), ASKED, Answers({None: value}))


def test_agntcys_result_tells_why_a_run_failed_and_the_thread_its_values() -> None:
    told = {"run": run("error"), "output": {"type": "error", "errcode": 1, "description": "broken"}}
    assert AGNTCY.ended(answer(told).body) == Ended(None, "broken")
    assert AGNTCY.ended(answer({"output": {"type": "result", "values": {"last": 1}}}).body) == Ended()


@pytest.mark.parametrize(
    ("status", "detail", "code"),
    [
        (400, "Run is not in interrupted state", "thread_not_interrupted"),
        (400, "Run not found", "thread_not_found"),
        (422, "Resume payload not valid: 'approved' is a required property", "invalid_request"),
        (500, "Not implemented", "upstream_error"),
    ],
)
def test_agntcys_refusals_are_told_by_their_texts(status: int, detail: str, code: str) -> None:
    assert AGNTCY.refusal(answer({"detail": detail}, status)).code == code


def test_agntcys_times_have_no_zone() -> None:
    assert (
        agntcy(run("interrupted", updated_at="2026-11-24T12:51:22.849423")).updated_at == "2026-11-24T12:51:22.849423Z"
    )


# agentseek: questions have ids, and show on a run that goes on already


def test_agentseeks_questions_are_those_of_the_run_that_waits() -> None:
    asks = [{"value": "sure?", "id": "q1"}]
    assert agentseek("interrupted", run("interrupted", interrupts=asks)).interrupts == (Interrupt("q1", "sure?"),)
    assert agentseek("busy", run("running", interrupts=asks)).interrupts == ()
    cancelled = agentseek("error", run("error", interrupts=asks, last_error="Run cancelled"))
    assert (cancelled.status, cancelled.interrupts, cancelled.error) == ("error", (), "Run cancelled")


def test_agentseeks_graphs_may_ask_without_an_id() -> None:
    found = agentseek("interrupted", run("interrupted", interrupts=[{"value": "sure?", "id": None}]))
    assert found.interrupts == (Interrupt(None, "sure?"),)
    with pytest.raises(UnsupportedInput):
        AGENTSEEK.check(resume(), found, Answers({None: None}))
    AGENTSEEK.check(resume(), found, Answers({None: "yes"}))


@pytest.mark.parametrize("value", [None, {}, {"0" * 32: 1}, "yes"], ids=repr)
def test_agentseeks_answer_is_keyed_so_that_every_value_arrives(value: Any) -> None:
    found: Found[None] = Found("interrupted", (Interrupt("q1"),), run_id="r1")
    verdict = Answers({"q1": value})
    AGENTSEEK.check(resume(), found, verdict)
    request = AGENTSEEK.resume(resume(), found, verdict)
    assert (request.target, request.json) == (f"/threads/{THREAD}/runs/r1/resume", {"resume": {"q1": value}})


@pytest.mark.parametrize(
    ("detail", "code"),
    [
        ("Run is not interrupted", "thread_not_interrupted"),
        ("Another run is already active for this thread", "thread_busy"),
    ],
)
def test_agentseeks_conflicts_are_two(detail: str, code: str) -> None:
    assert AGENTSEEK.refusal(answer({"detail": detail}, 409)).code == code


# Duragraph: runs are told newest first, and wait each for itself; nothing tells the question


def test_duragraphs_state_is_read_once_a_run_has_come_to_rest() -> None:
    asked, found = duragraph(run("interrupted"))
    assert asked == ["GET /api/v1… + GET /api/v1…/runs", "GET /api/v1…/state"]
    assert (found.status, found.run_id, found.values, found.agent_id) == ("interrupted", "r1", {"a": 1}, "agent")
    for going_on in ("pending", "running"):
        asked, found = duragraph(run(going_on))
        assert (asked[1:], found.status, found.values) == ([], "busy", None)


def test_duragraphs_run_waits_though_a_newer_one_has_ended() -> None:
    assert duragraph(run("success", "r2"), run("interrupted"))[1].run_id == "r1"
    with pytest.raises(AmbiguousInterrupt):
        duragraph(run("interrupted", "r2"), run("interrupted"))


def test_duragraph_tells_no_more_of_a_failure_than_that_it_was_one() -> None:
    _, found = duragraph(run("error"))
    assert (found.status, found.error) == ("error", "error")


def test_duragraphs_answer_is_part_of_a_command_and_null_is_none() -> None:
    request = DURAGRAPH.resume(resume(), ASKED, Answers({None: False}))
    assert (request.target, request.json) == (
        f"/api/v1/threads/{THREAD}/runs/r1/resume",
        {"command": {"resume": False}},
    )
    with pytest.raises(UnsupportedInput):
        DURAGRAPH.check(resume(), ASKED, Answers({None: None}))


def test_an_id_that_is_none_of_duragraphs_is_404() -> None:
    wrong = answer({"message": "invalid id"}, 400)
    assert refused(DURAGRAPH, {"GET /api/v1…": wrong, "GET /api/v1…/runs": wrong}).code == "thread_not_found"
    gone = answer({"message": "no resumable interrupt for this run"}, 404)
    assert DURAGRAPH.refusal(gone).code == "thread_not_interrupted"


# Hobby servers


@pytest.mark.parametrize("dialect", HOBBY, ids=lambda dialect: dialect.name)
def test_a_hobby_servers_newest_run_is_the_one(dialect: Dialect[Any]) -> None:
    runs = [run("interrupted", "r2", interrupt="sure?"), run("interrupted", "r1", interrupt="old")]
    server = {"GET …": {"status": "interrupted"}, "GET …/runs": runs[::-1] if dialect is HOBBY[3] else runs}
    found = look(dialect, server)[1]
    assert (found.status, found.run_id, found.interrupts) == ("interrupted", "r2", (Interrupt(None, "sure?"),))


@pytest.mark.parametrize("dialect", HOBBY, ids=lambda dialect: dialect.name)
def test_a_hobby_servers_run_that_goes_on_makes_its_thread_busy(dialect: Dialect[Any]) -> None:
    server = {"GET …": {"status": "interrupted"}, "GET …/runs": [run("running", "r2"), run("interrupted")]}
    assert look(dialect, server)[1].status == "busy"


def test_each_tells_what_it_can() -> None:
    response_kinds = [{mode: dialect.response_kinds[mode] for mode in Mode} for dialect in HOBBY]
    assert response_kinds == [dict.fromkeys(Mode, told) for told in ("run", "run", "result", "events")]


@pytest.mark.parametrize("resume_at", ["/resume", "/input", "/values", "/command/resume"])
def test_the_operator_says_where_a_hobby_server_wants_the_answer(resume_at: str) -> None:
    request = load_backend("run-resume", resume_at=resume_at).resume(resume(), ASKED, Answers({None: "yes"}))
    value = request.json
    for key in resume_at[1:].split("/"):
        value = value[key]
    assert value == "yes"
    assert load_backend("run-resume", resume_at="").resume(resume(), ASKED, Answers({None: "yes"})).json == "yes"
