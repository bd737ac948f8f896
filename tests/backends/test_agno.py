"""AgentOS: runs that are paused, of agents, teams and workflows, and what their questions take for an answer."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from ap_resume_shim.backends.agno.dialect import Agno
from ap_resume_shim.backends.agno.runs import AgnoContext, Place
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Answers, Continue, Decision, Found, Started
from ap_resume_shim.core.errors import InvalidAnswer, MultipleInterrupts, ResumeError, UnsupportedInput
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Ended
from tests.backends.driving import THREAD, answer, follow, look, refused, resume

AGNO = Agno()
LIST = f"GET /sessions/{THREAD}/runs?status=PAUSED&status=RUNNING&status=PENDING"
HELPER, CREW, FLOW = (
    Place("agents", "helper", "r1", "t1"),
    Place("teams", "crew", "r1"),
    Place("workflows", "flow", "r1"),
)


def at(place: Place) -> str:
    return f"GET {place.path}?session_id={THREAD}"


def listed(status: str = "PAUSED", run_id: str = "r1", **more: Any) -> dict[str, Any]:
    return {"run_id": run_id, "parent_run_id": "", "agent_id": "helper", "status": status, "created_at": "t1", **more}


def tool(**more: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("confirmed", "result", "answered", "user_input_schema", "approval_type"))
    return {"tool_call_id": "c1", "tool_name": "deploy", "tool_args": {"to": "prod"}, **nothing, **more}


def confirmation(**more: Any) -> dict[str, Any]:
    return tool(requires_confirmation=True, **more)


def external(**more: Any) -> dict[str, Any]:
    return tool(external_execution_required=True, **more)


def form(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return tool(requires_user_input=True, user_input_schema=list(fields), **more)


def field(name: str, type_: str = "str", value: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "field_type": type_, "value": value, **more}


def feedback(*, multi: bool = False) -> dict[str, Any]:
    question = {"question": "Which?", "multi_select": multi, "options": [{"label": "red"}], "selected_options": None}
    return tool(requires_user_input=True, user_feedback_schema=[question])


def requires(*tools: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"q{number}", "tool_execution": each, **more} for number, each in enumerate(tools, 1)]


def agent_run(*tools: dict[str, Any], status: str = "PAUSED") -> dict[str, Any]:
    return {"run_id": "r1", "status": status, "requirements": requires(*tools)}


def step(**more: Any) -> dict[str, Any]:
    return {"step_id": "s1", "step_name": "deploy", "on_reject": "skip", "retry_count": 0, "timeout_at": None, **more}


def workflow_run(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"run_id": "r1", "status": "PAUSED", "step_requirements": list(steps)}


def found(run: dict[str, Any], place: Place = HELPER) -> Found[Any]:
    """As the lookup finds a session with one paused run."""
    owner = {"agents": "agent_id", "teams": "team_id", "workflows": "workflow_id"}[place.kind]
    entry = {**listed(agent_id=None), owner: place.component}
    return look(AGNO, {LIST: [entry], at(place): run})[1]


def sent(run: dict[str, Any], answers: dict[str | None, Any] | None, place: Place = HELPER) -> dict[str, Any]:
    """The form that answers a run, its JSON read."""
    verdict: Decision = Continue() if answers is None else Answers(answers)
    thread = found(run, place)
    AGNO.check(resume(), thread, verdict)
    _, (narrowed, same) = follow(AGNO.prepare(resume(), thread, verdict), {})
    request = AGNO.resume(resume(), narrowed, same)
    assert (request.method, request.target) == ("POST", f"{place.path}/continue")
    assert (request.media_type, request.accept) == ("application/x-www-form-urlencoded", "text/event-stream")
    given = dict(parse_qsl((request.body or b"").decode(), strict_parsing=True, keep_blank_values=True))
    return {name: json.loads(text) if text[0] in "[{" else text for name, text in given.items()}


def answered(part: dict[str, Any], value: Any) -> dict[str, Any]:
    """A tool's execution, as it goes back to an agent."""
    (told,) = sent(agent_run(part), {"q1": value})["tools"]
    return {name: told[name] for name in told if part.get(name) != told[name]}


def misfits(part: dict[str, Any], value: Any) -> str:
    with pytest.raises((UnsupportedInput, InvalidAnswer)) as error:
        sent(agent_run(part), {"q1": value})
    return error.value.message


# The session


def test_a_session_whose_run_is_paused_is_interrupted() -> None:
    asked, thread = look(AGNO, {LIST: [listed()], at(HELPER): agent_run(confirmation())})
    assert asked == [LIST, at(HELPER)]
    assert (thread.status, thread.agent_id, thread.run_id) == ("interrupted", "helper", "r1")
    (question,) = thread.interrupts
    assert question.id == "q1"
    assert question.value == {"kind": "confirmation", "tool_name": "deploy", "tool_args": {"to": "prod"}}


def test_one_without_open_runs_is_idle() -> None:
    assert look(AGNO, {LIST: []})[1] == Found("idle", context=AgnoContext())


@pytest.mark.parametrize("status", ["RUNNING", "PENDING"])
def test_one_with_a_run_that_goes_on_is_busy_whatever_else_waits(status: str) -> None:
    asked, thread = look(AGNO, {LIST: [listed(), listed(status, "r2", created_at="t2")]})
    assert (asked, thread.status, thread.run_id) == ([LIST], "busy", "r2")


def test_a_run_that_went_on_meanwhile_makes_it_busy() -> None:
    assert look(AGNO, {LIST: [listed()], at(HELPER): agent_run(status="RUNNING")})[1].status == "busy"


def test_runs_of_a_teams_members_are_part_of_the_teams() -> None:
    """A member's run stays paused while the team goes on with it."""
    member, team = listed(run_id="m", parent_run_id="r1"), listed(agent_id=None, team_id="crew")
    asked, thread = look(AGNO, {LIST: [member, team], at(CREW): agent_run(confirmation())})
    assert (asked[1:], thread.agent_id) == ([at(CREW)], "crew")


def test_a_run_of_nobody_is_not_understood() -> None:
    assert refused(AGNO, {LIST: [listed(agent_id=None)]}).code == "upstream_unrecognised"


def test_an_unknown_session_is_404() -> None:
    gone = answer({"detail": "Session with ID x not found"}, 404)
    assert refused(AGNO, {LIST: gone}).code == "thread_not_found"


def test_of_several_databases_one_has_to_be_named() -> None:
    several = {"detail": "The db_id query parameter is required when using multiple databases"}
    assert "option `db_id`" in refused(AGNO, {LIST: answer(several, 400)}).message
    asked, _ = look(Agno(db_id="a b"), {f"{LIST}&db_id=a%20b": []})
    assert asked == [f"{LIST}&db_id=a%20b"]
    assert Agno(db_id="x").delete(resume()) == Request("DELETE", f"/sessions/{THREAD}?db_id=x")


# Whose question it is


def test_the_agent_that_asks_may_be_named() -> None:
    server = {LIST: [listed()], at(HELPER): agent_run(confirmation())}
    assert look(AGNO, server, agent_id="helper")[1].interrupts


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "agent_not_found"), (200, "invalid_request"), (403, "forbidden"), (500, "upstream_error")],
)
def test_another_agent_is_refused(status: int, code: str) -> None:
    server = {LIST: [listed()], **{f"GET /{kind}/x": answer({}, 404) for kind in ("workflows", "teams")}}
    assert refused(AGNO, {**server, "GET /agents/x": answer({}, status)}, agent_id="x").code == code


def test_after_a_run_nobody_is_asked_who_it_was() -> None:
    server = {LIST: [listed()], at(HELPER): agent_run(confirmation())}
    assert look(AGNO, server, full=False, agent_id="x")[1].interrupts


# Several runs that are paused


TWO = {
    LIST: [listed(), listed(run_id="r2", created_at="t2")],
    at(HELPER): agent_run(confirmation()),
    at(Place("agents", "helper", "r2")): {"status": "PAUSED", "requirements": requires(confirmation(), id="p1")},
}


def test_all_questions_are_told() -> None:
    assert [each.id for each in look(AGNO, TWO)[1].interrupts] == ["q1", "p1"]


@pytest.mark.parametrize("named", [{"interrupt_id": "p1", "input": True}, {"input": {"p1": True}}])
def test_the_run_is_the_one_whose_question_is_named(named: dict[str, Any]) -> None:
    _, thread = look(AGNO, TWO, **named)
    assert ([each.id for each in thread.interrupts], thread.run_id) == (["p1"], "r2")


def test_answers_to_both_are_refused() -> None:
    with pytest.raises(MultipleInterrupts):
        AGNO.check(resume(), look(AGNO, TWO)[1], Answers({"q1": True, "p1": True}))


# What is no question


@pytest.mark.parametrize(
    "settled",
    [
        tool(requires_confirmation=False, confirmed=True),
        confirmation(confirmed=True),
        external(result=""),
        form(answered=True),
        confirmation(approval_type="required"),
    ],
)
def test_what_was_answered_or_is_for_an_administrator_is_none(settled: dict[str, Any]) -> None:
    server = {LIST: [listed()], at(HELPER): agent_run(settled)}
    error = refused(AGNO, server)
    assert (error.code, error.metadata) == ("thread_not_interrupted", {"thread_status": "interrupted"})
    after = look(AGNO, server, full=False)[1]
    assert (after.interrupts, after.breakpoint) == ((), True), "the run has not succeeded"


def test_a_workflow_that_stopped_at_an_error_asks_nothing() -> None:
    entry = listed(agent_id=None, workflow_id="flow")
    run = {"status": "PAUSED", "error_requirements": [{"step_id": "s1"}]}
    assert refused(AGNO, {LIST: [entry], at(FLOW): run}).code == "thread_not_interrupted"


def test_a_question_whose_time_is_over_is_a_breakpoint() -> None:
    """The server would take any answer, and do as the step says: a no becomes a yes."""
    late = workflow_run(step(requires_confirmation=True, timeout_at="2026-11-24T11:59:59+00:00"))
    thread = found(late, FLOW)
    assert (thread.interrupts, thread.breakpoint) == ((), True)
    assert sent(late, None, FLOW) == {"session_id": THREAD, "stream": "true"}
    early = workflow_run(step(requires_confirmation=True, timeout_at="2026-11-24T12:00:01+00:00"))
    assert found(early, FLOW).interrupts


# The request


def test_an_agents_tools_go_back_with_the_answer_in_them() -> None:
    assert sent(agent_run(confirmation()), {"q1": False}) == {
        "session_id": THREAD,
        "stream": "true",
        "background": "true",
        "tools": [confirmation(confirmed=False)],
    }


def test_a_teams_requirements_go_back_with_the_answer_in_both_their_places() -> None:
    """A team looks whether a requirement is settled, and at its tool for what was answered."""
    given = sent(
        agent_run(confirmation(), external(), form(field("n", "int"))), {"q1": True, "q2": "r", "q3": {"n": 1}}, CREW
    )
    first, second, third = given["requirements"]
    assert (first["confirmation"], first["tool_execution"]["confirmed"]) == (True, True)
    assert (second["external_execution_result"], second["tool_execution"]["result"]) == ("r", "r")
    assert third["user_input_schema"] == third["tool_execution"]["user_input_schema"] == [field("n", "int", 1)]
    assert third["tool_execution"]["answered"] is True
    assert given["background"] == "true"


def test_a_workflow_gets_its_history_as_well() -> None:
    before, now = step(requires_confirmation=True, confirmed=True), step(requires_confirmation=True)
    thread = found(workflow_run(before, now), FLOW)
    assert [each.id for each in thread.interrupts] == ["s1:2.0"], "the same step, another question"
    given = sent(workflow_run(before, now), {"s1:2.0": True}, FLOW)
    assert given == {"session_id": THREAD, "stream": "true", "step_requirements": [before, {**now, "confirmed": True}]}


def test_an_agent_in_a_workflow_asks_for_itself() -> None:
    run = workflow_run(step(requires_executor_input=True, executor_requirements=requires(confirmation(), tool())))
    (asked,) = sent(run, {"q1": True}, FLOW)["step_requirements"]
    first, second = asked["executor_requirements"]
    assert (first["tool_execution"]["confirmed"], second) == (True, {"id": "q2", "tool_execution": tool()})


# What a tool takes


@pytest.mark.parametrize("value", [True, False])
def test_a_confirmation_is_a_decision(value: bool) -> None:
    assert answered(confirmation(), value) == {"confirmed": value}


@pytest.mark.parametrize("note", [{}, {"confirmation_note": "too late"}])
def test_a_rejection_may_say_why(note: dict[str, str]) -> None:
    no = {"confirmed": False, **note}
    assert answered(confirmation(), no) == no


@pytest.mark.parametrize(
    "value",
    [
        *(None, 0, 1, "", "yes", [], {}),
        {"confirmed": 0, "confirmation_note": "x"},
        {"confirmed": True, "confirmation_note": "nobody would hear it"},
        {"confirmed": False, "confirmation_note": ""},
        {"confirmed": False, "confirmation_note": 5},
    ],
)
def test_anything_else_would_be_a_rejection(value: Any) -> None:
    misfits(confirmation(), value)


@pytest.mark.parametrize("value", ["", "text", [], [1, None]])
def test_the_result_of_what_ran_elsewhere_is_a_text_or_a_list(value: Any) -> None:
    assert answered(external(), value) == {"result": value}


@pytest.mark.parametrize("value", [None, True, 0, 1.5, {}, {"a": 1}])
def test_with_anything_else_the_run_would_fail(value: Any) -> None:
    misfits(external(), value)


def test_a_form_is_filled_in_by_the_names_of_its_fields() -> None:
    part = form(field("to", value="prod"), field("n", "int"))
    assert answered(part, {"n": 2}) == {
        "user_input_schema": [field("to", value="prod"), field("n", "int", 2)],
        "answered": True,
    }
    assert answered(part, {"n": 2, "to": "test"})["user_input_schema"][0]["value"] == "test"


@pytest.mark.parametrize("value", [None, [], "x", {}, {"to": "test"}, {"n": 1, "other": 2}])
def test_its_empty_fields_are_all_needed_and_there_are_no_others(value: Any) -> None:
    misfits(form(field("to", value="prod"), field("n", "int")), value)


FITS: dict[str, list[Any]] = {
    "str": ["", "x", "a\0b"],
    "int": [0, -(2**70)],
    "float": [1.0, -0.5],
    "bool": [True, False],
    "list": [[], [None]],
    "dict": [{}, {"a": "null"}],
}


@pytest.mark.parametrize("type_", FITS)
def test_a_field_takes_values_of_its_type_alone(type_: str) -> None:
    """Others are converted, where that can be done: true becomes 1, 1 becomes 1.0."""
    for kind, values in FITS.items():
        for value in [*values, *([None] if kind == "str" else [])]:
            part = form(field("x", type_))
            if kind == type_ and value is not None:
                assert answered(part, {"x": value})["user_input_schema"] == [field("x", type_, value)]
            else:
                assert "type" in misfits(part, {"x": value})


@pytest.mark.parametrize("value", [None, 1, {"a": []}])
def test_a_field_of_another_type_takes_any(value: Any) -> None:
    assert answered(form(field("x", "Any")), {"x": value})


@pytest.mark.parametrize("word", ["null", "None", " TRUE\n", "false"])
def test_a_text_that_would_be_turned_into_what_it_says_is_refused(word: str) -> None:
    assert "other words" in misfits(form(field("x")), {"x": word})


@pytest.mark.parametrize("value", ["null", 5, None])
def test_a_form_that_the_model_itself_made_takes_anything(value: Any) -> None:
    assert answered(form(field("x"), tool_name="get_user_input"), {"x": value})


def test_a_choice_is_a_list_of_labels() -> None:
    (asked,) = found(agent_run(feedback())).interrupts
    assert asked.value["kind"] == "user_feedback"
    given = answered(feedback(), {"Which?": ["red"]})
    assert (given["answered"], given["user_feedback_schema"][0]["selected_options"]) == (True, ["red"])
    assert answered(feedback(multi=True), {"Which?": ["red", "other"]})


@pytest.mark.parametrize("value", [None, ["red"], {}, {"Which?": "red"}, {"Which?": [1]}, {"Which?": ["a", "b"]}])
def test_and_nothing_else(value: Any) -> None:
    misfits(feedback(), value)


# What a step takes


CONFIRM = {"requires_confirmation": True}
REVIEW = {**CONFIRM, "requires_output_review": True, "step_output": {"content": "draft"}}
FORM = {
    "requires_user_input": True,
    "user_input_schema": [field("n", "int", required=True), field("x", "float", required=False)],
}
COLOUR = {"requires_user_input": True, "user_input_schema": [field("c", required=False, allowed_values=["red"])]}
ROUTE = {"requires_route_selection": True, "available_choices": ["left", "right"]}


def decided(about: dict[str, Any], value: Any) -> dict[str, Any]:
    """What an answer changes in a step."""
    part = step(**about)
    (told,) = sent(workflow_run(part), {"s1:1.0": value}, FLOW)["step_requirements"]
    return {name: told[name] for name in told if part.get(name, ...) != told[name]}


@pytest.mark.parametrize(
    ("about", "value", "change"),
    [
        (CONFIRM, True, {"confirmed": True}),
        (CONFIRM, {"confirmed": False}, {"confirmed": False}),
        ({**CONFIRM, "on_reject": "retry"}, {"confirmed": False, "rejection_feedback": "no"}, ...),
        (REVIEW, False, {"confirmed": False}),
        (REVIEW, {"confirmed": True, "edited_output": "better"}, ...),
        (FORM, {"n": 1}, {"user_input": {"n": 1}}),
        (FORM, {"n": 1, "x": 1, "more": [None]}, {"user_input": {"n": 1, "x": 1, "more": [None]}}),
        (COLOUR, {"c": None}, {"user_input": {"c": None}}),
        (COLOUR, {"c": "red"}, {"user_input": {"c": "red"}}),
        ({"requires_user_input": True}, {"any": {}}, {"user_input": {"any": {}}}),
        (ROUTE, ["left"], {"selected_choices": ["left"]}),
        ({**ROUTE, "allow_multiple_selections": True}, ["right", "left"], {"selected_choices": ["right", "left"]}),
        ({**CONFIRM, **FORM}, {"confirmed": True, "user_input": {"n": 1}}, ...),
    ],
)
def test_an_answer_that_fits_a_step(about: dict[str, Any], value: Any, change: Any) -> None:
    assert decided(about, value) == (value if change is ... else change)


@pytest.mark.parametrize(
    ("about", "values"),
    [
        (
            CONFIRM,
            [None, 0, "", "yes", [], {}, {"confirmed": 1}, {"confirmed": False, "rejection_feedback": "unheard"}],
        ),
        ({**CONFIRM, "on_reject": "retry"}, [{"confirmed": True, "rejection_feedback": "why?"}]),
        ({**CONFIRM, "on_reject": "retry"}, [{"confirmed": False, "rejection_feedback": ""}]),
        (REVIEW, [{"confirmed": False, "edited_output": "x"}, {"confirmed": True, "edited_output": 5}]),
        (FORM, [None, 5, [], {}, {"x": 1.5}, {"n": None}, {"n": True}, {"n": 1.0}, {"n": 1, "x": "1"}]),
        (COLOUR, [{}, {"c": "green"}]),
        (ROUTE, [None, "left", [], ["up"], ["left", "right"], [1], {"left": 1}]),
        ({**CONFIRM, **FORM}, [True, {"n": 1}, {"confirmed": True}, {"confirmed": True, "user_input": {}}]),
    ],
)
def test_answers_that_do_not(about: dict[str, Any], values: list[Any]) -> None:
    for value in values:
        with pytest.raises((UnsupportedInput, InvalidAnswer)):
            decided(about, value)


@pytest.mark.parametrize(
    ("about", "kind"),
    [(CONFIRM, "confirmation"), (REVIEW, "output_review"), (FORM, "user_input"), (ROUTE, "route_selection")],
)
def test_a_question_says_what_it_takes(about: dict[str, Any], kind: str) -> None:
    (asked,) = found(workflow_run(step(**about)), FLOW).interrupts
    assert (asked.value["kind"], asked.value["step_name"]) == (kind, "deploy")


@pytest.mark.parametrize(
    ("part", "schema"),
    [
        (form(field("n", "int"), field("to", value="x"), field("any", "Any")), ["n", "any"]),
        (feedback(), ["Which?"]),
    ],
)
def test_a_tools_question_shows_a_schema_of_its_answer(part: Any, schema: list[str]) -> None:
    (asked,) = found(agent_run(part)).interrupts
    assert (asked.response_schema["type"], asked.response_schema["required"]) == ("object", schema)
    with pytest.raises(InvalidAnswer) as error:
        sent(agent_run(part), {"q1": {}})
    assert error.value.metadata["response_schema"] == asked.response_schema


def test_a_steps_question_shows_a_schema_of_its_answer_and_its_end() -> None:
    def asked(about: dict[str, Any]) -> Any:
        return found(workflow_run(step(**about)), FLOW).interrupts[0]

    assert asked(FORM).response_schema == {
        "type": "object",
        "properties": {"n": {"type": ["integer", "null"]}, "x": {"type": ["number", "null"]}},
        "required": ["n"],
    }
    assert asked(ROUTE).response_schema["items"] == {"enum": ["left", "right"]}
    assert asked({**CONFIRM, **FORM}).response_schema is None
    assert asked({**CONFIRM, "timeout_at": "2027-01-01T00:00:00+00:00"}).expires_at == "2027-01-01T00:00:00+00:00"


# Refusals


@pytest.mark.parametrize(
    ("status", "detail", "code"),
    [
        (409, "run is already completed", "thread_not_interrupted"),
        (409, "run is already running", "thread_busy"),
        (409, "run has errored", "thread_not_interrupted"),
        (409, "Run is settling between execution legs; retry in a moment", "thread_busy"),
        (409, "Run r1 was submitted through the durable queue; continue it with background=true", "invalid_request"),
        (409, "Run was submitted non-streaming; poll run r1 instead of attaching a stream", "invalid_request"),
        (404, "Workflow not found", "agent_not_found"),
        (404, "Run not found", "thread_not_found"),
        (403, "This run requires admin approval before it can be continued", "forbidden"),
        (400, "Invalid structure or content for tools", "invalid_request"),
    ],
)
def test_a_refusal_means_what_it_says(status: int, detail: str, code: str) -> None:
    error: ResumeError = AGNO.refusal(answer({"detail": detail}, status))
    assert error.code == code


def event(name: str, **more: Any) -> dict[str, Any]:
    return {"event": name, "run_id": "r1", "agent_id": "helper", **more}


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(sse.encode(each["event"], each) for each in events)


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (event("TeamRunError", content="No runs found for run ID r1"), "thread_not_interrupted"),
        (event("WorkflowError", error="Cannot continue a run that is not paused."), "thread_not_interrupted"),
        (event("WorkflowError", error="Cannot continue run - unresolved step requirements: ['x']"), "invalid_request"),
        (event("RunError", content="the database is gone"), "upstream_error"),
    ],
)
def test_a_failure_before_all_other_events_is_a_refusal(first: dict[str, Any], code: str) -> None:
    error = AGNO.refused(resume(), Response(200, (), stream(first)))
    assert error is not None
    assert error.code == code


@pytest.mark.parametrize("head", [b"", b": keepalive\n\n", b"data: 5\n\n", stream(event("RunContinued"))])
def test_anything_else_is_none(head: bytes) -> None:
    assert AGNO.refused(resume(), Response(200, (), head)) is None


# The run


def test_the_run_that_was_paused_goes_on() -> None:
    thread = found(agent_run(confirmation()))
    _, (narrowed, _) = follow(AGNO.prepare(resume(), thread, Answers({"q1": True})), {})
    started = AGNO.started(Response(200), b"", resume(), narrowed)
    assert started == Started("r1", "helper", "t1", context=narrowed.context)
    assert AGNO.location(resume(), started) == at(HELPER).removeprefix("GET ")
    assert AGNO.run(resume(), started) == Request.get(at(HELPER).removeprefix("GET "))
    assert AGNO.cancel(resume(), started) == Request("POST", "/agents/helper/runs/r1/cancel")
    joined = AGNO.join(resume(), started)
    assert joined is not None
    assert (joined.target, joined.body) == ("/agents/helper/runs/r1/resume", f"session_id={THREAD}".encode())


@pytest.mark.parametrize("place", [None, Place("agents", "helper", "another")])
def test_where_another_run_is_cannot_be_told(place: Place | None) -> None:
    started = Started("r1", context=AgnoContext(place=place))
    assert AGNO.run(resume(), started) is None
    assert AGNO.join(resume(), started) is None
    assert AGNO.location(resume(), started) is None


@pytest.mark.parametrize(
    ("status", "over"), [("RUNNING", False), ("PENDING", False), ("PAUSED", True), ("ERROR", True)]
)
def test_a_run_has_ended_when_it_does_not_go_on(status: str, over: bool) -> None:
    assert AGNO.has_ended(answer({"status": status})) is over


def told(*events: dict[str, Any], modes: tuple[str, ...] = ("values",)) -> tuple[list[tuple[str | None, Any]], Ended]:
    """The client's events, and how the run ended."""
    body = resume(Mode.STREAM, stream_mode=list(modes))
    reframer = AGNO.reframer(body, Started("r1", context=AgnoContext(place=HELPER)))
    raw = stream(*events)
    out = b"".join(reframer.feed(raw[start : start + 7]) for start in range(0, len(raw), 7)) + reframer.finish()
    assert reframer.between_events
    assert not reframer.over
    return [(each.name, each.json) for each in sse.Decoder().feed(out)], reframer.ended()


DONE = event("RunCompleted", content="done", session_state={"a": 1})


def test_a_run_that_completes_has_its_content_for_values() -> None:
    values = {"content": "done", "session_state": {"a": 1}}
    assert told(event("RunContinued"), DONE) == ([("values", values)], Ended(values))


def test_what_is_said_and_done_on_the_way() -> None:
    events = (
        event("RunContinued"),
        event("ToolCallCompleted", run_id="member", tool={"tool_name": "deploy", "result": "ok"}),
        event("RunContent", content=""),
        event("RunContent", content="do"),
        event("RunCompleted", run_id="member", content="not the end"),
        event("StepCompleted", step_name="one", content="x"),
        DONE,
    )
    seen, _ = told(*events, modes=("messages", "updates", "custom"))
    assert seen == [
        ("custom", events[0]),
        ("updates", {"deploy": "ok"}),
        ("messages", [{"role": "assistant", "content": "do"}, {"id": "r1", "name": "helper"}]),
        ("custom", events[4]),
        ("updates", {"one": "x"}),
        ("updates", {"helper": {"content": "done", "session_state": {"a": 1}}}),
    ]


def test_a_run_that_asks_again_tells_its_question() -> None:
    paused = event("TeamRunPaused", requirements=requires(confirmation()))
    ((name, value),), ended = told(paused)
    assert (name, value["__interrupt__"][0]["id"], ended) == ("values", "q1", Ended())


def test_a_workflow_that_asks_again_tells_itself_once_more_for_old_clients() -> None:
    paused = event("WorkflowPaused", step_requirements=[step(requires_confirmation=True)])
    seen, _ = told(paused, event("WorkflowRunOutput", status="PAUSED"), modes=("updates", "custom"))
    ((name, value),) = seen
    assert (name, value["__interrupt__"][0]["id"]) == ("updates", "s1:1.0")


def test_questions_of_before_are_not_told_by_a_run_that_is_joined() -> None:
    paused = event("RunPaused", requirements=requires(confirmation()))
    seen, _ = told(event("catch_up"), paused, event("subscribed"), event("RunContinued"), DONE)
    assert [name for name, _ in seen] == ["values"]
    assert "content" in seen[0][1]


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([event("RunError", content="boom", error_type="RuntimeError")], {"message": "boom", "type": "RuntimeError"}),
        ([event("WorkflowError", error="boom"), {"event": "WorkflowError", "error": "again"}], {"message": "boom"}),
        ([event("RunCancelled", reason="stop")], {"message": "stop", "type": "cancelled"}),
        ([event("WorkflowCancelled"), DONE], {"message": "The run was cancelled.", "type": "cancelled"}),
        ([{"event": "error", "error": "not in buffer"}], {"message": "not in buffer"}),
    ],
)
def test_a_run_that_fails_says_so_once(events: list[dict[str, Any]], error: dict[str, Any]) -> None:
    assert told(*events) == ([("error", error)], Ended(error=error))


def test_a_stream_that_does_not_say_how_the_run_ended_is_an_error() -> None:
    (seen,), ended = told(event("RunContinued"))
    assert (seen[0], seen[1]) == ("error", ended.error)
