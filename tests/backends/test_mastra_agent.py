"""Mastra's agents: what waits is told by the suspended runs and by the thread's messages, and counts if both agree."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ap_resume_shim.backends.mastra.agent import MastraAgent
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Answers, Found, Started
from ap_resume_shim.core.errors import InvalidAnswer, MultipleInterrupts, UnsupportedInput
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Ended, Reframer
from ap_resume_shim.core.sse import Decoder
from tests.backends.driving import THREAD, answer, follow, look, refused, resume

AGENT = MastraAgent()
PATH = "GET /api/memory…"
MESSAGES = f"{PATH}/messages?perPage=100&orderBy=%7B%22field%22%3A%22createdAt%22%2C%22direction%22%3A%22DESC%22%7D"
AGENTS, RUNS = "GET /api/agents?partial=true", f"GET /api/agents/helper/suspended-runs?threadId={THREAD}"
FIRST = f"{PATH} + {MESSAGES} + {AGENTS}"
ARGS = {"path": "/tmp"}
DELETE = {"toolCallId": "c1", "toolName": "delete", "args": ARGS, "requiresApproval": True}
NAME = {"toolCallId": "c2", "toolName": "name", "requiresApproval": False, "suspendPayload": {"question": "name?"}}
MAY_DELETE = Interrupt("c1", {"toolName": "delete", "args": ARGS})
WHICH_NAME = Interrupt("c2:484ec392b4a4", {"question": "name?"})


def message(role: str, *parts: Any, **metadata: Any) -> dict[str, Any]:
    return {"id": "m", "role": role, "content": {"format": 2, "parts": list(parts), "metadata": metadata}}


def call(id_: str, state: str = "call") -> dict[str, Any]:
    return {"type": "tool-invocation", "toolInvocation": {"state": state, "toolCallId": id_}}


def mark(id_: str, **more: Any) -> dict[str, Any]:
    return {id_: {"toolCallId": id_, "runId": "r1", **more}}


USER = message("user", {"type": "text", "text": "delete it"})
MARKED = message("assistant", call("c1"), pendingToolApprovals=mark("c1"))
UNMARKED = message("assistant", call("c1"))
ASKING = message("assistant", call("c2"), suspendedTools=mark("c2"))


def run(*calls: dict[str, Any], id_: str = "r1") -> dict[str, Any]:
    return {"runId": id_, "status": "suspended", "threadId": THREAD, "toolCalls": list(calls)}


def server(runs: list[dict[str, Any]], *messages: Any, agents: Any = None) -> dict[str, Any]:
    """Messages are told in the order of the conversation; the server lists the newest first."""
    thread = {"id": THREAD, "resourceId": "anna", "updatedAt": "2026-11-25T02:42:14.660Z"}
    listed = {"messages": list(messages[::-1])}
    return {PATH: thread, MESSAGES: listed, AGENTS: agents or {"helper": {"id": "h"}}, RUNS: {"runs": runs}}


def found(runs: list[dict[str, Any]], *messages: Any, **fields: Any) -> Found[Any]:
    asked, thread = look(AGENT, server(runs, *messages), **fields)
    assert asked == [FIRST, RUNS]
    return thread


def prepared(thread: Found[Any], id_: str | None, value: Any, mode: Mode = Mode.WAIT) -> tuple[Found[Any], Request]:
    """The thread and the request of a resume that is taken."""
    verdict = Answers({id_: value})
    AGENT.check(resume(mode), thread, verdict)
    _, (thread, verdict) = follow(AGENT.prepare(resume(mode), thread, verdict), {})
    return thread, AGENT.resume(resume(mode), thread, verdict)


# The thread


def test_a_call_that_waits_for_approval_is_a_question() -> None:
    thread = found([run(DELETE)], USER, MARKED)
    assert (thread.status, thread.interrupts) == ("interrupted", (MAY_DELETE,))
    assert (thread.agent_id, thread.run_id, thread.updated_at) == ("helper", "r1", "2026-11-25T02:42:14.660Z")
    assert [said["role"] for said in thread.values["messages"]] == ["user", "assistant"]
    assert thread.values["messages"][0]["content"] == [{"type": "text", "text": "delete it"}]


def test_what_a_tool_asks_is_a_part_of_its_questions_id() -> None:
    """It may ask for one value after the other in the same call."""
    thread = found([run(NAME)], USER, ASKING)
    assert thread.interrupts == (WHICH_NAME,)
    (again,) = found([run({**NAME, "suspendPayload": None})], USER, ASKING).interrupts
    assert again.id not in (None, WHICH_NAME.id)


NURSE = f"GET /api/agents/nurse/suspended-runs?threadId={THREAD}"
BOTH = {"helper": {"id": "h"}, "nurse": {"id": "n"}}


@pytest.mark.parametrize("full", [True, False])
def test_the_agents_with_runs_in_the_thread_are_looked_at_again(full: bool) -> None:
    responses = {**server([run(DELETE)], USER, MARKED, agents=BOTH), NURSE: {"runs": []}}
    _, first = look(AGENT, responses, agent_id="h")
    responses[RUNS] = {"runs": []}
    responses[MESSAGES] = {"messages": [USER]}
    asked, later = follow(AGENT.refresh_thread(resume(agent_id="h"), first, full=full), responses)
    assert (asked, later.status) == ([f"{PATH} + {MESSAGES} + {RUNS}"], "idle")


def test_all_agents_are_looked_at_again_where_another_may_ask_now() -> None:
    responses = {**server([run(DELETE)], USER, MARKED, agents=BOTH), NURSE: {"runs": []}}
    _, first = look(AGENT, responses)
    responses |= {RUNS: {"runs": []}, MESSAGES: {"messages": [ASKING, USER]}, NURSE: {"runs": [run(NAME, id_="r2")]}}
    asked, later = follow(AGENT.refresh_thread(resume(), first), responses)
    assert asked == [f"{PATH} + {MESSAGES} + {RUNS}", FIRST, f"{RUNS} + {NURSE}"]
    assert (later.interrupts, later.agent_id, later.run_id) == ((WHICH_NAME,), "nurse", "r2")


def test_a_thread_without_runs_is_looked_at_again_as_at_first() -> None:
    responses = server([], USER)
    _, first = look(AGENT, responses)
    assert follow(AGENT.refresh_thread(resume(), first), responses)[0] == [FIRST, RUNS]


def test_a_call_without_its_mark_has_been_answered() -> None:
    """The run stays in the list until it ends."""
    thread = found([run(DELETE)], USER, UNMARKED)
    assert (thread.status, thread.interrupts) == ("busy", ())


def test_a_call_that_asked_for_approval_may_ask_for_a_value_next() -> None:
    assert found([run({**DELETE, "requiresApproval": False})], MARKED).status == "busy"


def test_past_questions_are_the_calls_of_the_messages_or_have_the_form_of_an_id() -> None:
    assert "c1" in found([], USER, UNMARKED).past_ids
    assert AGENT.interrupt_id_form is not None
    assert AGENT.interrupt_id_form.fullmatch(str(WHICH_NAME.id))
    assert not AGENT.interrupt_id_form.fullmatch("name")


def test_a_question_that_is_asked_between_the_messages_and_the_runs_is_none_yet() -> None:
    """The messages come first: a question counts if it was there from the beginning of the lookup."""
    thread = found([run(NAME)], USER, UNMARKED)
    assert (thread.status, thread.interrupts) == ("busy", ())


def test_a_mark_without_its_run_is_about_to_be_asked() -> None:
    assert found([], USER, MARKED).status == "busy"


def test_a_mark_that_an_answer_of_null_has_left_behind_means_nothing() -> None:
    stale = message("assistant", call("c2", "result"), suspendedTools=mark("c2"))
    assert found([], USER, stale).status == "idle"


def test_one_of_two_runs_that_works_keeps_the_thread_busy() -> None:
    thread = found([run(DELETE), run(NAME, id_="r2")], USER, UNMARKED, ASKING)
    assert (thread.status, thread.interrupts) == ("busy", (WHICH_NAME,))


def test_a_run_that_failed_has_said_so_last() -> None:
    failed = message("assistant", {"type": "error", "error": {"message": "boom", "stack": "at x"}})
    thread = found([], USER, failed)
    assert (thread.status, thread.error) == ("error", {"message": "boom"})
    assert found([], failed, USER).status == "idle"


def test_a_thread_in_which_nothing_was_said_is_at_rest() -> None:
    thread = found([])
    assert (thread.status, thread.agent_id, thread.run_id) == ("idle", None, None)
    assert found([], {"id": "m", "role": "user", "content": "plain"}).status == "idle"


def test_every_agent_is_asked() -> None:
    other = f"GET /api/agents/other/suspended-runs?threadId={THREAD}"
    told = server([run(DELETE)], MARKED, agents={"other": {"id": "other"}, "helper": {"id": "h"}})
    no_memory = answer({"error": "Access denied: agent has no memory configured to validate thread ownership"}, 403)
    asked, thread = look(AGENT, {**told, other: no_memory})
    assert asked == [FIRST, f"{other} + {RUNS}"]
    assert thread.agent_id == "helper"


def test_a_server_without_agents_has_no_questions() -> None:
    told = server([])
    told[AGENTS] = {}
    assert look(AGENT, told)[1].status == "idle"


def test_an_agent_may_be_named_by_its_id() -> None:
    assert found([run(DELETE)], MARKED, agent_id="h").agent_id == "helper"
    assert found([], agent_id="helper").agent_id == "helper"


def test_another_agent_is_refused() -> None:
    other = f"GET /api/agents/other/suspended-runs?threadId={THREAD}"
    told = {**server([run(DELETE)], MARKED), other: {"runs": []}}
    assert refused(AGENT, told, agent_id="other").code == "invalid_request"
    told[other] = answer({"error": "Agent with id other not found"}, 404)
    assert refused(AGENT, told, agent_id="other").code == "agent_not_found"


@pytest.mark.parametrize(
    ("at", "status", "text", "code"),
    [
        (PATH, 404, "Thread not found", "thread_not_found"),
        (RUNS, 403, "Access denied: thread belongs to a different resource", "forbidden"),
        (RUNS, 500, "no storage", "upstream_error"),
    ],
)
def test_what_may_not_be_read_is_refused(at: str, status: int, text: str, code: str) -> None:
    assert refused(AGENT, {**server([]), at: answer({"error": text}, status)}).code == code


# The answer


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (True, {"approved": True}),
        (False, {"approved": False}),
        ({"approved": False, "reason": "no"}, {"approved": False, "reason": "no"}),
    ],
)
def test_an_approval_is_a_decision(value: Any, sent: Any) -> None:
    thread, request = prepared(found([run(DELETE)], MARKED), "c1", value)
    assert f"{request.method} {request.target} {request.accept}" == (
        "POST /api/agents/helper/resume-stream text/event-stream"
    )
    assert request.json == {"runId": "r1", "toolCallId": "c1", "resumeData": sent}
    assert AGENT.started(Response(200), b"", resume(), thread) == Started("r1", "helper", context=thread.context)


@pytest.mark.parametrize(
    "value", [None, 1, "yes", [], {}, {"approved": 1}, {"approved": True, "reason": 1}, {"approved": True, "x": 1}]
)
def test_what_is_no_decision_is_refused(value: Any) -> None:
    """The server would ask again, and say that all went well."""
    with pytest.raises(UnsupportedInput, match="needs an approval"):
        prepared(found([run(DELETE)], MARKED), "c1", value)


def test_in_the_background_the_answer_goes_to_the_thread() -> None:
    _, request = prepared(found([run(NAME)], ASKING), WHICH_NAME.id, "x", Mode.BACKGROUND)
    assert request.target == "/api/agents/helper/send-tool-approval"
    whose = {"resourceId": "anna", "threadId": THREAD}
    assert request.json == {**whose, "approved": True, "toolCallId": "c2", "resumeData": "x"}


@pytest.mark.parametrize("value", [None, 2**53, {"a": [2**64]}])
def test_a_value_that_would_not_arrive_is_refused(value: Any) -> None:
    with pytest.raises(UnsupportedInput):
        prepared(found([run(NAME)], ASKING), WHICH_NAME.id, value)


@pytest.mark.parametrize("value", [False, 0, "", [], {}, {"approved": True}])
def test_other_values_are_carried(value: Any) -> None:
    assert prepared(found([run(NAME)], ASKING), WHICH_NAME.id, value)[1].json["resumeData"] == value


def test_a_value_that_the_tools_schema_refuses_is_refused() -> None:
    """The server would tell the model, and the question would be gone."""
    schema = json.dumps({"type": "object", "required": ["name"]})
    asking = message("assistant", call("c2"), suspendedTools=mark("c2", resumeSchema=schema))
    assert found([run(NAME)], asking).interrupts[0].response_schema == json.loads(schema)
    with pytest.raises(InvalidAnswer, match="`name` is missing"):
        prepared(found([run(NAME)], asking), WHICH_NAME.id, {})
    unreadable = message("assistant", call("c2"), suspendedTools=mark("c2", resumeSchema="{"))
    assert prepared(found([run(NAME)], unreadable), WHICH_NAME.id, {})


def test_of_two_runs_that_wait_one_is_answered() -> None:
    thread = found([run(DELETE), run(NAME, id_="r2")], MARKED, ASKING)
    assert thread.interrupts == (MAY_DELETE, WHICH_NAME)
    with pytest.raises(MultipleInterrupts):
        AGENT.check(resume(), thread, Answers({"c1": True, WHICH_NAME.id: "x"}))
    thread, request = prepared(thread, WHICH_NAME.id, "x")
    assert (thread.interrupts, thread.run_id) == ((WHICH_NAME,), "r2")
    assert request.json["runId"] == "r2"


@pytest.mark.parametrize(
    "text",
    [
        'Agent "helper" resumeStream() could not find a suspended run for runId "r1". The run may have …',
        'Agent "helper" resumeStream() cannot resume tool call "c1" because it is not suspended.',
        'Agent "helper" sendToolApproval() could not find an active or suspended run for thread "t".',
    ],
)
def test_a_run_that_does_not_wait_is_a_conflict(text: str) -> None:
    assert AGENT.refusal(answer({"error": text}, 500)).code == "thread_not_interrupted"


# The stream


def chunk(kind: str, **payload: Any) -> bytes:
    value = {"type": kind, "runId": "r1", "from": "AGENT", "payload": payload}
    return b"data: " + strictjson.dumps(value) + b"\n\n"


END = chunk("finish", output={"text": "done"}, messages={"all": [{"role": "user", "content": "hi"}]})
VALUES = {"text": "done", "messages": [{"role": "user", "content": "hi"}]}


def told(*chunks: bytes, left: bool = False) -> tuple[list[tuple[Any, Any]], Reframer]:
    """The events of a resumed run's stream, and what read them."""
    more = ([run(NAME, id_="r2")], [ASKING]) if left else ([], [])
    thread, _ = prepared(found([run(DELETE), *more[0]], MARKED, *more[1]), "c1", True)
    asked = resume(Mode.STREAM, stream_mode=["values", "updates", "messages", "custom"])
    reframer = AGENT.reframer(asked, Started("r1", context=thread.context))
    raw = b"".join(map(reframer.feed, (*chunks, b"data: [DONE]\n\n"))) + reframer.finish()
    assert reframer.between_events
    assert not reframer.over
    return [(event.name, event.json) for event in Decoder().feed(raw)], reframer


def test_the_head_says_that_the_run_goes_on() -> None:
    assert AGENT.begun(b"")
    assert AGENT.refused(resume(), Response(200, (), chunk("error", error={"message": "boom"}))) is None


def test_text_is_messages_and_what_tools_gave_is_updates() -> None:
    events, reframer = told(
        chunk("tool-result", toolName="delete", result=1),
        chunk("tool-error", toolName="delete", error={"message": "boom", "stack": "at x"}),
        chunk("step-start", messageId="m1"),
        chunk("text-delta", text="do"),
        chunk("text-delta", text="ne"),
        chunk("step-finish", usage=1),
        END,
    )
    assert events[:2] == [("updates", {"delete": 1}), ("updates", {"delete": {"error": {"message": "boom"}}})]
    assert events[3:5] == [
        ("messages", [{"role": "assistant", "content": text}, {"id": "m1"}]) for text in ("do", "ne")
    ]
    assert [name for name, _ in events] == ["updates", "updates", "custom", "messages", "messages", "custom", "values"]
    assert events[-1] == ("values", VALUES)
    assert reframer.ended() == Ended(VALUES)


def test_the_next_question_is_told_as_the_thread_will_have_it() -> None:
    events, reframer = told(chunk("tool-call-approval", **DELETE), chunk("tool-call-suspended", **NAME))
    asked = {"__interrupt__": [MAY_DELETE.as_json(), WHICH_NAME.as_json()]}
    assert events == [("values", asked), ("updates", asked)]
    assert reframer.ended() == Ended()


def test_another_runs_question_stays_open() -> None:
    events, _ = told(END, left=True)
    assert events[1] == ("values", {"__interrupt__": [WHICH_NAME.as_json()]})


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (chunk("error", error={"message": "boom", "stack": "at x"}), {"message": "boom"}),
        (chunk("error"), {"message": "The agent failed."}),
        (chunk("abort"), {"message": "The run was aborted."}),
        (chunk("tripwire", reason="no"), {"message": "no"}),
        (chunk("tripwire"), {"message": "The run was stopped by a processor."}),
    ],
)
def test_a_failure_is_told_once(failure: bytes, error: Any) -> None:
    events, reframer = told(failure, failure, END)
    assert events == [("error", error)]
    assert reframer.ended() == Ended(error=error)


def test_what_is_no_chunk_is_left_out() -> None:
    assert told(b": heartbeat\n\n", b"data: 1\n\n", b'data: {"type":"abort"}\n\n')[0] == [
        ("error", {"message": "The run was aborted."})
    ]
