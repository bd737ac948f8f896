"""ACP: the status of a run alone says whether it waits, and the ledger alone which runs a session has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from ap_resume_shim.backends.acp.dialect import Acp
from ap_resume_shim.backends.acp.messages import AcpContext
from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import Answers, Continue, Found, Observer, Started, ThreadEntry
from ap_resume_shim.core.errors import (
    ConfigurationError,
    InvalidRequest,
    MultipleInterrupts,
    ResumeError,
    UnsupportedInput,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.steps import Ask, Entry, ReadLedger
from tests.backends.driving import THREAD, answer, resume

BY_SESSION, BY_RUN = Acp(), Acp(thread="run")
TIME = "2026-11-24T12:53:22.232050Z"
MESSAGE = {"role": "agent/ask", "parts": [{"content_type": "text/plain", "content": "approve?"}], "created_at": TIME}
Q1 = f"r1@{TIME}"
SESSION = f"GET /sessions/{THREAD}"


def run(run_id: str = "r1", status: str = "awaiting", **more: Any) -> dict[str, Any]:
    """A run, as the server answers it: what it asked once stays on it."""
    default = {"run_id": run_id, "agent_name": "ask", "session_id": THREAD, "created_at": "2026-11-24T12:00:00Z"}
    return {**default, "status": status, "await_request": {"type": "message", "message": MESSAGE}, "output": [], **more}


def look(
    server: dict[str, Any], *, ledger: Iterable[str] = ("r1",), over: str = "", by: Acp = BY_SESSION, **more: Any
) -> tuple[str, Found[Any]]:
    """What a lookup asks, and what it finds; `ledger` are the runs that were seen, `over` one that was seen to end."""
    full = more.pop("full", True)
    entries = [Entry({"what": "of tomorrow"}), Entry({"run_id": 1})]
    entries += [Entry({"run_id": name, "over": True}) for name in (over,) if name]
    entries += [Entry({"run_id": name, "newer": 1}) for name in ledger]
    flow = by.inspect_thread(resume(**more), full=full)
    step = next(flow)
    if isinstance(step, ReadLedger):
        step = flow.send(entries)
    assert isinstance(step, Ask)
    names = [f"{request.method} {request.target}" for request in step.requests]
    told = [server.get(name, answer({"code": "not_found", "message": "gone", "data": None}, 404)) for name in names]
    try:
        flow.send(tuple(item if isinstance(item, Response) else answer(item) for item in told))
    except StopIteration as ended:
        return " + ".join(names), ended.value
    raise AssertionError("it asks again")


AT_REST = Found("idle", context=AcpContext())


def found(*runs: dict[str, Any], **more: Any) -> Found[Any]:
    """What a session is, by its runs."""
    return look({f"GET /runs/{one['run_id']}": one for one in runs}, ledger=[one["run_id"] for one in runs], **more)[1]


def refused(server: dict[str, Any], **more: Any) -> ResumeError:
    with pytest.raises(ResumeError) as error:
        look(server, **more)
    return error.value


# The thread


def test_sessions_and_runs_have_one_spelling() -> None:
    assert BY_RUN.thread_key(THREAD.upper().replace("-", "")) == BY_RUN.thread_key(THREAD)


@pytest.mark.parametrize("thread_id", ["t", f"{{{THREAD}}}", f"urn:uuid:{THREAD}", THREAD + "0", THREAD[:9] + THREAD])
def test_what_is_no_uuid_is_refused(thread_id: str) -> None:
    with pytest.raises(InvalidRequest):
        BY_SESSION.thread_key(thread_id)


def test_an_option_that_is_none_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError, match="session or run"):
        Acp(thread="both")


@pytest.mark.parametrize(
    ("status", "means"),
    [
        ("created", "busy"),
        ("in-progress", "busy"),
        ("cancelling", "busy"),
        ("awaiting", "interrupted"),
        ("completed", "idle"),
        ("failed", "error"),
        ("cancelled", "error"),
    ],
)
def test_the_status_alone_decides(status: str, means: str) -> None:
    """`await_request` is never cleared (recording 12)."""
    thread = found(run(status=status))
    assert thread.status == means
    assert thread.interrupts == ((Interrupt(Q1, MESSAGE),) if status == "awaiting" else ())


def test_a_status_that_nobody_knows_is_said() -> None:
    assert isinstance(refused({"GET /runs/r1": run(status="paused")}), UpstreamUnrecognised)


def test_by_run_the_server_itself_is_asked() -> None:
    server = {f"GET /runs/{THREAD}": run(THREAD)}
    asked, thread = look(server, by=BY_RUN)
    assert (asked, thread.status, thread.run_id, thread.agent_id) == (*server, "interrupted", THREAD, "ask")
    assert refused({}, by=BY_RUN).code == "thread_not_found"


def test_all_runs_that_were_seen_are_looked_at_but_those_that_are_over() -> None:
    asked, thread = look({"GET /runs/r1": run()}, ledger=["r3", "r1"], over="r3")
    assert asked == "GET /runs/r1"
    assert thread.run_id == "r1"


def test_runs_that_the_server_has_forgotten_are_none() -> None:
    assert look({"GET /runs/r1": run()}, ledger=["r2", "r1"])[1].run_id == "r1"
    assert refused({}, ledger=["r2", "r1"]).code == "thread_not_found"


def test_a_session_of_which_nothing_was_seen_is_not_guessed_at() -> None:
    error = refused({SESSION: {"id": THREAD}}, ledger=[])
    assert (error.code, error.metadata) == ("thread_not_interrupted", {"thread_status": "unknown"})
    assert "start them through the shim" in error.message
    assert refused({}, ledger=[]).code == "thread_not_found"


def test_a_session_whose_runs_were_seen_to_end_is_at_rest() -> None:
    asked, thread = look({SESSION: {"id": THREAD}}, ledger=["r1"], over="r1")
    assert (asked, thread) == (SESSION, AT_REST)
    assert look({SESSION: {"id": THREAD}}, ledger=[], full=False)[1] == AT_REST


def test_a_session_is_busy_while_any_of_its_runs_is() -> None:
    """An answer that comes late would find the question of another run."""
    thread = found(run("r2", "in-progress"), run("r1"))
    assert (thread.status, thread.interrupts, thread.run_id) == ("busy", (), "r2")
    assert found(run("r2", "in-progress"), run("r1", "created")).run_id is None, "nobody knows which one to cancel"


def test_a_session_asks_what_its_runs_ask() -> None:
    thread = found(run("r2"), run("r1"), run("r0", "failed", created_at="2026-11-24T13:00:00Z"))
    assert thread.status == "interrupted"
    assert [interrupt.id for interrupt in thread.interrupts] == [f"r2@{TIME}", Q1]


def test_after_a_run_only_what_is_still_asked_counts() -> None:
    ended = run("r2", "failed", finished_at="2026-11-24T13:00:00Z")
    assert found(ended, run("r3", "in-progress"), full=False) == replace(AT_REST, updated_at="2026-11-24T13:00:00Z")
    assert found(ended, run("r1"), full=False).interrupts == (Interrupt(Q1, MESSAGE),)


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (403, "forbidden"), (500, "upstream_error")])
def test_who_may_not_look_is_told_so(status: int, code: str) -> None:
    assert refused({"GET /runs/r1": answer({"code": "server_error", "message": "no"}, status)}).code == code


# The agent


def test_an_agent_that_is_named_has_to_be_there() -> None:
    server = {"GET /runs/r1": run(), "GET /agents/ask": {"name": "ask"}}
    assert look(server, agent_id="ask")[0] == "GET /runs/r1 + GET /agents/ask"
    assert refused(server, agent_id="nobody").code == "agent_not_found"
    assert refused({**server, "GET /agents/ask": answer("", 500)}, agent_id="ask").code == "upstream_error"


def test_the_agent_of_another_run_is_refused() -> None:
    BY_SESSION.check(resume(agent_id="ask"), found(run()), Answers({Q1: "yes"}))
    with pytest.raises(InvalidRequest, match="agent 'ask', not to 'two'"):
        BY_SESSION.check(resume(agent_id="two"), found(run()), Answers({Q1: "yes"}))


# The answer


def sent(value: Any = "yes", mode: Mode = Mode.WAIT, **fields: Any) -> Request:
    """The request that resumes the run that asks."""
    asked, verdict = resume(mode, **fields), Answers({Q1: value})
    thread = found(run(), run("r0", "completed", agent_name="other"))
    BY_SESSION.check(asked, thread, verdict)
    with pytest.raises(StopIteration) as prepared:
        next(BY_SESSION.prepare(asked, thread, verdict))
    thread, _ = prepared.value.value
    assert (thread.run_id, thread.agent_id) == ("r1", "ask")
    started = Started("r1", "ask", "2026-11-24T12:00:00Z", context=thread.context)
    assert BY_SESSION.started(Response(202), b"", asked, thread) == started
    return BY_SESSION.resume(asked, thread, verdict)


def parts(value: Any = "yes", **fields: Any) -> Any:
    return sent(value, **fields).json["await_resume"]["message"]["parts"]


@pytest.mark.parametrize(
    ("mode", "named", "accept"),
    [
        (Mode.BACKGROUND, "async", "application/json"),
        (Mode.WAIT, "sync", "application/json"),
        (Mode.STREAM, "stream", "text/event-stream"),
    ],
)
def test_the_run_that_asks_gets_a_message(mode: Mode, named: str, accept: str) -> None:
    request = sent(mode=mode)
    assert (request.method, request.target, request.accept) == ("POST", "/runs/r1", accept)
    message = {"role": "user", "parts": [{"content_type": "text/plain", "content": "yes"}]}
    assert request.json == {
        "run_id": "r1",
        "await_resume": {"type": "message", "message": message},
        "mode": named,
    }


@pytest.mark.parametrize("value", [None, False, 0, 1.5, [], {}, {"a": "é\0"}, 2**64])
def test_what_is_no_text_is_json_as_text(value: Any) -> None:
    (part,) = parts(value)
    assert part["content_type"] == "application/json"
    assert strictjson.loads(part["content"].encode()) == value


@pytest.mark.parametrize("value", ["", "null", "é\n"])
def test_text_is_text(value: str) -> None:
    assert parts(value) == [{"content_type": "text/plain", "content": value}]


def test_a_message_of_texts_is_sent_as_one() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    text = {"content_type": "text/plain"}
    assert parts(messages=[{"role": "user", "content": "a"}]) == [{**text, "content": "a"}]
    assert parts(messages=[{"role": "user", "content": blocks}]) == [{**text, "content": "a"}, {**text, "content": "b"}]


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "assistant", "content": "a"}],
        [{"role": "user", "content": "a", "id": "m1"}],
        [{"role": "user", "content": [{"type": "image", "url": "x"}]}],
        [{"role": "user", "content": [{"type": "text", "text": "a", "metadata": {}}]}],
    ],
)
def test_another_message_is_refused(messages: Any) -> None:
    with pytest.raises(UnsupportedInput):
        parts(messages=messages)


def test_two_answers_at_once_are_refused() -> None:
    thread = found(run("r2"), run("r1"))
    with pytest.raises(MultipleInterrupts) as error:
        BY_SESSION.check(resume(), thread, Answers({Q1: 1, f"r2@{TIME}": 2}))
    assert len(error.value.metadata["interrupts"]) == 2


def test_there_is_nothing_to_go_on_with() -> None:
    with pytest.raises(AssertionError):
        BY_SESSION.check(resume(), found(run()), Continue())


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ("Run r1 has no await request", 403, "thread_not_interrupted"),
        ("Run r1 is expecting resume of type message", 403, "thread_not_interrupted"),
        ("Forbidden", 403, "forbidden"),
        ("Run r1 not found", 404, "thread_not_found"),
        ("1 validation error", 422, "invalid_request"),
    ],
)
def test_a_refusal_means_what_it_says(message: str, status: int, code: str) -> None:
    refusal = BY_SESSION.refusal(answer({"code": "server_error", "message": message, "data": None}, status))
    assert refusal.code == code


def test_a_refusal_in_a_stream_is_one() -> None:
    def refusal(mode: Mode, value: Any) -> ResumeError | None:
        return BY_SESSION.refused(resume(mode), Response(200, (), b"data: " + strictjson.dumps(value) + b"\n\n"))

    error = refusal(Mode.STREAM, {"type": "error", "error": {"code": "server_error"}})
    assert error is not None and error.metadata == {"upstream": {"code": "server_error"}}
    assert refusal(Mode.STREAM, {"type": "run.in-progress"}) is None
    assert refusal(Mode.STREAM, None) is None
    assert refusal(Mode.WAIT, {"type": "error"}) is None
    assert BY_SESSION.refused(resume(Mode.STREAM), Response(200)) is None, "it is silent for now"


# The run


def test_the_run_is_read_cancelled_and_found_under_its_own_name() -> None:
    started: Started[Any] = Started("r1")
    assert BY_SESSION.location(resume(), started) == "/runs/r1"
    assert BY_SESSION.run(resume(), started) == Request.get("/runs/r1")
    assert BY_SESSION.cancel(resume(), started) == Request("POST", "/runs/r1/cancel")
    assert BY_SESSION.join(resume(), started) is None


@pytest.mark.parametrize(("status", "ended"), [("in-progress", False), ("awaiting", True), ("cancelled", True)])
def test_a_run_has_ended_when_it_waits_again(status: str, ended: bool) -> None:
    assert BY_SESSION.has_ended(answer(run(status=status))) is ended


TEXT = {"content_type": "text/plain", "content": "a", "metadata": None}
JSON = {"content_type": "application/json", "content": "{}"}
LINK = {"content_type": "text/plain", "content_url": "http://x"}


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ([], ""),
        ([TEXT, TEXT], "aa"),
        ([TEXT, JSON], [{"type": "text", "text": "a"}, {"type": "application/json", **JSON}]),
        ([{**TEXT, "content": None, "content_url": "http://x"}], [{"type": "text/plain", **LINK}]),
    ],
)
def test_what_the_run_has_said_is_its_values(said: Any, content: Any) -> None:
    output = [{"role": "agent/ask", "parts": said}]
    ended = BY_SESSION.ended(answer(run(status="completed", output=output)).body)
    assert ended == Ended({"output": output, "messages": [{"role": "agent/ask", "content": content}]})


def test_a_run_that_failed_says_why() -> None:
    error = {"code": "server_error", "message": "boom", "data": None}
    assert BY_SESSION.ended(answer(run(status="failed", error=error)).body).error == error
    cancelled = BY_SESSION.ended(answer(run(status="cancelled", error=None)).body).error
    assert cancelled == {"code": "cancelled", "message": "The run was cancelled."}


def test_the_time_of_its_end_is_known_from_the_answer() -> None:
    thread = Found("interrupted", context=AcpContext(resumed=run()))
    body = answer(run(status="completed", finished_at="2026-11-24T13:00:00Z")).body
    started = BY_SESSION.started(Response(200), body, resume(), thread)
    assert started is not None and started.updated_at == "2026-11-24T13:00:00Z"


# The stream


def streamed(*events: Any, modes: Any = ("values", "messages", "updates", "custom")) -> tuple[list[Any], Ended, bool]:
    """What a client gets for the server's events, how the run ended by them, and whether no more is waited for."""
    asked = resume(Mode.STREAM, stream_mode=list(modes))
    reframer = BY_SESSION.reframer(asked, Started("r1", "ask"))
    raw = b"".join(b"data: " + strictjson.dumps(event) + b"\n\n" for event in events)
    told = b"".join(reframer.feed(raw[i : i + 7]) for i in range(0, len(raw), 7)) + reframer.finish()
    assert reframer.between_events
    events_told = [(event.name, event.json) for event in sse.Decoder().feed(told)]
    return events_told, reframer.ended(), reframer.over


def test_what_the_agent_says_is_told_as_it_says_it() -> None:
    part, message = {"type": "message.part", "part": TEXT}, {"role": "agent/ask", "parts": [TEXT]}
    said = {"role": "agent/ask", "content": "a"}
    told, ended, over = streamed(
        {"type": "run.in-progress", "run": run(status="in-progress")},
        {"type": "message.created", "message": {**message, "parts": []}},
        part,
        {"type": "message.completed", "message": message},
        {"type": "generic", "generic": {"progress": 1}},
        {"type": "something new"},
        "no event",
    )
    assert told == [("messages", [said, {}]), ("updates", {"ask": {"messages": [said]}}), ("custom", {"progress": 1})]
    assert (ended, over) == (Ended(), False)


def test_a_run_that_asks_again_is_over_for_now() -> None:
    told, ended, over = streamed({"type": "run.awaiting", "run": run()}, modes=["values"])
    asked = {"__interrupt__": [{"id": Q1, "value": MESSAGE}]}
    assert told == [("values", {"output": [], "messages": []}), ("values", asked)]
    assert (ended.error, over) == (None, True)


def test_a_run_that_ends_tells_its_values() -> None:
    told, ended, over = streamed({"type": "run.completed", "run": run(status="completed")})
    assert told == [("values", ended.values)] == [("values", {"output": [], "messages": []})]
    assert (ended.error, over) == (None, True)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_run_that_fails_is_an_error_in_every_mode(status: str) -> None:
    told, ended, over = streamed({"type": f"run.{status}", "run": run(status=status)}, modes=["custom"])
    assert told == [("error", ended.error)]
    assert (ended.error["code"], over) == (status, True)


def test_an_error_of_the_server_is_passed_on() -> None:
    told, ended, _ = streamed({"type": "error", "error": {"code": "server_error"}})
    assert told == [("error", ended.error)] == [("error", {"code": "server_error"})]


# What passes


def seen(observer: Observer | None, kind: str, *chunks: bytes, status: int = 200) -> list[ThreadEntry]:
    """What is noted of an exchange."""
    assert observer is not None
    observer.request(b"{}")
    notes = list(observer.head(status, (("Content-Type", kind),)))
    for chunk in chunks:
        notes += observer.feed(chunk)
    return [*notes, *observer.end(complete=True)]


START, RESUMED = ("POST", "/runs"), ("POST", f"/runs/{THREAD}")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/runs/r1"), ("POST", "/runs/r1/cancel"), ("GET", "/runs"), ("POST", "/agents")]
)
def test_other_requests_tell_nothing(method: str, path: str) -> None:
    assert BY_SESSION.watch(method, path) is None


def test_by_run_there_is_nothing_to_remember() -> None:
    assert BY_RUN.watch(*START) is None


@pytest.mark.parametrize("status", ["created", "awaiting"])
def test_a_run_that_was_started_is_noted(status: str) -> None:
    body = answer(run(status=status)).body
    assert seen(BY_SESSION.watch(*START), "application/json", body[:9], body[9:]) == [(THREAD, Entry({"run_id": "r1"}))]


def test_a_run_that_ended_at_once_needs_no_note() -> None:
    assert seen(BY_SESSION.watch(*START), "application/json", answer(run(status="completed")).body) == []


def test_a_run_that_was_resumed_is_noted_when_it_is_over() -> None:
    def noted(status: str) -> list[ThreadEntry]:
        return seen(BY_SESSION.watch(*RESUMED), "application/json", answer(run(status=status)).body)

    assert noted("completed") == [(THREAD, Entry({"run_id": "r1", "over": True}))]
    assert noted("in-progress") == noted("awaiting") == []


def test_a_stream_tells_its_run_with_the_first_event() -> None:
    """Before the client gets it, who may resume at once."""
    observer = BY_SESSION.watch(*START)
    assert observer is not None
    observer.head(200, (("content-type", "text/event-stream; charset=utf-8"),))
    first = sse.encode("x", {"type": "run.created", "run": run(status="created")})
    assert [list(observer.feed(first)), list(observer.feed(first))] == [[(THREAD, Entry({"run_id": "r1"}))], []]
    assert list(observer.feed(sse.encode("x", ["odd"]) + sse.encode("x", {"type": "message.part", "part": TEXT}))) == []
    last = sse.encode("x", {"type": "run.failed", "run": run(status="failed")})
    assert list(observer.feed(last)) == [(THREAD, Entry({"run_id": "r1", "over": True}))]
    assert list(observer.end(complete=True)) == []


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b'{"code": "not_found", "message": "Agent x not found"}'])
def test_an_answer_that_is_no_run_is_passed_over(body: bytes) -> None:
    assert seen(BY_SESSION.watch(*START), "application/json", body, status=404) == []


def test_an_answer_that_is_too_large_is_not_kept() -> None:
    body = answer(run(output="x" * 5_000_000)).body
    chunks = [body[i : i + 1_000_000] for i in range(0, len(body), 1_000_000)]
    assert seen(BY_SESSION.watch(*START), "application/json", *chunks) == []
