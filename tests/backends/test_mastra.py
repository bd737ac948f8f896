"""Mastra's workflows: the run tells which steps wait, and its stream tells whether it took the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ap_resume_shim.backends.mastra.messages import ENFORCED
from ap_resume_shim.backends.mastra.workflow import Mastra
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Answers, Continue, Found, Started
from ap_resume_shim.core.errors import InvalidAnswer, MultipleInterrupts, ResumeError, UnsupportedInput, UpstreamError
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_schema import violations
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Ended, Reframer
from ap_resume_shim.core.sse import MAX_EVENT, Decoder
from tests.backends.driving import THREAD, answer, follow, look, refused, resume

MASTRA = Mastra()
LIST, INFO, RUN = (
    "GET /api/workflows?partial=true",
    "GET /api/workflows/deploy",
    f"GET /api/workflows/deploy/runs/{THREAD}",
)
OTHER = f"GET /api/workflows/other/runs/{THREAD}"
NO_RUN, NO_WORKFLOW = ({"error": f"Workflow {what}not found"} for what in ("run ", ""))
ASKED = {"status": "suspended", "suspendPayload": {"question": "sure?"}, "suspendedAt": 1795574340418}
DONE = {"status": "success", "output": 1}
ASK = Interrupt("ask@1795574340418", {"question": "sure?"})


def run(status: str = "suspended", **more: Any) -> dict[str, Any]:
    default = {"status": status, "createdAt": "2026-11-25T02:39:00.396Z", "updatedAt": "2026-11-25T02:39:00.419Z"}
    return {**default, "steps": {"ask": ASKED} if status == "suspended" else {"ask": DONE}, **more}


def info(options: dict[str, Any] | None = None, **schemas: Any) -> dict[str, Any]:
    told = {name.replace("_", "."): {"resumeSchema": json.dumps({"json": schema})} for name, schema in schemas.items()}
    return {"allSteps": {**told, "end": {"id": "end"}}, "options": options or {}}


def found(told: dict[str, Any], schemas: dict[str, Any] | None = None) -> Found[Any]:
    _, thread = look(MASTRA, {LIST: {"deploy": {}}, RUN: told, INFO: schemas or info()})
    return thread


def steps(**told: dict[str, Any]) -> Found[Any]:
    return found(run(steps={name.replace("_", "."): step for name, step in told.items()}))


def prepared(
    thread: Found[Any], id_: str | None, value: Any = True, mode: Mode = Mode.WAIT
) -> tuple[Found[Any], Request]:
    """The thread and the request of a resume that is taken."""
    verdict = Answers({id_: value})
    MASTRA.check(resume(mode), thread, verdict)
    _, (thread, verdict) = follow(MASTRA.prepare(resume(mode), thread, verdict), {})
    return thread, MASTRA.resume(resume(mode), thread, verdict)


def started(thread: Found[Any]) -> Started[Any]:
    told = MASTRA.started(Response(200), b"", resume(), thread)
    assert told is not None
    return told


# The thread


def test_a_run_is_looked_for_in_all_workflows() -> None:
    asked, thread = look(
        MASTRA, {LIST: {"other": {}, "deploy": {}}, OTHER: answer(NO_RUN, 404), RUN: run(), INFO: info()}
    )
    assert asked == [LIST, f"{OTHER} + {RUN}", INFO]
    assert (thread.status, thread.interrupts, thread.agent_id) == ("interrupted", (ASK,), "deploy")
    assert (thread.run_id, thread.updated_at) == (THREAD, "2026-11-25T02:39:00.419Z")


def test_a_workflow_that_is_named_is_the_only_one_that_is_asked() -> None:
    asked, thread = look(MASTRA, {RUN: run("success", result=[1])}, agent_id="deploy")
    assert asked == [RUN]
    assert (thread.status, thread.values) == ("idle", [1])


def test_after_a_run_its_schemas_do_not_matter() -> None:
    asked, _ = look(MASTRA, {RUN: run()}, full=False, agent_id="deploy")
    assert asked == [RUN]


@pytest.mark.parametrize(
    ("server", "fields", "code"),
    [
        ({LIST: {}}, {}, "thread_not_found"),
        ({LIST: {"deploy": {}}, RUN: answer(NO_RUN, 404)}, {}, "thread_not_found"),
        ({RUN: answer(NO_RUN, 404)}, {"agent_id": "deploy"}, "thread_not_found"),
        ({RUN: answer(NO_WORKFLOW, 404)}, {"agent_id": "deploy"}, "agent_not_found"),
        ({LIST: {"deploy": {}, "other": {}}, RUN: run(), OTHER: run()}, {}, "invalid_request"),
        ({LIST: answer({"error": "no"}, 401)}, {}, "unauthorized"),
    ],
)
def test_what_is_not_there_is_refused(server: dict[str, Any], fields: dict[str, Any], code: str) -> None:
    assert refused(MASTRA, server, **fields).code == code


@pytest.mark.parametrize(
    ("told", "status", "error"),
    [
        (run("running"), "busy", None),
        (run("waiting"), "busy", None),
        (run("pending"), "idle", None),
        (run("success"), "idle", None),
        (run("canceled"), "error", {"message": "The run was cancelled."}),
        (run("failed", error={"message": "boom", "stack": "at x"}), "error", {"message": "boom"}),
        (run("failed"), "error", {"message": "The workflow failed."}),
        (run("tripwire", tripwire={"reason": "no"}), "error", {"reason": "no"}),
        (run("tripwire"), "error", {"message": "The run was stopped by a processor."}),
    ],
)
def test_the_runs_status_is_the_threads(told: dict[str, Any], status: str, error: Any) -> None:
    thread = found(told)
    assert (thread.status, thread.error, thread.interrupts) == (status, error, ())


def test_the_api_may_be_elsewhere() -> None:
    asked, _ = look(Mastra("/agents/v1/"), {f"GET /agents/v1/workflows/w/runs/{THREAD}": run("success")}, agent_id="w")
    assert asked == [f"GET /agents/v1/workflows/w/runs/{THREAD}"]
    assert look(Mastra("/"), {f"GET /workflows/w/runs/{THREAD}": run("success")}, agent_id="w")


# The questions


def test_a_step_may_ask_without_saying_what() -> None:
    assert steps(ask={"status": "suspended", "suspendedAt": 1}).interrupts == (Interrupt("ask@1", None),)


def test_a_step_of_a_nested_workflow_is_told_beside_the_others() -> None:
    """The workflow itself is called `running`."""
    outer = {"status": "running", "suspendPayload": {"__workflow_meta": {"path": ["ask"]}}, "suspendedAt": 2}
    thread = steps(inner=outer, inner_ask=ASKED)
    assert [interrupt.id for interrupt in thread.interrupts] == ["inner.ask@1795574340418"]
    _, request = prepared(thread, "inner.ask@1795574340418")
    assert request.json == {"step": ["inner", "ask"], "resumeData": True}
    named = steps(inner={**outer, "status": "suspended"}, inner_ask=ASKED)
    assert named.interrupts == thread.interrupts, "asked once"


def test_a_step_whose_name_has_dots_is_one_step() -> None:
    _, request = prepared(steps(a_b=ASKED), "a.b@1795574340418")
    assert request.json["step"] == ["a.b"]


def test_each_item_of_a_foreach_is_a_question() -> None:
    """Without its index, the answer would be given to all of them."""
    items = [{**ASKED, "suspendedAt": 1}, DONE, None, {**ASKED, "suspendedAt": 2}]
    payload = {"question": "sure?", "__workflow_meta": {"foreachIndex": 0, "foreachOutput": items}}
    thread = steps(each={"status": "suspended", "suspendPayload": payload, "suspendedAt": 3})
    assert thread.interrupts == (Interrupt("each[0]@1", ASK.value), Interrupt("each[3]@2", ASK.value))
    _, request = prepared(thread, "each[3]@2", None)
    assert request.json == {"step": ["each"], "resumeData": None, "forEachIndex": 3}


def test_the_items_of_a_foreach_may_be_workflows() -> None:
    item = {"status": "suspended", "suspendPayload": {"__workflow_meta": {"path": ["ask"]}}, "suspendedAt": 1}
    payload = {"__workflow_meta": {"path": ["ask"], "foreachOutput": [item]}}
    thread = steps(per={"status": "suspended", "suspendPayload": payload, "suspendedAt": 2})
    assert thread.interrupts == (Interrupt("per.ask[0]@1", None),)
    _, request = prepared(thread, "per.ask[0]@1")
    assert request.json == {"step": ["per", "ask"], "resumeData": True, "forEachIndex": 0}


# The answer


@pytest.mark.parametrize(
    ("mode", "way"),
    [(Mode.BACKGROUND, "resume-stream"), (Mode.WAIT, "resume-async"), (Mode.STREAM, "resume-stream")],
)
def test_the_step_is_named(mode: Mode, way: str) -> None:
    thread, request = prepared(found(run()), ASK.id, "yes", mode)
    assert f"{request.method} {request.target}" == f"POST /api/workflows/deploy/{way}?runId={THREAD}"
    assert request.json == {"step": ["ask"], "resumeData": "yes"}
    assert started(thread) == Started(THREAD, "deploy", "2026-11-25T02:39:00.396Z", context=thread.context), (
        "the run that waited goes on"
    )
    assert MASTRA.location(resume(), started(thread)) == f"/api/workflows/deploy/runs/{THREAD}"
    assert MASTRA.cancel(resume(), started(thread)) == Request.post(f"/api/workflows/deploy/runs/{THREAD}/cancel")


@pytest.mark.parametrize("verdict", [Answers({"ask@1": 1, "also@1": 2}), Continue()])
def test_answers_are_taken_one_at_a_time(verdict: Any) -> None:
    with pytest.raises(MultipleInterrupts):
        MASTRA.check(resume(), steps(ask={**ASKED, "suspendedAt": 1}, also={**ASKED, "suspendedAt": 1}), verdict)


@pytest.mark.parametrize("value", [2**53, -(2**53), [{"a": 2**64}]])
def test_integers_that_javascript_changes_are_refused(value: Any) -> None:
    with pytest.raises(UnsupportedInput, match="as a string"):
        prepared(found(run()), ASK.id, value)


@pytest.mark.parametrize("value", [2**53 - 1, 1.5, None, "", {"a": [True]}])
def test_other_values_are_carried(value: Any) -> None:
    assert prepared(found(run()), ASK.id, value)[1].json["resumeData"] == value


def test_an_answer_that_its_schema_refuses_is_not_sent() -> None:
    schemas = info(ask={"type": "object", "properties": {"approved": {"type": "boolean"}}, "required": ["approved"]})
    assert found(run(), schemas).interrupts[0].response_schema["required"] == ["approved"]
    with pytest.raises(InvalidAnswer, match="`approved` is missing") as error:
        prepared(found(run(), schemas), ASK.id, {})
    assert error.value.metadata["response_schema"]["required"] == ["approved"]
    assert prepared(found(run(), schemas), ASK.id, {"approved": False})


def test_a_workflow_that_does_not_look_at_its_schemas_takes_anything() -> None:
    schemas = info({"validateInputs": False}, ask={"type": "boolean"})
    assert prepared(found(run(), schemas), ASK.id, "yes")


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        (500, "This workflow run was not suspended", "thread_not_interrupted"),
        (500, 'This workflow step "a" was not suspended. Available suspended steps: [b]', "thread_not_interrupted"),
        (409, "This suspended workflow run was already resumed by another caller.", "thread_not_interrupted"),
        (400, "Invalid resume data: \n- approved: Invalid input", "invalid_request"),
        (404, "Workflow run not found", "thread_not_found"),
        (404, "Workflow not found", "agent_not_found"),
        (500, "database is locked", "upstream_error"),
    ],
)
def test_refusals_are_told_by_their_texts(status: int, text: str, code: str) -> None:
    assert MASTRA.refusal(answer({"error": text}, status)).code == code


# The stream


def record(kind: str, **payload: Any) -> bytes:
    value = {"type": f"workflow-{kind}", "runId": THREAD, "from": "WORKFLOW", "payload": payload}
    return strictjson.dumps(value) + b"\x1e"


def finish(status: str, result: Any = None, **metadata: Any) -> bytes:
    ended = {} if result is None else {"finalWorkflowResult": result}
    return record("finish", workflowStatus=status, metadata=metadata, **ended)


START, STEP = record("start", workflowId="deploy"), record("step-start", id="ask", status="running")
RESULT = record("step-result", id="ask", status="success", output={"ok": True})
SUSPENDED = record("step-suspended", id="ask", **ASKED)
REFUSED = finish("failed", error={}, errorMessage="This workflow run was not suspended")


def told(
    *chunks: bytes, thread: Found[Any] | None = None, id_: str | None = ASK.id
) -> tuple[list[tuple[Any, Any]], Reframer]:
    """The events of a resumed run's stream, and what read them."""
    thread, _ = prepared(thread or found(run()), id_)
    asked = resume(Mode.STREAM, stream_mode=["values", "updates", "custom"])
    reframer = MASTRA.reframer(asked, started(thread))
    raw = b"".join(map(reframer.feed, chunks)) + reframer.finish()
    assert reframer.between_events
    assert not reframer.over
    return [(event.name, event.json) for event in Decoder().feed(raw)], reframer


@pytest.mark.parametrize(
    ("head", "begun"), [(b"", False), (START, False), (START + STEP[:-1], False), (START + STEP, True), (REFUSED, True)]
)
def test_the_second_record_tells_whether_the_run_was_resumed(head: bytes, begun: bool) -> None:
    assert MASTRA.begun(head) == begun


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("This workflow run was not suspended", "thread_not_interrupted"),
        ("Invalid resume data: \n- : Required", "invalid_request"),
        ("database is locked", "upstream_error"),
    ],
)
def test_a_stream_that_ends_without_a_step_is_a_refusal(text: str, kind: str) -> None:
    body = START + finish("failed", errorMessage=text)
    error = MASTRA.refused(resume(Mode.STREAM), Response(200, (), body))
    assert isinstance(error, ResumeError)
    assert error.code == kind


@pytest.mark.parametrize("body", [START + STEP, START + STEP + RESULT + finish("failed"), b""])
def test_a_step_that_goes_on_is_none(body: bytes) -> None:
    assert MASTRA.refused(resume(Mode.BACKGROUND), Response(200, (), body)) is None


def test_what_is_waited_for_has_a_status_of_its_own() -> None:
    assert MASTRA.refused(resume(Mode.WAIT), Response(200, (), START + REFUSED)) is None


def test_records_are_reframed_however_they_are_split() -> None:
    whole = START + STEP + RESULT + b"no JSON\x1e" + b"[]\x1e" + finish("success", {"ok": True})
    expected = [("custom", strictjson.read(STEP[:-1])), ("updates", {"ask": {"ok": True}}), ("values", {"ok": True})]
    events, reframer = told(whole)
    assert events == expected
    assert told(*(bytes([byte]) for byte in whole))[0] == expected
    assert reframer.ended() == Ended({"ok": True})


def test_a_run_without_a_result_has_no_values() -> None:
    assert told(finish("success"))[0] == [("values", {})]


def test_a_run_that_asks_again_ends_with_its_question() -> None:
    events, reframer = told(RESULT, SUSPENDED, finish("suspended"))
    asked = {"__interrupt__": [ASK.as_json()]}
    assert events[1:] == [("values", asked), ("updates", asked)]
    assert reframer.ended() == Ended()


def test_a_step_that_fails_is_the_runs_error() -> None:
    failed = record("step-result", id="ask", status="failed", error={"message": "boom", "stack": "at x"})
    events, reframer = told(STEP, failed, finish("failed"))
    assert events[1:] == [("error", {"message": "boom"})]
    assert reframer.ended() == Ended(error={"message": "boom"})


def test_what_the_server_says_about_a_failure_comes_first() -> None:
    assert told(REFUSED)[0] == [("error", {"message": "This workflow run was not suspended"})]


def test_a_parallel_question_stays_open_though_the_server_calls_the_run_a_success() -> None:
    thread = steps(ask=ASKED, also=ASKED)
    events, _ = told(RESULT, finish("success"), thread=thread)
    assert events[1] == ("values", {"__interrupt__": [{**ASK.as_json(), "id": "also@1795574340418"}]})


def test_the_next_item_of_a_foreach_is_told_by_its_index() -> None:
    progress = [record("step-progress", id="each", currentIndex=n, iterationStatus="suspended") for n in (1, 2)]
    events, _ = told(*progress, record("step-suspended", id="each", **ASKED), finish("suspended"))
    assert events[-2] == ("values", {"__interrupt__": [{**ASK.as_json(), "id": "each[1]@1795574340418"}]})


def test_an_item_that_had_asked_before_is_not_asked_again() -> None:
    items = [{**ASKED, "suspendedAt": 1}, {**ASKED, "suspendedAt": 2}]
    payload = {"__workflow_meta": {"foreachOutput": items}}
    thread = steps(each={"status": "suspended", "suspendPayload": payload, "suspendedAt": 3})
    chunks = [record("step-suspended", id="each", **ASKED), finish("suspended")]
    events, _ = told(*chunks, thread=thread, id_="each[1]@2")
    assert events[0] == ("values", {"__interrupt__": [{**ASK.as_json(), "id": "each[0]@1"}]})


def test_a_workflow_that_suspends_for_its_step_asks_nothing_itself() -> None:
    chunks = [record("step-suspended", id=name, **ASKED) for name in ("inner.ask", "inner")]
    events, _ = told(*chunks, finish("suspended"))
    assert events[0] == ("values", {"__interrupt__": [{**ASK.as_json(), "id": "inner.ask@1795574340418"}]})


def test_what_a_step_writes_is_custom_without_stack_traces() -> None:
    written = {"type": "data-note", "data": [{"message": "boom", "stack": "at x"}, {"stack": "of plates"}]}
    events, _ = told(strictjson.dumps(written) + b"\x1e")
    assert events == [("custom", {"type": "data-note", "data": [{"message": "boom"}, {"stack": "of plates"}]})]


def test_a_record_without_end_is_an_error() -> None:
    with pytest.raises(UpstreamError):
        told(b"x" * (MAX_EVENT + 1))


@pytest.mark.parametrize(
    ("body", "ended"),
    [
        ({"status": "success", "result": [1]}, Ended([1])),
        ({"status": "suspended", "suspended": [["ask"]]}, Ended()),
        ({"status": "failed", "error": {"message": "boom"}}, Ended(error={"message": "boom"})),
    ],
)
def test_a_wait_tells_the_run(body: Any, ended: Ended) -> None:
    assert MASTRA.ended(strictjson.dumps(body)) == ended


# Schemas

APPROVAL = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "why": {"type": "string", "default": ""}},
    "required": ["approved", "why"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        ({}, [None, 1, {}], []),
        (True, [None], []),
        (None, [1], []),
        (False, [], [None]),
        ({"type": "null"}, [None], [False, 0, ""]),
        ({"type": "boolean"}, [False], [0, None]),
        ({"type": "number"}, [0, 1.5], [True, "1"]),
        ({"type": "integer"}, [0, 2.0], [1.5, False, "1"]),
        ({"type": ["string", "null"]}, ["", None], [0]),
        ({"type": "date"}, ["whatever that is"], []),
        ({"const": 1}, [1], [True, 2]),
        ({"enum": ["a", False]}, ["a", False], [0, "b"]),
        (APPROVAL, [{"approved": True}, {"approved": False, "why": "no"}], [{}, {"approved": 1}, []]),
        (APPROVAL, [], [{"approved": True, "more": 1}, {"approved": True, "why": None}]),
        ({"additionalProperties": {"type": "string"}}, [{"a": ""}, 1], [{"a": 1}]),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}, [["a"]], [[], [1], ["a"] * 3]),
        ({"items": {"type": "string"}}, ["no list"], []),
        ({"minLength": 2, "maxLength": 3}, ["ab", "\U0001f388", 7], ["a", "abcd"]),
        ({"minimum": 1, "exclusiveMaximum": 3}, [1, 2.9, "x"], [0, 3]),
        ({"maximum": 3, "exclusiveMinimum": 1}, [3], [4, 1]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["", None], [1]),
        ({"oneOf": [{"type": "string"}]}, [""], [1]),
        ({"allOf": [{"type": "number"}, {"minimum": 1}]}, [1], [0, "x"]),
        ({"pattern": "^a$", "$ref": "#/definitions/x"}, ["b"], []),
    ],
)
def test_a_schema_refuses_what_does_not_fit(schema: Any, fits: list[Any], does_not: list[Any]) -> None:
    assert [value for value in fits if violations(schema, value, ENFORCED)] == []
    assert [value for value in does_not if not violations(schema, value, ENFORCED)] == []


# Looking again


def test_the_workflow_that_had_the_run_is_looked_at_again() -> None:
    """What its steps take is known by then."""
    schemas = info(ask={"type": "object"})
    _, first = look(MASTRA, {LIST: {"deploy": {}, "other": {}}, RUN: run(), OTHER: answer(NO_RUN, 404), INFO: schemas})
    for full in (True, False):
        asked, later = follow(MASTRA.refresh_thread(resume(), first, full=full), {RUN: run()})
        assert (asked, later) == ([RUN], first)
    with pytest.raises(ResumeError) as gone:
        follow(MASTRA.refresh_thread(resume(), first), {RUN: answer(NO_RUN, 404)})
    assert gone.value.code == "thread_not_found"


def test_what_the_steps_take_is_looked_up_when_they_ask() -> None:
    _, first = look(MASTRA, {LIST: {"deploy": {}}, RUN: run("running")})
    asked, later = follow(MASTRA.refresh_thread(resume(), first, full=True), {RUN: run(), INFO: info()})
    assert (asked, later.interrupts) == ([RUN, INFO], (ASK,))
