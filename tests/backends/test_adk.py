"""ADK: a session's events tell what it asks, and whether it is at rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ap_resume_shim.backends.adk.dialect import Adk
from ap_resume_shim.core.dialect import Answers, Continue, Decision, Found, Started
from ap_resume_shim.core.errors import InvalidRequest, ResumeError, UnsupportedInput
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Ended
from tests.backends.driving import THREAD, answer, follow, look, refused, resume

ADK = Adk()
APPS, SESSION, OTHER = "GET /list-apps", *(f"GET /apps/{app}/users/user/sessions/{THREAD}" for app in ("bot", "other"))
NOT_FOUND = answer({"detail": "Session not found"}, 404)


def event(*parts: dict[str, Any], by: str = "bot", run: str = "e-1", **more: Any) -> dict[str, Any]:
    content = {"content": {"parts": list(parts), "role": "model"}} if parts else {}
    return {"author": by, "invocationId": run, "id": "an-event", "actions": {}, **content, **more}


def said(text: str, by: str = "bot", **more: Any) -> dict[str, Any]:
    return event({"text": text}, by=by, **more)


def calls(*ids: str, name: str = "approve", run: str = "e-1", **arguments: Any) -> dict[str, Any]:
    parts = [{"functionCall": {"id": call, "name": name, "args": arguments}} for call in ids]
    return event(*parts, run=run, longRunningToolIds=list(ids))


def at(branch: str | None, asks: dict[str, Any], by: str = "bot") -> dict[str, Any]:
    return asks | {"branch": branch, "author": by}


def result(call: str, value: Any, by: str = "user", name: str = "approve", **more: Any) -> dict[str, Any]:
    return event({"functionResponse": {"id": call, "name": name, "response": value}}, by=by, **more)


GO, ASKS, FIRST_NEWS = said("go", "user"), calls("adk-1"), result("adk-1", {"status": "pending"}, by="bot")
FAILED = event(errorCode="RuntimeError", errorMessage="boom")


def session(*events: dict[str, Any], **state: Any) -> dict[str, Any]:
    return {"id": THREAD, "appName": "bot", "userId": "user", "state": state, "events": events, "lastUpdateTime": 1.5}


def found(*events: dict[str, Any], **state: Any) -> Found[Any]:
    return look(ADK, {SESSION: session(*events, **state)}, agent_id="bot")[1]


def ids(thread: Found[Any]) -> tuple[list[str | None], list[str | None]]:
    """Of the questions that are open, and of those that were answered in vain."""
    return [item.id for item in thread.interrupts], [item.id for item in thread.answered]


# Which session


def test_the_app_that_is_named_has_the_session() -> None:
    asked, thread = look(ADK, {SESSION: session(GO, ASKS, n=1)}, agent_id="bot")
    assert asked == [SESSION]
    assert (thread.agent_id, thread.run_id, thread.updated_at) == ("bot", "e-1", "1970-01-01T00:00:01.500000+00:00")
    assert thread.interrupts[0].as_json() == {"id": "adk-1", "value": {"name": "approve", "args": {}}}
    said_by_user = {"role": "user", "content": "go", "id": "an-event", "name": "user"}
    assert thread.values == {"n": 1, "messages": [said_by_user]}


def test_without_an_app_all_are_asked() -> None:
    server = {APPS: ["bot", "other"], SESSION: session(GO, ASKS), OTHER: NOT_FOUND}
    asked, thread = look(ADK, server)
    assert asked == [APPS, f"{SESSION} + {OTHER}"]
    assert thread.agent_id == "bot"


def test_the_app_that_had_the_session_is_looked_at_again() -> None:
    _, first = look(ADK, {APPS: ["bot", "other"], SESSION: session(GO, ASKS), OTHER: NOT_FOUND})
    asked, later = follow(ADK.refresh_thread(resume(), first), {SESSION: session(GO, ASKS, FIRST_NEWS, n=2)})
    assert (asked, later.agent_id, later.values["n"]) == ([SESSION], "bot", 2)
    with pytest.raises(ResumeError) as gone:
        follow(ADK.refresh_thread(resume(), first), {SESSION: NOT_FOUND})
    assert gone.value.code == "thread_not_found"


def test_a_session_of_several_apps_is_not_guessed() -> None:
    server = {APPS: ["bot", "other"], SESSION: session(), OTHER: session()}
    assert refused(ADK, server).code == "invalid_request"


def test_an_unknown_session_is_404() -> None:
    assert refused(ADK, {APPS: ["bot"], SESSION: NOT_FOUND}).code == "thread_not_found"
    assert refused(ADK, {APPS: ["bot"], SESSION: NOT_FOUND}, agent_id="bot").code == "thread_not_found"


def test_an_unknown_app_is_404() -> None:
    assert refused(ADK, {APPS: ["other"], SESSION: NOT_FOUND}, agent_id="bot").code == "agent_not_found"


def test_the_user_is_the_bodys_or_the_options() -> None:
    hers = f"GET /apps/bot/users/ann/sessions/{THREAD}"
    ann = {"configurable": {"user_id": "ann"}}
    assert look(Adk(user_id="ann"), {hers: session()}, agent_id="bot")[0] == [hers]
    assert look(ADK, {hers: session()}, agent_id="bot", config=ann)[0] == [hers]


@pytest.mark.parametrize("user", ["", "..", "a/b", 1])
def test_a_user_cannot_be_a_path(user: Any) -> None:
    assert refused(ADK, {}, agent_id="bot", config={"configurable": {"user_id": user}}).code == "invalid_request"


def test_another_kind_of_server_is_not_taken_for_adk() -> None:
    for body in ("[]", '{"id": "t"}'):
        assert refused(ADK, {SESSION: answer(body)}, agent_id="bot").code == "upstream_unrecognised"


def test_whoever_may_not_read_is_told_so() -> None:
    assert refused(ADK, {SESSION: answer({}, 403)}, agent_id="bot").code == "forbidden"


# What it asks


@pytest.mark.parametrize(
    ("events", "status", "pending"),
    [
        ((), "idle", []),
        ((event(by="user", run="p-1"),), "idle", []),
        ((GO,), "busy", []),
        ((GO, said("done")), "idle", []),
        ((GO, FAILED), "error", []),
        ((GO, ASKS), "interrupted", ["adk-1"]),
        ((GO, ASKS, FIRST_NEWS), "busy", ["adk-1"]),
        ((GO, ASKS, FIRST_NEWS, said("wait")), "interrupted", ["adk-1"]),
        ((GO, ASKS, result("adk-1", {})), "busy", []),
        ((GO, ASKS, result("adk-1", {}), said("done")), "idle", []),
        ((GO, ASKS, said("else", "user")), "busy", ["adk-1"]),
        ((GO, ASKS, result("adk-9", {})), "busy", ["adk-1"]),
        ((GO, ASKS, event(by="user", run="p-1")), "interrupted", ["adk-1"]),
        ((GO, ASKS, event(result("adk-1", {})["content"]["parts"][0], errorCode="ABORTED")), "error", []),
    ],
    ids=[
        "never ran",
        "a change of the state",
        "runs",
        "has ended",
        "has failed",
        "asks",
        "asks, and has first news for the model",
        "asks, and the model knows",
        "was answered just now",
        "was answered",
        "asks, and was told something else",
        "was told what it did not ask",
        "asks, and had its state changed",
        "was aborted, and asks no longer",
    ],
)
def test_the_status_is_the_newest_events(events: tuple[dict[str, Any], ...], status: str, pending: list[str]) -> None:
    thread = found(*events)
    assert (thread.status, ids(thread)[0]) == (status, pending)


def test_a_result_beside_a_question_without_one_ends_the_turn() -> None:
    """An app with ADK's resumability pauses there; others tell the model first, which may be a little early."""
    both = event(*calls("adk-1", "adk-2")["content"]["parts"], longRunningToolIds=["adk-1"])
    assert found(GO, both, result("adk-2", {}, by="bot")).status == "interrupted"
    assert found(GO, ASKS, result("adk-3", {}, by="bot", run="e-2")).status == "busy"


def test_other_calls_are_no_questions() -> None:
    tool = event({"functionCall": {"id": "adk-3", "name": "look_up"}}, longRunningToolIds=[])
    assert found(GO, tool).status == "busy"
    assert found(GO, tool, result("adk-3", {}, by="bot", actions={"skipSummarization": True})).status == "idle"
    assert found(GO, event({"functionCall": {"name": "look_up"}})).interrupts == ()


def test_older_sessions_do_not_mark_requests() -> None:
    thread = found(GO, event({"functionCall": {"id": "q", "name": "adk_request_input"}}))
    assert ids(thread)[0] == ["q"]


def test_a_failed_step_keeps_its_answer() -> None:
    thread = found(GO, ASKS, result("adk-1", {"ok": 1}), FAILED)
    assert (thread.status, ids(thread)) == ("error", ([], ["adk-1"]))
    assert thread.error == {"code": "RuntimeError", "message": "boom"}
    gone_on = found(GO, ASKS, result("adk-1", {"ok": 1}), FAILED, event(by="user"))
    assert (gone_on.status, gone_on.answered) == ("busy", ())
    assert ids(found(GO, ASKS, result("adk-1", {"ok": 1}), FAILED, event(by="user"), FAILED)) == ([], ["adk-1"])


def test_an_answer_that_adk_cannot_read_counts_for_nothing() -> None:
    """Recording 113: it stays in the session, as the user's."""
    unreadable = event(errorCode="ValidationError", errorMessage="1 validation error for ToolConfirmation")
    thread = found(GO, CONFIRM, result("adk-1", {"nope": 1}), unreadable)
    assert (thread.status, ids(thread)) == ("error", (["adk-1"], []))


def test_a_confirmation_that_comes_again_starts_nothing() -> None:
    """Recordings 020 and 021."""
    done = result("adk-0", {"done": True}, by="bot", name="delete")
    assert found(GO, CONFIRM, YES, done, said("deleted"), YES).status == "idle"


def test_a_question_that_is_asked_again_has_an_id_of_its_own() -> None:
    """A workflow may ask under the same id in a loop."""
    thread = found(GO, calls("again"), result("again", {}), calls("again"))
    assert ids(thread)[0] == ["again#2"]
    assert parts(thread, Answers({"again#2": 1})) == [{"id": "again", "name": "approve", "response": {"result": 1}}]


def test_past_questions_are_those_of_the_session() -> None:
    thread = found(GO, ASKS, result("adk-1", {}), said("thanks"), calls("again"), result("again", {}), calls("again"))
    assert thread.past_ids == {"adk-1", "again", "again#2"}


def test_what_was_rewound_is_over() -> None:
    rewound = event(by="user", run="e-2", actions={"rewindBeforeInvocationId": "e-1"})
    assert found(GO, ASKS, rewound).status == "idle"
    assert found(GO, event(by="user", actions={"rewindBeforeInvocationId": "e-9"})).status == "busy"


def test_thoughts_are_no_messages() -> None:
    thread = found(event({"text": "hm", "thought": True}, {"text": "yes"}), event({"text": "hm", "thought": True}))
    assert [message["content"] for message in thread.values["messages"]] == ["yes"]


def test_a_session_need_not_tell_its_time() -> None:
    assert look(ADK, {SESSION: answer('{"events": []}')}, agent_id="bot")[1].updated_at is None


# The answer


def parts(thread: Found[Any], verdict: Decision, **fields: Any) -> list[dict[str, Any]]:
    message = sent(thread, verdict, **fields)["newMessage"]
    assert message["role"] == "user"
    return [part["functionResponse"] for part in message["parts"]]


def sent(thread: Found[Any], verdict: Decision, mode: Mode = Mode.WAIT, **fields: Any) -> dict[str, Any]:
    asking = resume(mode, **fields)
    ADK.check(asking, thread, verdict)
    _, (prepared, verdict) = follow(ADK.prepare(asking, thread, verdict), {})
    request = ADK.resume(asking, prepared, verdict)
    assert (request.method, request.target, request.accept) == ("POST", "/run_sse", "text/event-stream")
    body: dict[str, Any] = request.json
    return body


def refusal(thread: Found[Any], verdict: Decision, **fields: Any) -> ResumeError:
    with pytest.raises(ResumeError) as error:
        ADK.check(resume(**fields), thread, verdict)
    return error.value


def test_an_answer_is_the_result_of_the_call() -> None:
    body = sent(found(GO, ASKS), Answers({"adk-1": {"ok": True}}))
    part = {"functionResponse": {"id": "adk-1", "name": "approve", "response": {"ok": True}}}
    assert body == {
        "appName": "bot",
        "userId": "user",
        "sessionId": THREAD,
        "invocationId": "e-1",
        "streaming": False,
        "newMessage": {"role": "user", "parts": [part]},
    }


@pytest.mark.parametrize("value", [None, False, 0, "", "5", [], [1]])
def test_what_is_no_object_is_put_into_one(value: Any) -> None:
    assert parts(found(GO, ASKS), Answers({"adk-1": value}))[0]["response"] == {"result": value}


def question(name: str, call: str = "q", **arguments: Any) -> Found[Any]:
    return found(GO, calls(call, name=name, **arguments))


def response(thread: Found[Any], value: Any) -> Any:
    return parts(thread, Answers({thread.interrupts[0].id: value}))[0]["response"]


@pytest.mark.parametrize(
    "thread",
    [
        question("adk_request_confirmation"),
        question("adk_request_input", "wf_tool_confirmation:w@1/n@1", interruptId="x"),
    ],
    ids=["of a tool", "of a node"],
)
def test_a_confirmation_is_a_decision(thread: Found[Any]) -> None:
    assert response(thread, True) == {"confirmed": True}
    assert response(thread, False) == {"confirmed": False}
    assert response(thread, {"confirmed": True, "payload": [1]}) == {"confirmed": True, "payload": [1]}
    wrong: list[Any] = [None, "yes", 1, [], {}, {"confirmed": "yes"}, {"confirmed": True, "sure": True}, {"payload": 1}]
    for value in wrong:
        with pytest.raises(UnsupportedInput):
            response(thread, value)


def test_a_credential_is_an_object() -> None:
    thread = question("adk_request_credential")
    assert response(thread, {"exchangedAuthCredential": {}}) == {"exchangedAuthCredential": {}}
    with pytest.raises(UnsupportedInput):
        response(thread, "a key")


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        ("yes", "yes"),
        ("", ""),
        ("5", '"5"'),
        ("null", '"null"'),
        (5, 5),
        (None, None),
        ({"result": 5}, {"result": 5}),
        ({}, {}),
    ],
)
def test_a_workflow_takes_text_that_is_json_for_json(value: Any, carried: Any) -> None:
    assert response(question("adk_request_input", interruptId="q"), value) == {"result": carried}


def test_a_tool_of_the_same_name_takes_it_as_it_is() -> None:
    assert response(question("adk_request_input", message="?"), "5") == {"result": "5"}
    assert response(question("adk_request_input", message="?"), {"a": 1}) == {"a": 1}


OBJECT = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "s": {"type": "string"}, "any": {"anyOf": [{}]}},
    "required": ["n"],
}


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        ({"type": "integer"}, [0, -5], [True, "5", 1.5, None, {}]),
        ({"type": "number"}, [1, 1.5, 2**53], [True, 2**53 + 1, "1", None]),
        ({"type": "boolean"}, [True], [0, "true", None]),
        ({"type": "string"}, ["", "5"], [5, None]),
        ({"type": "array", "items": {"type": "integer"}}, [[], ["x"]], [{}, "x"]),
        ({"type": "object"}, [{}, {"a": 1}], [[], None]),
        (
            OBJECT,
            [{"n": 1}, {"n": 1, "s": None, "any": [1]}],
            [{}, {"n": None}, {"n": "1"}, {"n": 1, "else": 2}, [], 1],
        ),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, ["whatever"], []),
        ({"type": ["integer", "null"]}, ["whatever"], []),
        ({"properties": {"n": {"type": "number"}}}, [{"n": 1, "else": 2}], []),
    ],
)
def test_a_workflow_checks_types_and_an_answer_that_does_not_fit_would_end_it(
    schema: dict[str, Any], fits: list[Any], does_not: list[Any]
) -> None:
    thread = question("adk_request_input", interruptId="q", response_schema=schema)
    assert thread.interrupts[0].response_schema == schema
    for value in fits:
        carried = response(thread, value)["result"]
        assert carried == value or json.loads(carried) == value
    for value in does_not:
        with pytest.raises(InvalidRequest):
            response(thread, value)


def test_several_answers_go_in_one_message() -> None:
    thread = found(GO, calls("adk-1", "adk-2"))
    assert [part["id"] for part in parts(thread, Answers({"adk-2": 1, "adk-1": 2}))] == ["adk-1", "adk-2"]


def test_answers_to_several_runs_do_not() -> None:
    thread = found(GO, ASKS, calls("adk-2", run="e-2"))
    assert refusal(thread, Answers({"adk-1": 1, "adk-2": 2})).code == "multiple_interrupts"
    assert sent(thread, Answers({"adk-1": 1}))["invocationId"] == "e-1"


CONFIRMS, INPUT = "adk_request_confirmation", "adk_request_input"
NEWS = event(
    *({"functionResponse": {"id": call, "name": "approve", "response": {"status": "asked"}}} for call in ("q1", "q2")),
)
GROUP = event(by="group", actions={"agentState": {}})
ENDED = event(by="bot", actions={"endOfAgent": True})
TOGETHER = {
    "confirmations of one agent": ((calls("q1", "q2", name=CONFIRMS),), "both", "each"),
    "questions with first news": ((calls("q1", "q2"), NEWS), "both", "each"),
    "questions without": ((calls("q1", "q2", name=INPUT),), "both", None),
    "a question with first news and one without": (
        (calls("q1"), result("q1", {}, by="bot"), calls("q2")),
        "both",
        "each",
    ),
    "a confirmation and a question": ((calls("q1", name=CONFIRMS), calls("q2")), None, "q1"),
    "two agents side by side": (
        (at("l", calls("q1", name=CONFIRMS)), at("r", calls("q2", name=CONFIRMS))),
        None,
        "each",
    ),
    "two of a sequence": ((at(None, calls("q1"), "one"), at(None, calls("q2"), "two")), None, "each"),
    "confirmations of one agent in a group": ((GROUP, calls("q1", "q2", name=CONFIRMS)), "both", None),
    "questions of one agent in a group": ((GROUP, calls("q1", "q2"), NEWS), "both", None),
    "nodes of a workflow": (
        (at("l@1", calls("q1", name=INPUT, interruptId="q1")), at("r@1", calls("q2", name=INPUT, interruptId="q2"))),
        "both",
        None,
    ),
    "a node and an agent in a node": (
        (at("l@1", calls("q1", name=INPUT, interruptId="q1")), at("r@1", calls("q2"))),
        None,
        "each",
    ),
}
"""As google-adk 2.13.0 did: which of two questions' answers it hears, sent together, and sent alone."""


@pytest.mark.parametrize(("asked", "together", "alone"), TOGETHER.values(), ids=TOGETHER)
def test_answers_that_the_server_would_lose_are_refused(
    asked: tuple[dict[str, Any], ...], together: str | None, alone: str | None
) -> None:
    thread = found(GO, *asked, said("Please answer."))
    apart: dict[str | None, list[tuple[str, ...]]] = {"each": [("q1",), ("q2",)], "q1": [("q1",)], None: []}
    heard = [ids for ids in (("q1", "q2"), ("q1",), ("q2",)) if not lost(thread, ids)]
    assert heard == ([("q1", "q2")] if together else []) + apart[alone]


def lost(thread: Found[Any], answered: tuple[str, ...]) -> bool:
    try:
        ADK.check(resume(), thread, Answers(dict.fromkeys(answered, True)))
    except ResumeError as error:
        assert error.code == "multiple_interrupts"
        assert [item["id"] for item in error.metadata["interrupts"]] == ["q1", "q2"]
        return True
    return False


def test_nobody_hears_an_answer_to_an_agent_of_a_group_that_has_ended() -> None:
    asked = (
        GO,
        GROUP,
        calls("q1", "q2", name=CONFIRMS),
        result("q1", {"confirmed": True}, name=CONFIRMS),
        said("done"),
    )
    assert ids(found(*asked)) == (["q2"], [])
    assert ids(found(*asked, ENDED)) == ([], [])
    alone = tuple(event for event in asked if event is not GROUP)
    assert ids(found(*alone, ENDED)) == (["q2"], []), "an agent that stands alone is run again"


def test_going_on_sends_no_message_and_shows_in_the_session() -> None:
    body = sent(found(GO, ASKS, result("adk-1", {}), FAILED), Continue())
    assert (body["invocationId"], "newMessage" in body) == ("e-1", False)
    assert [*body["stateDelta"]] == ["temp:went_on"]


CONFIRM = calls("adk-1", name="adk_request_confirmation", originalFunctionCall={"id": "adk-0"})
YES = result("adk-1", {"confirmed": True}, name="adk_request_confirmation")


def test_going_on_repeats_a_confirmation_whose_call_has_no_result() -> None:
    """ADK looks for it in the user's newest message alone."""
    failed = found(GO, CONFIRM, YES, FAILED)
    assert ids(failed)[1] == ["adk-1"]
    body = sent(failed, Continue())
    assert (body["newMessage"]["parts"], "stateDelta" in body) == (YES["content"]["parts"], False)
    assert found(GO, CONFIRM, YES, FAILED, YES).status == "busy"
    assert sent(found(GO, CONFIRM, YES, FAILED, YES, FAILED), Continue())["newMessage"] == body["newMessage"]


def test_going_on_does_not_repeat_one_that_was_used() -> None:
    used = found(GO, CONFIRM, YES, result("adk-0", {"done": True}, by="bot", name="delete"), FAILED)
    assert "newMessage" not in sent(used, Continue())


def test_messages_are_streamed_in_parts_where_they_are_asked_for() -> None:
    thread, verdict = found(GO, ASKS), Answers({"adk-1": 1})
    assert sent(thread, verdict, Mode.STREAM, stream_mode=["messages"])["streaming"] is True
    assert sent(thread, verdict, Mode.STREAM)["streaming"] is False


def test_metadata_goes_to_the_runs_events() -> None:
    assert sent(found(GO, ASKS), Answers({"adk-1": 1}), metadata={"who": "me"})["customMetadata"] == {"who": "me"}


@pytest.mark.parametrize(
    "config", [{"tags": ["x"]}, {"recursion_limit": 5}, {"configurable": {"user_id": "user", "model": "x"}}, {"x": 1}]
)
def test_of_the_configuration_the_user_alone_is_honoured(config: dict[str, Any]) -> None:
    assert refusal(found(GO, ASKS), Answers({"adk-1": 1}), config=config).code == "unsupported_field"
    assert sent(found(GO, ASKS), Answers({"adk-1": 1}), config={"configurable": {"user_id": "ann"}})["userId"] == "ann"


def test_a_session_is_deleted_where_its_app_is_named() -> None:
    assert refusal(found(GO, ASKS), Answers({"adk-1": 1}), on_completion="delete").code == "unsupported_field"
    ADK.check(resume(agent_id="bot", on_completion="delete"), found(GO, ASKS), Answers({"adk-1": 1}))
    assert ADK.delete(resume(agent_id="bot")) == Request("DELETE", f"/apps/bot/users/user/sessions/{THREAD}")


# What comes of it


def stream(*told: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(item).encode() + b"\n\n" for item in told)


def test_a_session_that_is_gone_is_404() -> None:
    assert ADK.refusal(answer({"detail": "Session not found: t"}, 404)).code == "thread_not_found"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"error": "ValueError: Function call not found for function response ids: {'x'}."}, "interrupt_not_pending"),
        ({"error": "StaleSessionError: …", "error_details": {}}, "upstream_error"),
        (FAILED, None),
        ({}, None),
        ([], None),
    ],
)
def test_an_error_before_any_event_is_a_refusal(told: Any, code: str | None) -> None:
    refusal = ADK.refused(resume(), Response(200, (), stream(told)))
    assert (refusal and refusal.code) == code


def test_a_stream_that_was_silent_holds_no_refusal() -> None:
    assert ADK.refused(resume(), Response(200)) is None


def start(thread: Found[Any], verdict: Decision) -> Started[Any]:
    _, (prepared, _) = follow(ADK.prepare(resume(), thread, verdict), {})
    started = ADK.started(Response(200), b"", resume(), prepared)
    assert started is not None
    return started


def test_the_run_that_asked_goes_on() -> None:
    started = start(found(GO, ASKS), Answers({"adk-1": 1}))
    assert (started.run_id, started.agent_id) == ("e-1", "bot")


def told(thread: Found[Any], raw: bytes, *modes: str, answering: str = "adk-1") -> tuple[list[tuple[str, Any]], Ended]:
    """The events that the client gets, and the end."""
    started = start(thread, Answers({answering: 1}))
    reframer = ADK.reframer(resume(Mode.STREAM, stream_mode=list(modes)), started)
    text = (reframer.feed(raw[:20]) + reframer.feed(raw[20:]) + reframer.finish()).decode()
    assert reframer.between_events
    assert not reframer.over
    blocks = [block.split("\n") for block in text.split("\n\n") if block]
    return [(name[7:], json.loads(data[6:])) for name, data in blocks], reframer.ended()


def test_values_are_the_sessions_with_what_the_run_added() -> None:
    raw = stream(event(actions={"stateDelta": {"b": 2}}), said("done"))
    events, ended = told(found(GO, ASKS, a=1), raw, "values")
    (values,) = [value for name, value in events if name == "values"]
    assert (values["a"], values["b"]) == (1, 2)
    assert [message["content"] for message in values["messages"]] == ["go", "done"]
    assert ended == Ended()


def test_messages_come_in_parts_or_whole() -> None:
    hel, lo, hello = said("Hel", partial=True), said("lo", partial=True), said("Hello")
    events, _ = told(found(GO, ASKS), stream(hel, lo, hello, said("Bye")), "messages")
    assert [value[0]["content"] for _, value in events] == ["Hel", "lo", "Bye"]
    assert events[0] == ("messages", [{"role": "assistant", "content": "Hel"}, {"id": "an-event", "name": "bot"}])


def test_updates_are_the_events() -> None:
    events, _ = told(found(GO, ASKS), stream(said("do", partial=True), said("done"), "odd"), "updates")
    assert events == [("updates", {"bot": said("done")})]


def test_a_run_that_asks_again_tells_all_that_is_open() -> None:
    thread = found(GO, calls("adk-1", "adk-2"))
    events, _ = told(thread, stream(calls("adk-3")), "values")
    assert [item["id"] for item in events[-1][1]["__interrupt__"]] == ["adk-2", "adk-3"]
    events, _ = told(found(GO, calls("again")), stream(calls("again")), "values", answering="again")
    assert [item["id"] for item in events[-1][1]["__interrupt__"]] == ["again#2"]


def test_an_agent_that_fails_is_told_once() -> None:
    events, ended = told(found(GO, ASKS), stream(FAILED, {"error": "RuntimeError: boom"}), "values", "updates")
    error = {"code": "RuntimeError", "message": "boom"}
    assert events == [("updates", {"bot": FAILED}), ("error", error)]
    assert ended == Ended(error=error)


def test_a_run_that_breaks_off_tells_why() -> None:
    events, ended = told(found(GO, ASKS), stream(said("do"), {"error": "StaleSessionError: …"}, {}), "values")
    assert events == [("error", {"message": "StaleSessionError: …"})]
    assert ended.error == {"message": "StaleSessionError: …"}
