"""LlamaIndex: the log of a run tells what it asks and whether it waits; the workflow tells which events it takes."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from ap_resume_shim.backends.llamaindex.dialect import LlamaIndex
from ap_resume_shim.backends.llamaindex.event_log import QUESTION_ID
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Answers, Dialect, Found, Started
from ap_resume_shim.core.errors import ConfigurationError, ResumeError, ResumeNotConsumed
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.steps import Ask, ReadUntilIdle, Step
from tests.backends.driving import THREAD, answer, follow, resume

LI = LlamaIndex()
HANDLER = f"GET /handlers/{THREAD}"
GRAPH, EVENTS = "GET /workflows/flow/representation", "GET /workflows/flow/events"
QUERY = "include_internal=true&include_qualified_name=false"
Event = dict[str, Any]


def log_after(number: int | str) -> str:
    return f"GET /events/{THREAD}?after_sequence={number}&{QUERY}"


LOG, NOW = log_after(-1), log_after("now")


def handler(status: str = "running", code: int = 200, **more: Any) -> Response:
    told = {"handler_id": THREAD, "workflow_name": "flow", "run_id": "r1", "status": status, "error": None}
    return answer({**told, "result": None, "started_at": "then", "updated_at": "now", **more}, code)


# Entries of a log, as the server writes them


def entry(kind: str, *types: str, **value: Any) -> Event:
    return {"type": kind, "types": list(types) or None, "value": value, "qualified_name": None}


def begins(name: str, takes: str = "StartEvent", worker: str = "0") -> Event:
    return _step(name, "running", takes, None, worker)


def ends(name: str, gave: str | None = None, worker: str = "0") -> Event:
    return _step(name, "not_running", "<class 'app.Any'>", gave and f"<class 'app.{gave}'>", worker)


def _step(name: str, state: str, takes: str, gave: str | None, worker: str) -> Event:
    change = {"name": name, "step_state": state, "input_event_name": takes, "output_event_name": gave}
    return entry("StepStateChanged", "InternalDispatchEvent", **change, worker_id=worker)


def asks(kind: str = "Question", **value: Any) -> Event:
    return entry(kind, "InputRequiredEvent", **value)


IDLE = entry("WorkflowIdleEvent", "InternalDispatchEvent")
UNHANDLED = entry("UnhandledEvent", "InternalDispatchEvent", event_type="Answer")
STOPS = entry("StopEvent", result={"answer": 1})
ASKED = [begins("ask"), ends("ask", "Question"), asks(prompt="sure?"), IDLE]
"""A step ended with a question: its entry is number 2."""
WAITING = [begins("ask"), ends("ask"), asks("InputRequiredEvent", _data={"prefix": "sure?"}), IDLE]
"""A step waits in its middle, and asked with the framework's own event."""


def written(*events: Event, start: int = 0) -> Response:
    blocks = [f"id: {n}\ndata: {strictjson.dumps(e).decode()}\n\n" for n, e in enumerate(events, start)]
    return answer(": heartbeat\n\n" + "".join(blocks))


# What a workflow declares


def declares(*fields: str, name: str = "Answer", required: bool = False, **types: Any) -> dict[str, Any]:
    properties = {field: {"title": field} for field in fields} | types
    return {"title": name, "type": "object", "properties": properties, "required": [*fields] if required else []}


def node(name: str, *types: str, given: tuple[str, ...] = ()) -> dict[str, Any]:
    chain = [name, *types]
    return {"id": name, "node_type": "event", "event_type": name, "event_types": chain, "produced_by": list(given)}


def edge(source: str, target: str) -> dict[str, Any]:
    return {"source": source, "target": target}


def graph(*events: dict[str, Any]) -> dict[str, Any]:
    steps = [{"id": step, "node_type": "step"} for step in ("ask", "answered")]
    taken = [edge(event["id"], "answered") for event in events if "InputRequiredEvent" not in event["event_types"]]
    nodes = [*steps, node("StartEvent"), *events, {"id": "external_step", "node_type": "external"}]
    return {"graph": {"nodes": nodes, "edges": [edge("StartEvent", "ask"), *taken]}}


QUESTION = node("Question", "InputRequiredEvent", given=("ask",))
ANSWER = node("Answer", "HumanResponseEvent")
START = declares(name="StartEvent")


def server(*events: Event, takes: tuple[dict[str, Any], ...] = (ANSWER,), **more: Any) -> dict[str, Any]:
    """A run that wrote these events; its workflow takes those in its graph."""
    listed = more.pop("listed", [declares("response")])
    told = {HANDLER: handler(), NOW: written(), log_after(len(events) - 1): written(), LOG: written(*events)}
    return {
        **told,
        GRAPH: graph(QUESTION, *takes),
        EVENTS: {"events": [START, declares(name="Question"), *listed]},
        **more,
    }


def look(
    responses: dict[str, Any], dialect: Dialect[Any] = LI, *, full: bool = True, **fields: Any
) -> tuple[list[str], Found[Any]]:
    return follow(peeked(dialect.inspect_thread(resume(**fields), full=full)), responses)


def peeked(flow: Generator[Step, Any, Any]) -> Generator[Step, Any, Any]:
    """A flow whose looks at the log are answered as other lookups are."""
    step = flow.send(None)
    try:
        while True:
            if isinstance(step, ReadUntilIdle):
                glance = step.request.target.startswith(NOW.removeprefix("GET "))
                assert (step.enough(b"id: 1"), step.enough(b"id: 1\ndata: {}")) == (False, glance)
                (answered,) = yield from Ask((step.request,))
            else:
                answered = yield step
            step = flow.send(answered)
    except StopIteration as ended:
        return ended.value


def found(*events: Event, dialect: Dialect[Any] = LI, **more: Any) -> Found[Any]:
    return look(server(*events, **more), dialect)[1]


def ids(thread: Found[Any]) -> list[str | None]:
    return [interrupt.id for interrupt in thread.interrupts]


def sent(thread: Found[Any], value: Any, dialect: LlamaIndex = LI, to: int = 0) -> Any:
    """The event that an answer becomes."""
    verdict = Answers({thread.interrupts[to].id: value})
    dialect.check(resume(), thread, verdict)
    request = dialect.resume(resume(), thread, verdict)
    assert (request.method, request.target) == ("POST", f"/events/{THREAD}")
    return request.json["event"]


def refused(thread: Found[Any], value: Any, dialect: LlamaIndex = LI) -> ResumeError:
    with pytest.raises(ResumeError) as error:
        sent(thread, value, dialect)
    return error.value


# The run


def test_a_run_that_waits_is_found_by_its_log() -> None:
    asked, thread = look(server(*ASKED))
    assert asked == [HANDLER, NOW, LOG, log_after(3), f"{GRAPH} + {EVENTS} + {HANDLER}"]
    assert (thread.status, thread.agent_id, thread.run_id, thread.updated_at) == ("interrupted", "flow", "r1", "now")
    question = {"id": "r1:2", "value": {"type": "Question", "value": {"prompt": "sure?"}}}
    assert [interrupt.as_json() for interrupt in thread.interrupts] == [question]


def test_after_a_run_nobody_asks_which_events_it_takes() -> None:
    asked, thread = look(server(*ASKED), full=False)
    assert (asked, ids(thread)) == ([HANDLER, NOW, LOG, log_after(3)], ["r1:2"])


def test_fields_that_are_not_declared_stand_apart_in_the_log() -> None:
    assert found(*WAITING).interrupts[0].value == {"type": "InputRequiredEvent", "value": {"prefix": "sure?"}}


def test_a_run_is_busy_until_the_log_says_that_it_waits() -> None:
    assert found().status == "busy"
    busy = found(*ASKED[:-1])
    assert (busy.status, ids(busy)) == ("busy", ["r1:2"])
    assert found(*ASKED, begins("answered", "Answer")).status == "busy"


@pytest.mark.parametrize(
    ("told", "status", "error"),
    [
        (handler("completed"), "idle", None),
        (handler("failed", 500, error="boom"), "error", "boom"),
        (handler("cancelled", 500), "error", "The run was cancelled."),
    ],
)
def test_a_run_that_is_over_is_told_by_its_handler(told: Response, status: str, error: str | None) -> None:
    asked, thread = look({HANDLER: told})
    assert (asked, thread.status, thread.error, thread.interrupts) == ([HANDLER], status, error, ())


def test_a_log_is_read_on_until_nothing_more_comes() -> None:
    """A busy server may pause in its midst, behind an older question too."""
    more = [begins("answered", "Answer"), ends("answered", "Question"), asks(), IDLE]
    asked, thread = look(server(*ASKED) | {log_after(3): written(*more, start=4), log_after(7): written()})
    assert (asked[2:5], ids(thread)) == ([LOG, log_after(3), log_after(7)], ["r1:6"])


def test_a_run_that_writes_just_now_is_busy() -> None:
    """It might go on without a pause."""
    asked, thread = look({HANDLER: handler(), NOW: written(entry("Progress"), start=9)})
    assert (asked, thread.status, thread.interrupts) == ([HANDLER, NOW], "busy", ())
    asked, thread = look(server(*ASKED) | {NOW: written(IDLE, start=3)})
    assert (asked[1:3], thread.status) == ([NOW, LOG], "interrupted")


def test_a_question_that_was_asked_while_the_log_was_read_counts_as_asked_of_a_busy_run() -> None:
    """The handler's `updated_at` changes when the run begins to wait."""
    assert not look(server(*ASKED))[1].moving
    meanwhile = iter([handler(updated_at="before"), handler()])
    thread = look(server(*ASKED) | {HANDLER: meanwhile})[1]
    assert (thread.status, thread.moving) == ("interrupted", True)


def test_past_questions_are_those_of_the_log() -> None:
    log = [*ASKED, begins("answered", "Answer"), ends("answered", "Question"), asks(), IDLE]
    assert ids(found(*log)) == ["r1:6"]
    assert found(*log).past_ids == {"r1:2", "r1:6"}
    assert QUESTION_ID.fullmatch("J4GNI5UpDi:12")
    assert not QUESTION_ID.fullmatch("answer")


def test_a_run_that_ends_meanwhile_is_looked_at_again() -> None:
    asked, thread = look({HANDLER: handler(), NOW: answer("", 204), LOG: written(*ASKED, STOPS)})
    assert (asked, thread.status) == ([HANDLER, NOW, LOG, HANDLER], "busy")


@pytest.mark.parametrize(
    ("event", "values"),
    [
        (STOPS, {"answer": 1}),
        (entry("StopEvent", result=5), {"result": 5}),
        (entry("StopEvent"), {"result": None}),
        (entry("Done", "StopEvent", report="x"), {"report": "x"}),
    ],
)
def test_values_are_what_the_last_event_holds(event: Event, values: Any) -> None:
    assert look({HANDLER: handler("completed", result=event)})[1].values == values


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({HANDLER: answer({"detail": "Handler not found"}, 404)}, "thread_not_found"),
        ({HANDLER: answer({"detail": "who?"}, 401)}, "unauthorized"),
        ({HANDLER: answer({"detail": "Internal server error: x"}, 500)}, "upstream_error"),
        ({HANDLER: answer({"detail": "Stored handler result cannot be decoded"}, 422)}, "upstream_error"),
        ({HANDLER: answer({"status": "odd"})}, "upstream_unrecognised"),
        ({HANDLER: handler(), NOW: answer({"detail": "Handler not found"}, 404)}, "thread_not_found"),
        ({HANDLER: handler(), NOW: answer("data: {}\n\n")}, "upstream_unrecognised"),
    ],
)
def test_what_cannot_be_read_is_an_error(told: dict[str, Any], code: str) -> None:
    with pytest.raises(ResumeError) as error:
        look(told)
    assert error.value.code == code


def test_an_agent_is_the_runs_own_workflow() -> None:
    assert look(server(*ASKED), agent_id="flow")[1].agent_id == "flow"
    for wanted, code in (("other", "invalid_request"), ("nobody", "agent_not_found")):
        with pytest.raises(ResumeError) as error:
            look({HANDLER: handler(), "GET /workflows": {"workflows": ["flow", "other"]}}, agent_id=wanted)
        assert error.value.code == code


# Which questions are open


def test_a_step_that_waits_wakes_up_itself() -> None:
    asked_again = [begins("ask"), ends("ask"), asks("InputRequiredEvent"), IDLE]
    assert ids(found(*WAITING, *asked_again)) == ["r1:6"]


def test_an_answer_wakes_the_step_that_takes_it() -> None:
    asked_again = [begins("answered", "Answer"), ends("answered", "Question"), asks(), IDLE]
    assert ids(found(*ASKED, *asked_again)) == ["r1:6"]


TWO = [begins("a"), begins("b"), ends("a"), asks("A"), ends("b"), asks("B"), IDLE]
BY_CLASS = LlamaIndex(event="A:AnswerA, B : AnswerB")


def test_of_two_questions_the_one_whose_step_woke_up_is_answered() -> None:
    assert ids(found(*TWO)) == ["r1:3", "r1:5"]
    assert ids(found(*TWO, begins("b"), ends("b", "Part"), IDLE)) == ["r1:3"]


def test_of_two_questions_the_one_is_answered_whose_event_woke_a_step() -> None:
    assert ids(found(*TWO, begins("on_b", "AnswerB"), ends("on_b"), IDLE, dialect=BY_CLASS)) == ["r1:3"]


def test_where_it_is_not_known_which_one_was_answered_both_stay() -> None:
    assert ids(found(*TWO, begins("on_any", "Answer"), ends("on_any"), IDLE)) == ["r1:3", "r1:5"]


def test_what_a_step_writes_in_its_course_it_writes_again_when_it_wakes_up() -> None:
    """Of two questions in one go it waits for the answer to the last."""
    gates = [begins("ask"), asks(n=1), ends("ask"), IDLE, begins("ask"), asks(n=1), asks(n=2), ends("ask"), IDLE]
    assert ids(found(*gates)) == ["r1:6"]


def test_what_a_step_wrote_stays_open_while_another_goes_on() -> None:
    steps = [begins("ask"), asks(n=1), ends("ask"), begins("other"), asks(n=2), ends("other"), IDLE]
    assert ids(found(*steps)) == ["r1:1", "r1:4"]


def test_who_wrote_a_question_is_not_known_while_several_steps_run() -> None:
    assert ids(found(begins("a"), begins("b"), asks(), asks(), ends("a"), ends("b"), IDLE)) == ["r1:2", "r1:3"]


def test_a_run_that_waits_in_silence_asks_nothing_and_takes_an_answer() -> None:
    thread = found(begins("ask"), ends("ask"), IDLE)
    assert [interrupt.as_json() for interrupt in thread.interrupts] == [{"id": "r1:2", "value": None}]
    assert sent(thread, 1) == {"type": "Answer", "value": {"response": 1}}


def test_an_event_that_nothing_took_leaves_the_question() -> None:
    assert ids(found(*ASKED, UNHANDLED, IDLE)) == ["r1:2"]


# The event


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, {"response": 1}, [{"_data": 1}]])
def test_an_answer_goes_into_the_only_field(value: Any) -> None:
    assert sent(found(*ASKED), value) == {"type": "Answer", "value": {"response": value}}


def test_the_frameworks_own_answer_declares_no_field() -> None:
    named = [declares(name="HumanResponseEvent"), declares(name="InputRequiredEvent")]
    thread = found(*WAITING, takes=(), listed=named)
    assert sent(thread, "yes") == {"type": "HumanResponseEvent", "value": {"response": "yes"}}


def test_an_event_of_several_fields_takes_an_object_of_them() -> None:
    thread = found(*ASKED, listed=[declares("approved", "why", required=True)])
    assert sent(thread, {"approved": 1, "why": "x"})["value"] == {"approved": 1, "why": "x"}
    assert refused(thread, "yes").message == "The event 'Answer' is an object with its fields: approved, why."
    assert (
        refused(thread, {"why": "x"}).message == "The event 'Answer' would not arrive unchanged: `approved` is missing."
    )
    assert refused(thread, {"approved": 1, "why": 2, "_data": {}}).code == "unsupported_input"


@pytest.mark.parametrize(
    ("kind", "fits", "does_not"),
    [
        ({"type": "boolean"}, [True], [1, "yes", None]),
        ({"type": "integer"}, [5], [True, "5", 5.5]),
        ({"type": "number"}, [5, 5.5], [False, "5"]),
        ({"type": "string"}, [""], [5, None]),
        ({"type": "object"}, [{}], [[]]),
        ({"type": "array", "items": {"type": "string"}}, [[], ["a"]], [["a", 1], {}]),
        ({"type": "array"}, [[1, "a"]], ["a"]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["a", None], [5]),
        ({"$ref": "#/$defs/Other"}, [1, "a"], []),
    ],
)
def test_what_the_server_would_change_or_refuse_is_not_sent(kind: Any, fits: list[Any], does_not: list[Any]) -> None:
    thread = found(*ASKED, listed=[declares(response=kind)])
    assert [sent(thread, value)["value"]["response"] for value in fits] == fits
    assert {refused(thread, value).code for value in does_not} <= {"unsupported_input"}


def test_options_name_the_event_and_its_field() -> None:
    named = LlamaIndex(event="Reply", field="text")
    assert sent(found(*ASKED, dialect=named), "x", named) == {"type": "Reply", "value": {"text": "x"}}
    whole = LlamaIndex(event="Reply, Question:Answer", field="*")
    assert sent(found(*ASKED, dialect=whole), {"a": 1}, whole) == {"type": "Answer", "value": {"a": 1}}
    assert refused(found(*ASKED, dialect=named), "x", LlamaIndex(event="Reply", field="*")).code == "unsupported_input"


def test_an_answer_may_repeat_fields_of_its_question() -> None:
    echo = LlamaIndex(echo="user, n")
    thread = found(
        begins("ask"), ends("ask"), asks(prompt="?", user="L"), IDLE, dialect=echo, listed=[declares("user", "x")]
    )
    assert sent(thread, "yes", echo)["value"] == {"user": "L", "x": "yes"}


@pytest.mark.parametrize("option", ["A:", ":B", "A,B", "A:B,,"])
def test_an_option_that_names_nothing_is_refused(option: str) -> None:
    with pytest.raises(ConfigurationError, match="Question:Answer"):
        LlamaIndex(event=option)


INNER, OTHER = node("Inner", given=("ask",)), node("Other")


@pytest.mark.parametrize(
    ("takes", "named", "wanted"),
    [
        ((INNER, ANSWER, OTHER), [], "Answer"),
        ((INNER, OTHER), [], "Other"),
        ((INNER,), ["Reply"], "Reply"),
        ((INNER, OTHER), ["Reply", "InputRequiredEvent"], "Reply"),
    ],
    ids=["people's answers first", "else what no step gives", "what only a waiting step takes", "before all others"],
)
def test_the_event_is_the_only_one_from_outside(takes: tuple[Any, ...], named: list[str], wanted: str) -> None:
    listed = [declares(name=name) for name in [*(event["id"] for event in takes), *named]]
    assert sent(found(*ASKED, takes=takes, listed=listed), 1)["type"] == wanted


@pytest.mark.parametrize(("names", "why"), [([], "declares none"), (["One", "Two"], "accepts several: One, Two")])
def test_an_event_that_cannot_be_told_is_not_guessed(names: list[str], why: str) -> None:
    error = refused(found(*ASKED, takes=(), listed=[declares(name=name) for name in names]), 1)
    assert (error.code, error.metadata["resume_state"]) == ("upstream_unrecognised", "not_sent")
    assert why in error.message


def test_one_of_several_questions_is_answered_if_its_event_is_its_own() -> None:
    thread = found(*TWO, dialect=BY_CLASS)
    assert sent(thread, 1, BY_CLASS, to=1) == {"type": "AnswerB", "value": {"response": 1}}
    assert refused(found(*TWO), 1).code == "ambiguous_interrupt"
    with pytest.raises(ResumeError) as error:
        BY_CLASS.check(resume(), thread, Answers(dict.fromkeys(ids(thread), 1)))
    assert error.value.code == "multiple_interrupts"


# Before and after


def test_from_the_verdict_on_it_is_about_one_question() -> None:
    thread = found(*TWO, dialect=BY_CLASS)
    _, (narrowed, _) = follow(BY_CLASS.prepare(resume(), thread, Answers({"r1:5": 1})), {})
    assert ids(narrowed) == ["r1:5"]


def explain_unconsumed(*more: Event) -> ResumeNotConsumed:
    before, now = found(*ASKED), look(server(*ASKED, *more), full=False)[1]
    error = LI.explain_unconsumed(before, now)
    assert isinstance(error, ResumeNotConsumed)
    return error


def test_an_answer_that_nobody_hears_is_told_by_the_log() -> None:
    assert LI.acceptance_unproven
    assert explain_unconsumed(UNHANDLED, IDLE).metadata == {"resume_state": "not_sent"}
    assert explain_unconsumed().metadata == {"resume_state": "unknown"}, "or not told at all"


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        (400, "Failed to deserialize event: 1 validation error for Answer", "invalid_request"),
        (404, "Handler not found", "thread_not_found"),
        (409, "Workflow already completed", "thread_not_interrupted"),
        (500, "Failed to send event: x", "upstream_error"),
    ],
)
def test_a_refusal_is_what_its_status_says(status: int, text: str, code: str) -> None:
    assert LI.refusal(answer({"detail": text}, status)).code == code


def test_a_run_goes_on_under_its_own_name() -> None:
    started = LI.started(answer({"status": "sent"}), b"", resume(), found(*ASKED))
    assert started is not None
    assert (started.run_id, started.agent_id, started.created_at) == ("r1", "flow", "then")
    path = f"/handlers/{THREAD}"
    assert LI.cancel(resume(), started) == Request("POST", f"{path}/cancel")
    assert LI.delete(resume()) == Request("POST", f"{path}/cancel?purge=true")
    assert (LI.location(resume(), started), LI.run(resume(), started)) == (path, Request.get(path))
    assert not LI.has_ended(handler())
    assert LI.has_ended(handler("failed", 500)) and LI.has_ended(answer("?"))


# The stream


def streamed(*events: Event, modes: Any = ("values", "updates", "custom", "messages"), told: bool = True) -> Any:
    """What a stream becomes, whether it is over, how it ended; without `told` nothing is known of the log before."""
    asked = resume(Mode.STREAM, stream_mode=list(modes))
    thread = found(*TWO, dialect=BY_CLASS)
    started = BY_CLASS.started(answer({}), b"", asked, thread) if told else Started("r1")
    assert started is not None
    joined = BY_CLASS.join(asked, started)
    assert joined is not None and f"GET {joined.target}" == log_after(6 if told else "now")
    reframer = BY_CLASS.reframer(asked, started)
    body = written(*events, start=7).body
    out = b"".join(reframer.feed(bytes([byte])) for byte in body) + reframer.finish()
    assert reframer.between_events
    return out.decode(), reframer.over, reframer.ended()


def test_a_stream_tells_steps_and_what_was_written_and_the_result() -> None:
    out, over, ended = streamed(begins("b"), entry("Progress", n=1), ends("b", "StopEvent"), STOPS)
    assert out == (
        'event: custom\ndata: {"type":"Progress","value":{"n":1}}\n\n'
        'event: updates\ndata: {"b":{"event":"StopEvent"}}\n\n'
        'event: values\ndata: {"answer":1}\n\n'
    )
    assert (over, ended) == (True, Ended({"answer": 1}))


def test_a_stream_ends_at_the_questions_that_are_open_then() -> None:
    out, over, ended = streamed(begins("b"), ends("b"), asks("C"), IDLE, begins("late"), modes=["values"])
    both = '[{"id":"r1:3","value":{"type":"A","value":{}}},{"id":"r1:9","value":{"type":"C","value":{}}}]'
    assert out == f'event: values\ndata: {{"__interrupt__":{both}}}\n\n'
    assert (over, ended) == (True, Ended())


def test_a_stream_is_not_over_before_anything_became_of_the_answer() -> None:
    assert streamed(entry("Progress"), modes=["values"]) == ("", False, Ended())
    assert streamed(UNHANDLED, modes=["values"]) == ("", True, Ended())


def test_a_stream_that_is_joined_later_has_no_past() -> None:
    out, over, _ = streamed(begins("b"), ends("b"), asks("C"), IDLE, told=False, modes=["updates"])
    assert "r1:9" in out and "r1:3" not in out
    assert over


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (entry("WorkflowFailedEvent", "StopEvent", exception={"exception_message": "boom"}), "boom"),
        (entry("WorkflowTimedOutEvent", "StopEvent", timeout=5.0), "Workflow timed out after 5.0s"),
        (entry("WorkflowCancelledEvent", "StopEvent"), "The run was cancelled."),
    ],
)
def test_a_run_that_fails_says_why(event: Event, text: str) -> None:
    out, over, ended = streamed(begins("b"), event, modes=["values"])
    assert out == f'event: error\ndata: {{"message":"{text}"}}\n\n'
    assert (over, ended) == (True, Ended(error=text))
