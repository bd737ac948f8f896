"""AG-UI: what is seen of a thread's runs is all that is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from ap_resume_shim.backends import known_fingerprints
from ap_resume_shim.backends.ag_ui.dialect import AgUi
from ap_resume_shim.backends.ag_ui.messages import ENFORCED, QUESTION_BYTES
from ap_resume_shim.backends.ag_ui.observer import SERVER
from ap_resume_shim.backends.ag_ui.stream import BROKE_OFF, AgUiStream
from ap_resume_shim.backends.detection import ServerMetadata as ServerTold
from ap_resume_shim.backends.detection import recognise
from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import Answers, Continue, Decision, Found, Started
from ap_resume_shim.core.errors import InterruptNotPending, ResumeError
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_schema import violations
from ap_resume_shim.core.protocol import Mode, StreamMode
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.steps import Ask, Entry, ReadLedger
from ap_resume_shim.core.verdict import judge
from tests.backends.driving import THREAD, answer, resume

UI = AgUi()
KEY = "16fe5a15848b85d16812b29fc68c70b0"
OTHER = "26fe5a15848b85d16812b29fc68c70b0"
STREAM = (("content-type", "text/event-stream; charset=utf-8"),)
STARTED = {"type": "RUN_STARTED", "threadId": THREAD, "runId": "r1"}
STEP, STEPPED = {"type": "STEP_STARTED", "stepName": "ask"}, {"type": "STEP_FINISHED", "stepName": "ask"}
FINISHED = {"type": "RUN_FINISHED", "threadId": THREAD, "runId": "r1"}
FAILED = {"type": "RUN_ERROR", "message": "it fails", "code": "X"}

ServerMetadata = Mapping[str, Any]


def on_interrupt(id_: str | None = KEY, value: Any = "sure?") -> ServerMetadata:
    """As LangGraph's adapter sends it; without an id, as the protocol has it."""
    raw = {} if id_ is None else {"rawEvent": {"value": value, "id": id_}}
    text = value if isinstance(value, str) else strictjson.dumps(value).decode()
    return {"type": "CUSTOM", "name": "on_interrupt", "value": text, **raw}


def outcome(*interrupts: ServerMetadata) -> ServerMetadata:
    return {**FINISHED, "outcome": {"type": "interrupt", "interrupts": list(interrupts)}}


def entry(id_: str = "q1", **more: Any) -> ServerMetadata:
    return {"id": id_, "reason": "confirm", **more}


def of_framework(response_type: str, schema: ServerMetadata, id_: str = "q1") -> ServerMetadata:
    about = {"type": "workflow_request_info", "response_type": response_type}
    return entry(id_, responseSchema=schema, metadata={"agent_framework": about})


def stream(*events: ServerMetadata) -> bytes:
    return b"".join(b"data: " + strictjson.dumps(event) + b"\n\n" for event in events)


def run(
    *events: ServerMetadata,
    id_: str = "r1",
    path: str = "/agent",
    status: int = 200,
    headers: tuple[tuple[str, str], ...] = STREAM,
    open_: bool = False,
    **body: Any,
) -> list[Any]:
    """What is noted of a run; with `open_`, while its stream goes on."""
    observer = UI.watch("POST", path)
    assert observer is not None
    observer.request(strictjson.dumps({"threadId": THREAD, "runId": id_, "messages": [], **body}))
    notes = [*observer.head(status, headers)]
    for event in events:
        notes += observer.feed(stream(event))
    if not open_:
        notes += observer.end(complete=True)
    assert all(kept == Entry({"path": path}) for thread, kept in notes if thread == SERVER)
    assert {thread for thread, _ in notes} <= {THREAD, SERVER}
    return [kept for thread, kept in notes if thread == THREAD]


def of_others(entries: Iterable[Entry]) -> list[Entry]:
    """Entries as another caller sees them."""
    return [Entry(kept.facts) for kept in entries]


def look(
    *runs: Iterable[Entry], status: int = 422, full: bool = True, seen: str | None = "/any", **fields: Any
) -> Found[Any]:
    """What a lookup finds after these runs, the oldest first.

    `status` is what an empty body is answered with; `seen` is the endpoint that a run of some thread went to.
    """
    noted = [kept for each in runs for kept in each]
    lookup = UI.inspect_thread(resume(**fields), full=full)
    assert next(lookup) == ReadLedger()
    try:
        step = lookup.send(list(reversed(noted)))
        if step == ReadLedger(SERVER):
            step = lookup.send([] if seen is None else [Entry({"newer": 1}), Entry({"path": seen})])
        assert isinstance(step, Ask)
        assert [(one.method, one.body) for one in step.requests] == [("POST", b"{}")]
        lookup.send((answer({"detail": "no"}, status),))
    except StopIteration as ended:
        found: Found[Any] = ended.value
        return found
    raise AssertionError("it asks twice at most")


def refused(*runs: Iterable[Any], **fields: Any) -> ResumeError:
    with pytest.raises(ResumeError) as error:
        look(*runs, **fields)
    return error.value


def sent(found: Found[Any], verdict: Decision, **fields: Any) -> dict[str, Any]:
    """The body of the run that resumes."""
    asked = resume(**fields)
    UI.check(asked, found, verdict)
    body: dict[str, Any] = UI.resume(asked, found, verdict).json
    return body


def cannot(found: Found[Any], verdict: Decision) -> str:
    with pytest.raises(ResumeError) as error:
        UI.check(resume(), found, verdict)
    return error.value.code


def answering(*ids: str, way: str = "map") -> dict[str, Any]:
    """The part of a run's request that answers these questions."""
    if way == "entries":
        return {"resume": [{"interruptId": id_, "status": "resolved", "payload": 1} for id_ in ids]}
    return {"forwardedProps": {"command": {"resume": dict.fromkeys(ids, 1)}}}


ASKED = run(STARTED, STEP, on_interrupt(), FINISHED)
ASKED_BY_ENTRY = run(STARTED, STEP, outcome(entry()))


# The thread


def test_without_an_entry_nothing_is_guessed() -> None:
    error = refused()
    assert (error.code, error.metadata) == ("thread_not_interrupted", {"thread_status": "unknown"})
    assert "No recent run" in error.message


def test_a_run_that_was_refused_tells_nothing_of_a_thread() -> None:
    assert refused(run(STARTED, FAILED)).code == "thread_not_interrupted"
    assert look(ASKED, run(STARTED, FAILED, id_="r2", path="/other")).interrupts == (Interrupt(KEY, "sure?"),)


def test_a_question_of_langgraph_is_found_by_its_own_id() -> None:
    found = look(ASKED)
    assert (found.status, found.interrupts, found.run_id) == ("interrupted", (Interrupt(KEY, "sure?"),), "r1")
    assert found.agent_id == "agent"


@pytest.mark.parametrize("value", ["text", "{", {"a": [1]}, None])
def test_a_question_without_an_id_is_read_from_its_text(value: Any) -> None:
    assert look(run(STARTED, on_interrupt(None, value), FINISHED)).interrupts == (Interrupt(None, value),)


def test_a_value_that_is_no_text_is_taken_as_it_is() -> None:
    event = {"type": "CUSTOM", "name": "on_interrupt", "value": {"a": 1}}
    assert look(run(STARTED, event, FINISHED)).interrupts == (Interrupt(None, {"a": 1}),)


def test_an_outcome_counts_before_the_events() -> None:
    of_langgraph = entry(KEY, metadata={"langgraph": {"raw": {"q": 1}}})
    assert look(run(STARTED, on_interrupt(), outcome(of_langgraph))).interrupts == (Interrupt(KEY, {"q": 1}),)
    assert look(ASKED_BY_ENTRY).interrupts == (Interrupt("q1", {"reason": "confirm"}),)
    assert look(run(STARTED, on_interrupt(), {**FINISHED, "outcome": {"type": "success"}})).interrupts


def test_questions_that_say_too_much_are_remembered_without_it() -> None:
    assert look(run(STARTED, outcome(entry(message="x" * QUESTION_BYTES)))).interrupts == (Interrupt("q1", None),)


def test_a_run_that_ends_without_a_question_leaves_the_thread_idle() -> None:
    assert look(ASKED, run(STARTED, STEP, FINISHED, id_="r2", **answering(KEY))).status == "idle"


def test_a_running_thread_shows_no_question_that_was_asked_before() -> None:
    """LangGraph's second question of a step has the id of the first: it may not pass for it."""
    found = look(ASKED, run(id_="r2", open_=True, **answering(KEY)))
    assert (found.status, [interrupt.id for interrupt in found.interrupts]) == ("busy", ["of run r2"])
    assert look(run(STARTED, open_=True)).status == "busy"


def test_a_thread_is_busy_until_the_stream_is_over_and_shows_what_was_asked() -> None:
    found = look(run(STARTED, STEP, on_interrupt(), FINISHED, open_=True))
    assert (found.status, found.interrupts) == ("busy", (Interrupt(KEY, "sure?"),))


def test_of_two_runs_at_once_the_one_that_goes_on_counts() -> None:
    found = look(ASKED, run(id_="r2", open_=True, **answering(KEY)), run(STARTED, on_interrupt(), FINISHED, id_="r3"))
    assert found.status == "busy"


def test_an_answer_whose_step_failed_is_kept_by_langgraph_alone() -> None:
    failed = run(STARTED, STEP, FAILED, id_="r2", **answering(KEY))
    found = look(ASKED, failed)
    assert (found.status, found.interrupts, found.answered) == ("error", (), (Interrupt(KEY, "sure?"),))
    assert found.error == {"code": "X", "message": "it fails"}
    again = look(ASKED, failed, run(STARTED, on_interrupt(), FINISHED, id_="r3"))
    assert (again.interrupts, again.answered) == ((), (Interrupt(KEY, "sure?"),)), "it asks again, and does not mean it"
    found = look(ASKED_BY_ENTRY, run(STARTED, STEP, FAILED, id_="r2", **answering("q1", way="entries")))
    assert (found.status, found.interrupts, found.answered) == ("error", (), ())


def test_of_two_questions_the_other_stays_when_a_step_fails() -> None:
    both = run(STARTED, on_interrupt(), on_interrupt(OTHER, "and?"), FINISHED)
    found = look(both, run(STARTED, STEP, FAILED, id_="r2", **answering(KEY)))
    assert (found.interrupts, found.answered) == ((Interrupt(OTHER, "and?"),), (Interrupt(KEY, "sure?"),))


def test_an_answer_without_an_id_is_that_of_the_one_question() -> None:
    asked = run(STARTED, on_interrupt(None), FINISHED)
    failed = run(STARTED, STEP, FAILED, id_="r2", forwardedProps={"command": {"resume": "yes"}})
    assert look(asked, failed).answered == (Interrupt(None, "sure?"),)


def test_an_answer_whose_step_was_stopped_is_forgotten_by_langgraph_alone() -> None:
    def left(*events: ServerMetadata, **body: Any) -> Found[Any]:
        kept = ASKED_BY_ENTRY if "resume" in body else ASKED
        return look(kept, run(STARTED, *events, id_="r2", **body))

    assert left(STEP, **answering(KEY)).status == "interrupted"
    assert left(STEP, STEPPED, **answering(KEY)).status == "error"
    assert left(STEP, **answering("q1", way="entries")).status == "error"
    assert look(ASKED_BY_ENTRY, run(STARTED, id_="r2")).status == "interrupted", "a run that answers nothing"


def test_agent_framework_names_threads_and_runs_itself_where_the_client_does_not() -> None:
    assert look(run(STARTED, outcome(entry()), threadId=None, runId=None)).run_id == "r1"


@pytest.mark.parametrize(
    "passed",
    [
        run(STARTED, on_interrupt(), FINISHED, headers=(("content-type", "application/json"),)),
        run(STARTED, on_interrupt(), FINISHED, status=422),
        run(STARTED, on_interrupt(), FINISHED, messages="none"),
    ],
)
def test_what_is_no_stream_of_a_run_tells_nothing(passed: list[Any]) -> None:
    assert not passed


def test_a_body_that_is_not_json_tells_nothing() -> None:
    observer = UI.watch("POST", "/")
    assert observer is not None
    observer.request(b"{")
    assert not [*observer.head(200, STREAM), *observer.feed(stream(STARTED)), *observer.end(complete=True)]


def test_comments_and_repetitions_tell_nothing() -> None:
    observer = UI.watch("POST", "/")
    assert observer is not None
    observer.request(strictjson.dumps({"threadId": THREAD, "runId": "r1", "messages": []}))
    repeated = stream({"type": "RAW", "event": "RUN_FINISHED"})
    assert not [*observer.head(200, STREAM), *observer.feed(b": keepalive\n\n" + repeated)]


def test_one_path_may_be_named() -> None:
    named = AgUi(path="agent/")
    assert named.watch("POST", "/agent") is not None
    assert named.watch("POST", "/other") is None
    assert UI.watch("GET", "/agent") is None


def test_another_caller_learns_nothing_of_a_thread() -> None:
    unknown = refused()
    for theirs in (of_others(ASKED), of_others(run(open_=True))):
        error = refused(theirs)
        assert (error.code, error.message, error.metadata) == (unknown.code, unknown.message, unknown.metadata)


@pytest.mark.parametrize("status", [401, 403, 429])
def test_who_is_not_let_in_does_not_learn_whether_there_is_such_a_thread(status: int) -> None:
    answers = [refused(entries, status=status) for entries in ([], of_others(ASKED), ASKED)]
    assert {error.http_status for error in answers} == {status}
    assert refused(status=404).code == "thread_not_interrupted", "the endpoint of another thread may be gone"
    assert refused(seen=None, status=status).code == "thread_not_interrupted", "no endpoint is known"


def test_facts_of_a_thread_count_whoever_did_it() -> None:
    answered_by_other = of_others(run(STARTED, STEP, FINISHED, id_="r2", **answering(KEY)))
    assert look(ASKED, answered_by_other).status == "idle"
    assert look(ASKED, of_others(run(id_="r2", open_=True, **answering(KEY)))).status == "busy"
    failed = look(ASKED, of_others(run(STARTED, STEP, FAILED, id_="r2", **answering(KEY))))
    assert (failed.answered, failed.error) == ((Interrupt(KEY, "sure?"),), {"message": "The thread's last run failed."})


def test_a_question_that_was_asked_of_another_caller_is_none_of_this_one() -> None:
    asked_other = of_others(run(STARTED, on_interrupt(OTHER, "theirs?"), FINISHED, id_="r2"))
    assert refused(ASKED, asked_other).code == "thread_not_interrupted"
    after = look(ASKED, asked_other, full=False)
    assert (after.status, after.interrupts) == ("idle", ()), "after a run of one's own, that is no failure"
    asked_again = run(STARTED, on_interrupt(OTHER, "mine?"), FINISHED, id_="r3")
    assert look(ASKED, asked_other, asked_again).interrupts == (Interrupt(OTHER, "mine?"),)


def test_ids_of_questions_are_remembered() -> None:
    asked_other = of_others(run(STARTED, on_interrupt(OTHER), FINISHED, id_="r2"))
    assert look(ASKED, asked_other, ASKED_BY_ENTRY).past_ids == {KEY, OTHER, "q1"}


TOMORROW: list[Any] = [
    Entry({}),
    Entry({"run": 1, "begun": True}, {}),
    Entry(
        {"run": "r9", "path": "/agent", "resumed": False, "end": "finished", "questions": [{"id": "q", "way": "new"}]}
    ),
    Entry({"run": "r9", "path": "/agent", "resumed": False, "end": "finished", "questions": 1}, {"values": 1}),
    Entry({"run": "r9", "path": "/agent", "resumed": "no", "end": "finished", "questions": []}),
    Entry({"what": "of a kind that is not known yet"}, "contents"),
]


@pytest.mark.parametrize("entry", TOMORROW, ids=repr)
def test_an_entry_that_cannot_be_read_is_skipped(entry: Entry) -> None:
    assert look(ASKED, [entry]).interrupts == (Interrupt(KEY, "sure?"),)


def test_fields_of_tomorrow_are_ignored() -> None:
    richer = [Entry({**kept.facts, "new": 1}, {**kept.contents, "new": {}}) for kept in ASKED]
    for kept in richer:
        for question in kept.facts.get("questions", []):
            question["new"] = [1]
    assert look(richer) == look(ASKED)


def test_contents_of_another_shape_are_left_out() -> None:
    odd = [Entry(kept.facts, {"values": 1, "sent": [], "history": {}}) for kept in ASKED]
    found = look(odd)
    assert found.interrupts == (Interrupt(KEY, None),)
    assert sent(found, Answers({KEY: 1}))["state"] == {}


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "unauthorized"), (403, "forbidden"), (404, "agent_not_found"), (429, "rate_limited")],
)
def test_who_may_not_run_the_agent_does_not_learn_what_it_asked(status: int, code: str) -> None:
    assert refused(ASKED, status=status).code == code


def test_after_a_run_the_ledger_tells_it_all() -> None:
    assert look(ASKED, full=False).status == "interrupted"


def test_an_agent_is_named_by_its_path() -> None:
    assert look(ASKED, agent_id="agent").status == "interrupted"
    assert refused(ASKED, agent_id="nobody").code == "agent_not_found"


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({"$ref": "#/components/schemas/RunAgentInput"}, "ag-ui"),
        ({"title": "RunAgentInput", "type": "object"}, "ag-ui"),
        ({"$ref": "#/components/schemas/AGUIRequest"}, "ag-ui"),
        ({}, None),
    ],
)
def test_a_server_is_recognised_by_what_one_of_its_routes_takes(schema: ServerMetadata, name: str | None) -> None:
    route = {"requestBody": {"content": {"application/json": {"schema": schema}}}}
    none = Response(404)
    told = ServerTold(none, answer({"paths": {"/agents/any": {"post": route, "get": {}}}}), none)
    if name is None:
        with pytest.raises(ResumeError):
            recognise(told, known_fingerprints())
    else:
        assert recognise(told, known_fingerprints()) == name


# The resume


def test_langgraphs_questions_are_answered_by_their_ids_in_the_older_place() -> None:
    body = sent(look(ASKED), Answers({KEY: None}))
    assert body["forwardedProps"] == {"command": {"resume": {KEY: None}}}
    assert (body["threadId"], body["messages"], body["tools"], body["context"]) == (THREAD, [], [], [])
    assert "resume" not in body


def test_without_an_answer_langgraph_goes_on_with_those_that_it_has() -> None:
    found = look(ASKED, run(STARTED, STEP, FAILED, id_="r2", **answering(KEY)))
    assert sent(found, Continue())["forwardedProps"] == {"command": {"resume": {}}}


def test_some_of_langgraphs_questions_may_be_answered() -> None:
    both = look(run(STARTED, on_interrupt(), on_interrupt(OTHER), FINISHED))
    assert sent(both, Answers({OTHER: 1}))["forwardedProps"] == {"command": {"resume": {OTHER: 1}}}


@pytest.mark.parametrize(("given", "on_the_wire"), [("12", '"12"'), (12, 12), (False, False), ({"a": 1}, {"a": 1})])
def test_a_question_without_an_id_gets_text_as_json(given: Any, on_the_wire: Any) -> None:
    found = look(run(STARTED, on_interrupt(None), FINISHED))
    assert sent(found, Answers({None: given}))["forwardedProps"] == {"command": {"resume": on_the_wire}}


@pytest.mark.parametrize("given", [None, {}, {KEY: 1}])
def test_what_is_taken_for_something_else_is_no_bare_answer(given: Any) -> None:
    found = look(run(STARTED, on_interrupt(None), FINISHED))
    assert cannot(found, Answers({None: given})) == "unsupported_input"


def test_other_questions_are_answered_by_entries() -> None:
    body = sent(look(ASKED_BY_ENTRY), Answers({"q1": None}))
    assert body["resume"] == [{"interruptId": "q1", "status": "resolved", "payload": None}]


def test_all_entries_are_answered_at_once() -> None:
    found = look(run(STARTED, outcome(entry("q1"), entry("q2"))))
    assert cannot(found, Answers({"q1": 1})) == "multiple_interrupts"
    assert [one["interruptId"] for one in sent(found, Answers({"q2": 2, "q1": 1}))["resume"]] == ["q1", "q2"]


@pytest.mark.parametrize(
    ("type_", "schema", "given", "on_the_wire"),
    [
        ("Any", {"description": "…"}, "12", '"\\"12\\""'),
        ("Any", {"description": "…"}, [None], [None]),
        ("str", {"type": "string"}, "12", '"12"'),
        ("bool", {"type": "boolean"}, False, False),
        ("dict", {"type": "object"}, {"a": None}, {"a": None}),
    ],
)
def test_agent_framework_reads_text_as_json_once_or_twice(
    type_: str, schema: ServerMetadata, given: Any, on_the_wire: Any
) -> None:
    found = look(run(STARTED, outcome(of_framework(type_, schema))))
    assert sent(found, Answers({"q1": given}))["resume"][0]["payload"] == on_the_wire


def test_agent_framework_drops_null() -> None:
    found = look(run(STARTED, outcome(of_framework("Any", {}))))
    assert cannot(found, Answers({"q1": None})) == "unsupported_input"


def test_an_answer_of_another_type_is_refused() -> None:
    found = look(run(STARTED, outcome(of_framework("str", {"type": "string"}))))
    assert cannot(found, Answers({"q1": 1})) == "invalid_answer"


@pytest.mark.parametrize(
    ("schema", "fit", "unfit"),
    [
        ({"type": "string"}, "", 1),
        ({"type": "boolean"}, False, 0),
        ({"type": "integer"}, 1, True),
        ({"type": "number"}, 1.5, "1"),
        ({"type": "array"}, [], {}),
        ({"type": "object", "required": ["a"]}, {"a": 1}, {}),
        ({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"b": 1}, {"c": 1}),
        ({"properties": {"a": {"type": "boolean"}}}, {"a": True}, {"a": 1}),
        ({"type": "unheard of"}, 1, ...),
        (None, 1, ...),
    ],
)
def test_an_answer_fits_a_schema_as_far_as_adapters_look(schema: Any, fit: Any, unfit: Any) -> None:
    assert not violations(schema, fit, ENFORCED)
    assert unfit is ... or violations(schema, unfit, ENFORCED)


COLOUR = {"enum": ["red", "blue"], "type": "string"}


@pytest.mark.parametrize(
    "asked",
    [
        outcome(entry(responseSchema=COLOUR)),
        outcome(entry(KEY, responseSchema=COLOUR, metadata={"langgraph": {"raw": "which?"}})),
    ],
    ids=["any adapter", "LangGraph's"],
)
def test_a_question_shows_the_schema_of_its_outcome(asked: ServerMetadata) -> None:
    assert look(run(STARTED, asked)).interrupts[0].response_schema == COLOUR


def test_langgraphs_own_schema_stands_in_the_event_alone() -> None:
    custom = dict(on_interrupt(value="which?"))
    custom["rawEvent"] = {**custom["rawEvent"], "response_schema": COLOUR}
    assert look(run(STARTED, custom, FINISHED)).interrupts == (Interrupt(KEY, "which?", COLOUR),)
    both = run(STARTED, custom, outcome(entry(KEY, metadata={"langgraph": {"raw": "which?"}})))
    assert look(both).interrupts == (Interrupt(KEY, "which?", COLOUR),)


def test_a_question_knows_when_its_time_ends() -> None:
    until = "2026-11-24T11:00:00Z"
    found = look(run(STARTED, outcome(entry(expiresAt=until))))
    assert found.interrupts[0].expires_at == until
    with pytest.raises(InterruptNotPending, match="expired at 2026-11-24T11:00:00Z"):
        judge(resume(input=1), found, UI)
    assert look(run(STARTED, outcome(entry(expiresAt=5, responseSchema="odd")))).interrupts[0].expires_at is None


def test_agent_framework_approves_or_rejects_all_calls_at_once() -> None:
    """As it was seen on the real server: of a mixture it hears neither, and takes no further answer."""
    about = {"type": "function_approval_request"}
    calls = [entry(id_, metadata={"agent_framework": about}) for id_ in ("q1", "q2")]
    asked = look(run(STARTED, outcome(*calls), messages=[{"role": "user", "content": "go"}]))
    yes, no = {"approved": True}, {"approved": False}
    assert cannot(asked, Answers({"q1": yes, "q2": no})) == "multiple_interrupts"
    for decision in (yes, no):
        assert len(sent(asked, Answers({"q1": decision, "q2": decision}))["resume"]) == 2


def test_a_resume_has_what_the_run_that_asked_had() -> None:
    given: dict[str, Any] = {"tools": [{"name": "t"}], "context": [{"value": "c"}], "state": {"s": 1}}
    asked = run(STARTED, outcome(entry()), **given, forwardedProps={"p": 1, "command": {"resume": 0}})
    body = sent(look(asked), Answers({"q1": 1}))
    assert {name: body[name] for name in given} == given
    assert body["forwardedProps"] == {"p": 1}
    later = run(STARTED, {"type": "STATE_SNAPSHOT", "snapshot": {"s": 2}}, outcome(entry()), **given)
    assert sent(look(later), Answers({"q1": 1}))["state"] == {"s": 2}
    body = sent(look(asked), Answers({"q1": 1}), state={"s": 3}, forwardedProps={"x": 1}, unknown=1)
    assert (body["state"], body["forwardedProps"], "unknown" in body) == ({"s": 3}, {"p": 1, "x": 1}, False)


@pytest.mark.parametrize("given", [{"command": {}}, "text"])
def test_the_command_is_the_shims(given: Any) -> None:
    with pytest.raises(ResumeError) as error:
        sent(look(ASKED), Answers({KEY: 1}), forwardedProps=given)
    assert error.value.code == "unsupported_field"


def test_what_a_run_had_is_forgotten_when_it_is_too_much() -> None:
    asked = run(STARTED, outcome(entry()), context=["x" * 20_000])
    assert sent(look(asked), Answers({"q1": 1}))["context"] == []


APPROVAL = entry(metadata={"agent_framework": {"type": "function_approval_request"}})


def test_an_agent_of_agent_framework_is_sent_the_conversation() -> None:
    said = [{"id": "m1", "role": "user", "content": "hi"}]
    body = sent(look(run(STARTED, outcome(APPROVAL), messages=said)), Answers({"q1": {}}))
    assert body["messages"] == said
    snapshot = {"type": "MESSAGES_SNAPSHOT", "messages": [*said, {"id": "m2"}]}
    body = sent(look(run(STARTED, snapshot, outcome(APPROVAL), messages=said)), Answers({"q1": {}}))
    assert body["messages"] == [*said, {"id": "m2"}]


def test_a_conversation_that_is_too_long_to_remember_is_not_lost_in_silence() -> None:
    found = look(run(STARTED, outcome(APPROVAL), messages=[{"content": "x" * 30_000}]))
    assert cannot(found, Answers({"q1": {}})) == "unsupported_input"


def test_a_run_goes_to_the_endpoint_that_the_last_one_went_to() -> None:
    found = look(run(STARTED, outcome(entry()), path="/agents/ü"))
    request = UI.resume(resume(), found, Answers({"q1": 1}))
    assert (request.method, request.target, request.accept) == ("POST", "/agents/%C3%BC", "text/event-stream")


# The answer


def test_the_run_is_named_by_the_shim() -> None:
    started = UI.started(Response(200), b"", resume(), look(ASKED))
    assert started is not None
    assert (started.run_id, started.agent_id) == (resume().nonce, "agent")


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "agent_not_found"), (405, "agent_not_found"), (409, "thread_busy"), (422, "invalid_request")],
)
def test_a_status_that_refuses(status: int, code: str) -> None:
    assert UI.refusal(answer({"detail": "no"}, status)).code == code


def test_the_event_behind_the_first_tells_whether_a_run_was_refused() -> None:
    assert not UI.begun(stream(STARTED))
    assert not UI.begun(b": keepalive\n\n" + stream(STARTED))
    assert UI.begun(stream(STARTED, STEP))
    assert UI.refused(resume(), Response(200, (), stream(STARTED, STEP, FAILED))) is None
    assert UI.refused(resume(), Response(200, (), stream(STARTED))) is None


@pytest.mark.parametrize(
    ("code", "means"),
    [
        ("THREAD_BUSY", "thread_busy"),
        ("UNKNOWN_INTERRUPT_ID", "thread_not_interrupted"),
        ("INTERRUPT_RESUME_ERROR", "interrupt_not_pending"),
        ("WORKFLOW_RESUME_INVALID_RESPONSE", "invalid_answer"),
        ("", "upstream_error"),
    ],
)
def test_a_refusal_in_the_stream(code: str, means: str) -> None:
    error = {"type": "RUN_ERROR", "message": "No.", **({"code": code} if code else {})}
    refusal = UI.refused(resume(), Response(200, (), stream(STARTED, error)))
    assert refusal is not None
    assert refusal.code == means
    assert refusal.message.startswith("The server refused the resume: No. ")


def test_an_agent_whose_model_fails_at_once_has_not_refused() -> None:
    failed = {"type": "RUN_ERROR", "message": "An internal error has occurred while streaming events.", "code": "E"}
    assert UI.refused(resume(), Response(200, (), stream(STARTED, failed))) is None
    found = look(ASKED_BY_ENTRY, run(STARTED, failed, id_="r2", **answering("q1", way="entries")))
    assert (found.status, found.interrupts) == ("error", ())


def reframe(
    *events: ServerMetadata, modes: Iterable[StreamMode] = ("values", "messages", "updates", "custom")
) -> list[Any]:
    """The client's events."""
    reframer = AgUiStream(modes)
    out = reframer.feed(stream(*events)) + reframer.finish()
    return [(event.name, event.json) for event in sse.Decoder().feed(out)]


def ended(*events: ServerMetadata) -> Ended:
    reframer = AgUiStream(())
    reframer.feed(stream(*events))
    reframer.finish()
    return reframer.ended()


def text(kind: str, **more: Any) -> ServerMetadata:
    return {"type": f"TEXT_MESSAGE_{kind}", "messageId": "m1", **more}


SAID = (text("START", role="assistant"), text("CONTENT", delta="he"), text("CONTENT", delta="llo"), text("END"))


def test_what_the_agent_says_is_told_as_it_says_it_and_whole_at_the_end() -> None:
    whole = {"messages": [{"id": "m1", "role": "assistant", "content": "hello"}]}
    assert reframe(STARTED, *SAID, FINISHED) == [
        ("messages", [{"role": "assistant", "content": "he"}, {"id": "m1"}]),
        ("messages", [{"role": "assistant", "content": "llo"}, {"id": "m1"}]),
        ("values", whole),
    ]
    assert ended(STARTED, *SAID, FINISHED) == Ended(whole)


def test_chunks_are_messages_too() -> None:
    chunks = ({"type": "TEXT_MESSAGE_CHUNK", "messageId": "m1", "delta": "a"}, {"type": "TEXT_MESSAGE_CHUNK"})
    last = {"type": "TEXT_MESSAGE_CHUNK", "delta": "b"}
    said = ended(*chunks, last, FINISHED).values["messages"]
    assert said == [{"id": "m1", "role": "assistant", "content": "ab"}]


def test_a_tools_call_and_its_result_are_in_the_messages() -> None:
    call = {"toolCallId": "c1", "parentMessageId": "m1"}
    events = (
        {"type": "TOOL_CALL_START", "toolCallName": "f", **call},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": "{}"},
        {"type": "TOOL_CALL_CHUNK", "delta": " "},
        {"type": "TOOL_CALL_END", "toolCallId": "c1"},
        {"type": "TOOL_CALL_RESULT", "messageId": "m2", "toolCallId": "c1", "content": "done"},
    )
    asked, result = ended(*events, FINISHED).values["messages"]
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{} "}}
    assert asked == {"id": "m1", "role": "assistant", "content": "", "toolCalls": [called]}
    assert result == {"id": "m2", "role": "tool", "content": "done", "toolCallId": "c1"}
    assert [name for name, _ in reframe(*events)] == ["custom"] * 3 + ["messages", "error"]


def test_a_snapshot_of_the_messages_holds_all_of_them() -> None:
    snapshot = {"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "m0", "role": "user", "content": "hi"}]}
    assert ended(*SAID, snapshot, FINISHED).values["messages"] == snapshot["messages"]
    calls = {"id": "m1", "role": "assistant", "toolCalls": []}
    assert ended({**snapshot, "messages": [calls]}, FINISHED).values["messages"] == [{**calls, "content": ""}]
    assert ended({"type": "MESSAGES_SNAPSHOT"}, FINISHED) == Ended({})


def test_the_state_is_told_when_it_changes() -> None:
    events = (
        {"type": "STATE_SNAPSHOT", "snapshot": {}},
        {"type": "STATE_SNAPSHOT", "snapshot": {"n": 1, "messages": ["in another form"]}},
        {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/n", "value": 2}]},
    )
    assert reframe(*events, FINISHED) == [("values", {"n": 1}), ("values", {"n": 2}), ("values", {"n": 2})]
    assert ended({"type": "STATE_SNAPSHOT", "snapshot": [1]}, FINISHED) == Ended({"state": [1]})


def test_a_snapshot_in_the_middle_of_a_run_is_what_a_step_gave() -> None:
    gave = {"name": "ask", "data": {"output": {"n": 1}}}
    events = ({"type": "STATE_SNAPSHOT", "snapshot": {"n": 1}, "rawEvent": gave}, STEPPED, STEPPED)
    assert reframe(*events, FINISHED) == [("updates", {"ask": {"n": 1}}), ("updates", {"ask": None}), ("values", {})]


def test_a_result_is_the_value_of_a_run_without_state() -> None:
    assert ended({**FINISHED, "result": 5}) == Ended(5)


def test_a_question_ends_the_stream() -> None:
    asked = {"__interrupt__": [{"id": KEY, "value": "sure?"}]}
    assert reframe(on_interrupt(), FINISHED, modes=["values"]) == [("values", {}), ("values", asked)]


def test_an_error_is_told_in_every_mode() -> None:
    error = {"code": "X", "message": "it fails"}
    assert reframe(FAILED, modes=["custom"]) == [("error", error)]
    assert ended(FAILED) == Ended({}, error)
    assert reframe(STEP, modes=["custom"]) == [("error", BROKE_OFF)]


def test_what_the_draft_has_no_word_for_is_custom_but_for_repetitions() -> None:
    news = {"type": "CUSTOM", "name": "progress", "value": 5}
    raw = {"type": "RAW", "event": {}}
    told = reframe({**news, "rawEvent": {}}, raw, {"event": {}, "type": "RAW"}, FINISHED, modes=["custom"])
    assert told == [("custom", news)]


def test_comments_and_what_is_no_event_of_the_protocol_are_left_out() -> None:
    reframer = UI.reframer(resume(Mode.STREAM), Started("r"))
    assert reframer.feed(b": keepalive\n\ndata: 5\n\n") == b""
    assert reframer.between_events
    assert not reframer.over
