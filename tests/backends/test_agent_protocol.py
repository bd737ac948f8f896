"""A server of the protocol itself, by its profile."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.backends import load_backend
from ap_resume_shim.core.dialect import Answers, Continue, Found, Started
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Ended
from tests.backends.driving import THREAD, answer, look, refused, resume

AP = load_backend("agent-protocol")
LAST = {"run_id": "r1", "agent_id": "agent", "status": "interrupted"}


def found(thread: dict[str, Any], *runs: dict[str, Any]) -> Found[Any]:
    asked, thread_found = look(AP, {"GET …": thread, "POST /runs/search": list(runs)})
    assert asked == ["GET … + POST /runs/search"]
    return thread_found


def test_thread_and_last_run_are_looked_up_side_by_side() -> None:
    thread = found({"status": "idle", "values": {"a": 1}, "messages": [], "updated_at": "u"}, LAST)
    assert thread == Found(
        "idle", agent_id="agent", values={"a": 1, "messages": []}, updated_at="u", run_id="r1", breakpoint=False
    )


def test_a_question_has_an_id_where_the_server_tells_it() -> None:
    asks = [{"id": "q1", "value": "sure?"}]
    assert found({"status": "interrupted", "interrupts": asks}).interrupts == (Interrupt("q1", "sure?"),)
    assert found({"status": "interrupted"}).interrupts == (Interrupt(None),)


def test_no_interrupts_on_an_interrupted_thread_is_a_breakpoint() -> None:
    assert found({"status": "interrupted", "interrupts": []}).breakpoint


def test_an_unknown_thread_is_404() -> None:
    missing = answer({"detail": "Thread not found"}, 404)
    assert refused(AP, {"GET …": missing, "POST /runs/search": []}).code == "thread_not_found"


def test_an_unknown_agent_is_404() -> None:
    server = {"GET …": {"status": "idle"}, "POST /runs/search": [], "GET /agents/nobody": answer("no", 404)}
    assert refused(AP, server, agent_id="nobody").code == "agent_not_found"


@pytest.mark.parametrize(
    ("mode", "target"), [(Mode.BACKGROUND, "/runs"), (Mode.WAIT, "/runs/wait"), (Mode.STREAM, "/runs/stream")]
)
def test_the_answer_is_a_field_of_the_create_run_body(mode: Mode, target: str) -> None:
    request = AP.resume(resume(mode), Found("interrupted", agent_id="agent"), Answers({None: None}))
    assert (request.method, request.target) == ("POST", target)
    assert request.json["input"] == {"command": {"resume": None}}
    assert (request.json["thread_id"], request.json["agent_id"]) == (THREAD, "agent")


def test_the_answer_is_keyed_wherever_questions_have_ids() -> None:
    request = AP.resume(resume(), Found("interrupted", (Interrupt("q1"),)), Answers({"q1": "yes"}))
    assert request.json["input"] == {"command": {"resume": {"q1": "yes"}}}


def test_going_on_is_a_run_without_input() -> None:
    request = AP.resume(resume(Mode.BACKGROUND), Found("interrupted", agent_id="agent"), Continue())
    assert request.json == {"thread_id": THREAD, "agent_id": "agent"}


def test_the_operator_may_say_where_the_answer_goes() -> None:
    dialect = load_backend("agent-protocol", resume_at="/command/resume")
    request = dialect.resume(resume(), Found("interrupted"), Answers({None: 1}))
    assert request.json["command"] == {"resume": 1}


def test_its_run_is_the_drafts() -> None:
    run = answer(LAST).body
    started = AP.started(Response(200), run, resume(Mode.BACKGROUND), Found("interrupted", agent_id="agent"))
    assert started == Started("r1", "agent")
    assert AP.location(resume(), Started("r1")) == "/runs/r1"
    assert AP.cancel(resume(), Started("r1")) == Request("POST", "/runs/r1/cancel")
    assert AP.join(resume(), Started("r1")) == Request("GET", "/runs/r1/stream", accept="text/event-stream")


def test_its_wait_answers_with_run_values_and_messages() -> None:
    raw = b'{"run": {"run_id": "r1", "error": "boom"}, "values": {"a": 1}, "messages": []}'
    assert AP.ended(raw) == Ended({"a": 1, "messages": []}, "boom")


def test_an_agent_that_is_refused_with_404_is_not_taken_for_the_thread() -> None:
    assert AP.refusal(answer({"message": "No such agent"}, 404)).code == "agent_not_found"
    assert AP.refusal(answer({"message": "No such thread"}, 404)).code == "thread_not_found"


OTHER = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("mode", "body"),
    [
        (Mode.BACKGROUND, b'{"run_id": "r1", "thread_id": "%s"}'),
        (Mode.WAIT, b'{"run": {"run_id": "r1", "thread_id": "%s"}}'),
        (Mode.STREAM, b'event: metadata\ndata: {"run_id": "r1", "thread_id": "%s"}\n\n'),
    ],
)
def test_a_run_of_another_thread_is_no_answer(mode: Mode, body: bytes) -> None:
    there, elsewhere = (body % spelled.encode() for spelled in (THREAD.upper(), OTHER))
    assert AP.refused(resume(mode), Response(200, (), there)) is None
    refusal = AP.refused(resume(mode), Response(200, (), elsewhere))
    assert isinstance(refusal, UpstreamUnrecognised) and refusal.metadata["thread_id"] == OTHER
    with pytest.raises(UpstreamUnrecognised) as error:  # a wait is accepted at its head, and read later
        AP.started(Response(200), elsewhere, resume(mode), Found("interrupted"))
    assert error.value.metadata["resume_state"] == "unknown"
