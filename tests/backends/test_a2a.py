"""A2A: three bindings, told by the card; a context is what its tasks are; an answer goes to one of them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from typing import Any

import pytest

from ap_resume_shim.backends.a2a.card import CARD, read_card
from ap_resume_shim.backends.a2a.dialect import A2A
from ap_resume_shim.backends.a2a.observer import A2aObserver
from ap_resume_shim.backends.a2a.stream import A2aStream
from ap_resume_shim.backends.a2a.task import Task, message
from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import Answers, Found, Observer, Started
from ap_resume_shim.core.errors import (
    ConfigurationError,
    MultipleInterrupts,
    ResumeError,
    UnsupportedInput,
    UpstreamError,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.steps import Ask, Entry, ReadLedger, Step
from tests.backends.driving import THREAD, answer, resume

JsonList = list[Any]
GET_CARD = f"GET {CARD}"


def card(*interfaces: tuple[str, str], streams: bool = True, **more: Any) -> dict[str, Any]:
    """A card of the current SDK."""
    offered = [{"protocolBinding": b, "protocolVersion": v, "url": "https://public.example/a2a"} for b, v in interfaces]
    return {"name": "Helper", "supportedInterfaces": offered, "capabilities": {"streaming": streams}, **more}


RPC_CARD, REST_CARD = card(("JSONRPC", "1.0")), card(("HTTP+JSON", "1.0"))
OLD_CARD = {"name": "Helper", "url": "http://h/", "protocolVersion": "0.3.0", "capabilities": {"streaming": True}}
COMPAT_CARD = card(("JSONRPC", "0.3"))
LIST = f"GET /a2a/tasks?contextId={THREAD}&pageSize=100&historyLength=50"


def said(role: str, text: str, id_: str = "m1") -> dict[str, Any]:
    return {"messageId": id_, "role": role, "parts": [{"text": text}]}


QUESTION = said("ROLE_AGENT", "approve?", "q1")
ASKS = Interrupt(
    "q1",
    {
        "task_id": "t1",
        "state": "input-required",
        "message": {"role": "assistant", "content": "approve?", "id": "q1"},
    },
)


def task(state: str = "input-required", id_: str = "t1", at: str = "2026-11-24T10:00:00Z", **more: Any) -> Any:
    """A task as 1.0 spells it; one that waits has asked."""
    status: dict[str, Any] = {"state": "TASK_STATE_" + state.upper().replace("-", "_"), "timestamp": at}
    if state.endswith("required") and "history" not in more:
        status["message"] = QUESTION
    return {"id": id_, "contextId": THREAD, "status": {**status, **more.pop("status", {})}, **more}


def old(value: Any) -> Any:
    """The same as 0.3 spells it."""
    state = value["status"]["state"].removeprefix("TASK_STATE_").lower().replace("_", "-")
    return {**value, "kind": "task", "status": {**value["status"], "state": state}}


def rpc(result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": result}


def failure(code: int, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": text}}


def name(request: Request) -> str:
    """A request in one line: of JSON-RPC, its method."""
    method = request.json.get("method") if request.body is not None else None
    return f"{request.method} {request.target}" + (f" {method}" if method else "")


def follow(flow: Generator[Step, Any, Any], server: dict[str, Any], ledger: Iterable[str] = ()) -> tuple[str, Any]:
    """Answer what a dialect asks; a list gives one answer after the other."""
    asked: list[str] = []
    told: Any = None
    try:
        while True:
            step = flow.send(told)
            if isinstance(step, ReadLedger):
                told = [Entry({"task": task_id, "newer": 1}) for task_id in ledger]
                continue
            assert isinstance(step, Ask)
            asked.append(" + ".join(map(name, step.requests)))
            answers = [server[name(request)] for request in step.requests]
            answers = [one.pop(0) if isinstance(one, list) else one for one in answers]
            told = tuple(one if isinstance(one, Response) else answer(one) for one in answers)
    except StopIteration as ended:
        return " > ".join(asked), ended.value


def look(tasks: Any, dialect: A2A | None = None, card: Any = REST_CARD, **fields: Any) -> tuple[str, Found[Any]]:
    """A lookup by REST."""
    full = fields.pop("full", True)
    responses = tasks if isinstance(tasks, Response) else {"tasks": tasks}
    return follow((dialect or A2A()).inspect_thread(resume(**fields), full=full), {GET_CARD: card, LIST: responses})


def found(*tasks: Any, **fields: Any) -> Found[Any]:
    return look(list(tasks), **fields)[1]


def refused(server: dict[str, Any], dialect: A2A | None = None, ledger: Iterable[str] = (), **more: Any) -> ResumeError:
    with pytest.raises(ResumeError) as error:
        follow((dialect or A2A()).inspect_thread(resume(**more)), server, ledger)
    return error.value


# The card


def test_the_card_says_where_and_how() -> None:
    asked, thread = look([task()])
    assert asked == f"{GET_CARD} > {LIST}"
    assert (thread.status, thread.interrupts, thread.agent_id, thread.run_id) == (
        "interrupted",
        (ASKS,),
        "Helper",
        "t1",
    )


def test_the_cards_favourite_of_those_that_the_shim_speaks_is_taken() -> None:
    both = card(("GRPC", "1.0"), ("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"))
    asked, _ = follow(A2A().inspect_thread(resume()), {GET_CARD: both, "POST /a2a ListTasks": rpc({"tasks": [task()]})})
    assert asked == f"{GET_CARD} > POST /a2a ListTasks"


def test_an_option_overrides_the_cards_preference() -> None:
    both = card(("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"))
    assert look([task()], A2A(binding="rest"), both)[0] == f"{GET_CARD} > {LIST}"


def test_cards_of_0_3_name_one_url_and_others_beside() -> None:
    server = {GET_CARD: OLD_CARD, "POST / tasks/get": rpc(old(task()))}
    assert follow(A2A().inspect_thread(resume()), server, ["t1"])[0] == f"{GET_CARD} > POST / tasks/get"
    other = {**OLD_CARD, "preferredTransport": "GRPC", "additionalInterfaces": [{"transport": "JSONRPC", "url": "/b"}]}
    server = {GET_CARD: other, "POST /b tasks/get": rpc(old(task()))}
    assert follow(A2A().inspect_thread(resume()), server, ["t1"])[0] == f"{GET_CARD} > POST /b tasks/get"


def card_with(url: str) -> dict[str, Any]:
    """A card with one REST interface, at this URL."""
    return {**REST_CARD, "supportedInterfaces": [{**REST_CARD["supportedInterfaces"][0], "url": url}]}


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("a2a", "/.well-known/a2a"),
        ("../a2a", "/a2a"),
        ("//h/a2a", "/a2a"),
        ("http://h", ""),
        ("http://h/ü b", "/%C3%BC%20b"),
    ],
)
def test_the_url_in_a_card_may_be_relative_to_it(url: str, path: str) -> None:
    listing = LIST.replace("/a2a", path, 1)
    assert follow(A2A().inspect_thread(resume()), {GET_CARD: card_with(url), listing: {"tasks": [task()]}})[0].endswith(
        listing
    )


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://h/m%C3%BC/api/a2a", "/a2a"),
        ("http://h/mü/api/a2a/", "/a2a"),
        ("a2a", "/.well-known/a2a"),
        ("../../api/a2a", "/a2a"),
        ("http://h/mü/api", ""),
        ("http://h/mü/apis", "/m%C3%BC/apis"),
        ("http://h/mü/api/mü/api", "/m%C3%BC/api"),
        ("http://h/a2a", "/a2a"),
    ],
)
def test_the_path_in_a_card_is_used_below_the_mount_point(url: str, path: str) -> None:
    response = Response(200, (), strictjson.dumps(card_with(url)), "/m%C3%BC/api")
    assert read_card(response, CARD, None, None).binding.location("t1") == f"{path}/tasks/t1"


@pytest.mark.parametrize("malformed", [None, "text", {**REST_CARD["supportedInterfaces"][0], "url": "http://[bad/"}])
def test_a_malformed_entry_of_a_card_is_skipped(malformed: Any) -> None:
    shown = {**REST_CARD, "supportedInterfaces": [malformed, *REST_CARD["supportedInterfaces"]]}
    assert look([task()], A2A(), shown)[0] == f"{GET_CARD} > {LIST}"


def test_tenants_stand_in_the_path_or_in_the_parameters() -> None:
    def of(binding: str) -> dict[str, Any]:
        shown = card((binding, "1.0"))
        return {**shown, "supportedInterfaces": [{**shown["supportedInterfaces"][0], "tenant": "x y"}]}

    server: dict[str, Any] = {GET_CARD: of("HTTP+JSON"), LIST.replace("/a2a", "/a2a/x%20y"): {"tasks": [task()]}}
    assert follow(A2A().inspect_thread(resume()), server)[1].status == "interrupted"
    server = {GET_CARD: of("JSONRPC"), "POST /a2a ListTasks": rpc({"tasks": [task()]})}
    context = follow(A2A().inspect_thread(resume()), server)[1].context
    assert context.agent.binding.task("t1").json["params"] == {"id": "t1", "tenant": "x y"}


def test_options_say_where_the_card_is_and_that_none_is_needed() -> None:
    server: dict[str, Any] = {"GET /b/card.json": REST_CARD, LIST: {"tasks": [task()]}}
    assert follow(A2A(card="/b/card.json").inspect_thread(resume()), server)[1].agent_id == "Helper"
    bare = A2A(binding="rest", path="/a2a/")
    asked, thread = follow(bare.inspect_thread(resume()), server)
    assert (asked, thread.agent_id) == (LIST, None)
    with pytest.raises(ConfigurationError, match=r"rest, jsonrpc, jsonrpc-0\.3"):
        A2A(binding="grpc")


def test_the_card_is_read_once_for_each_resume() -> None:
    dialect = A2A()
    asked, before = look([task()], dialect)
    assert asked == f"{GET_CARD} > {LIST}"
    again = dialect.refresh_thread(resume(), before)
    assert follow(again, {LIST: {"tasks": [task("working")]}})[0] == LIST
    assert look([task()], dialect)[0] == f"{GET_CARD} > {LIST}"


def test_a_card_that_changes_during_a_resume_counts_for_the_next_one_alone() -> None:
    dialect = A2A()
    _, first = look([task()], dialect, REST_CARD)
    _, second = look([task()], dialect, card(("HTTP+JSON", "1.0"), streams=False))
    assert (first.response_kinds or {})[Mode.STREAM] == "events"
    assert (second.response_kinds or {})[Mode.STREAM] == "run"
    read_by_the_first = follow(dialect.refresh_thread(resume(Mode.STREAM), first), {LIST: {"tasks": [task()]}})
    assert read_by_the_first[1].response_kinds == first.response_kinds


@pytest.mark.parametrize("shown", [answer("nothing here", 404), answer([1]), card(("GRPC", "1.0")), {"name": "x"}])
def test_a_card_that_says_nothing_is_said(shown: Any) -> None:
    assert isinstance(refused({GET_CARD: shown}), UpstreamUnrecognised)


def test_a_card_that_is_not_shown_to_everybody_is_401() -> None:
    assert refused({GET_CARD: answer({"detail": "no"}, 401)}).code == "unauthorized"


def test_another_agent_is_404() -> None:
    assert refused({GET_CARD: REST_CARD}, agent_id="nobody").code == "agent_not_found"
    assert found(task(), agent_id="Helper").agent_id == "Helper"


# The thread


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("submitted", "busy"),
        ("working", "busy"),
        ("input-required", "interrupted"),
        ("auth-required", "interrupted"),
        ("completed", "idle"),
        ("failed", "error"),
        ("rejected", "error"),
        ("canceled", "error"),
        ("unspecified", "idle"),
    ],
)
def test_a_context_stands_as_its_newest_task(state: str, status: str) -> None:
    thread = found(task("completed", "t0", "2026-11-24T09:00:00Z"), task(state))
    assert (thread.status, thread.run_id) == (status, "t1")
    assert bool(thread.interrupts) is (status == "interrupted")
    assert bool(thread.error) is (status == "error")


def test_while_another_task_works_a_question_is_answered_only_by_its_id() -> None:
    """An answer that comes too late for the one would find the other."""
    tasks = [task("working", "t0"), task()]
    assert (found(*tasks).status, found(*tasks).interrupts) == ("busy", (ASKS,))
    assert found(*tasks, interrupt_id="q1").status == "interrupted"
    assert found(*tasks, input={"q1": "yes"}).status == "interrupted"
    assert found(*tasks, input={"x": "yes"}).status == "busy"
    dialect = A2A()
    assert found(*tasks, dialect=dialect, full=False).status == "interrupted", "after a run, questions come first"


def test_a_question_has_its_own_id_else_its_tasks() -> None:
    assert found(task(history=[])).interrupts == (
        Interrupt("t1", {"task_id": "t1", "state": "input-required", "message": None}),
    )


def test_a_question_that_was_answered_is_none_though_the_agent_does_not_say_that_it_works() -> None:
    """The question stands in the history then, before the answer; the state is the same (recording 14 of 0.3.26)."""
    quiet = task(history=[QUESTION, said("ROLE_USER", "yes")])
    assert (found(quiet).status, found(quiet).interrupts) == ("busy", ())
    assert found(task(history=[said("ROLE_USER", "hello")])).status == "interrupted", "an agent may ask without words"


def test_ids_of_past_questions_are_those_that_the_agent_has_said_in_any_of_its_tasks() -> None:
    ended = task("completed", "t0", history=[said("ROLE_AGENT", "Go?", "q0"), said("ROLE_USER", "yes", "a0")])
    assert found(ended, task()).past_ids == {"t0", "q0", "t1", "q1"}


def pages(*pages: tuple[list[Any], str]) -> Found[Any]:
    responses = [answer(rpc({"tasks": tasks, "nextPageToken": page})) for tasks, page in pages]
    server = {GET_CARD: RPC_CARD, "POST /a2a ListTasks": responses}
    thread: Found[Any] = follow(A2A().inspect_thread(resume()), server)[1]
    return thread


def test_all_pages_are_read_and_tasks_of_other_contexts_left_out() -> None:
    """A filter that the server does not understand is ignored (recording 51)."""
    first = ([{**task(), "contextId": "other"}], "2")
    thread = pages(first, ([task(id_="t2")], ""), first)
    assert (thread.run_id, thread.moving) == ("t2", False)
    context = found(task()).context
    assert "&pageToken=2%3D" in context.agent.binding.tasks(THREAD, "2=").target


def test_a_task_that_changes_while_pages_are_read_is_seen_and_counts_as_busy() -> None:
    """The list is ordered by the last change: what changes is on another page than before."""
    quiet, asking = task("completed", "t0"), task(id_="t2", at="2026-11-24T11:00:00Z")
    thread = pages(([quiet], "2"), ([], ""), ([asking, quiet], "2"))
    assert (thread.status, thread.run_id, thread.moving) == ("interrupted", "t2", True)


def test_an_unknown_context_has_no_tasks() -> None:
    assert refused({GET_CARD: REST_CARD, LIST: {"tasks": []}}).code == "thread_not_found"


@pytest.mark.parametrize("told", [answer("Not Found", 404), answer([1]), answer("<html>")])
def test_a_server_that_does_not_speak_a2a_is_said(told: Response) -> None:
    assert isinstance(refused({GET_CARD: REST_CARD, LIST: told}), UpstreamUnrecognised)


def test_errors_of_lookups_are_what_they_are() -> None:
    assert refused({GET_CARD: REST_CARD, LIST: answer({"detail": "no"}, 403)}).code == "forbidden"
    server = {GET_CARD: RPC_CARD, "POST /a2a ListTasks": failure(-32601, "Method not found")}
    assert isinstance(refused(server), UpstreamError)


# 0.3: only what was seen


GET = "POST /a2a tasks/get"


def test_of_0_3_the_tasks_that_were_seen_are_asked_side_by_side() -> None:
    server = {GET_CARD: COMPAT_CARD, GET: [old(task("completed")), old(task(id_="t2"))]}
    server[GET] = [answer(rpc(one)) for one in server[GET]]
    asked, thread = follow(A2A().inspect_thread(resume()), server, ["t1", "t2"])
    assert asked == f"{GET_CARD} > {GET} + {GET}"
    assert [interrupt.value["task_id"] for interrupt in thread.interrupts] == ["t2"]


def test_without_a_task_that_was_seen_nothing_is_guessed() -> None:
    error = refused({GET_CARD: COMPAT_CARD, GET: failure(-32001, "Task not found")})
    assert (error.code, error.metadata) == ("thread_not_interrupted", {"thread_status": "unknown"})


def test_who_may_not_read_tasks_does_not_learn_whether_one_was_seen() -> None:
    stranger = {GET_CARD: COMPAT_CARD, GET: answer("who are you?", 401)}
    assert [refused(stranger, ledger=seen).code for seen in ([], ["t1"])] == ["unauthorized", "unauthorized"]


def test_tasks_that_the_agent_has_forgotten_are_none() -> None:
    gone = answer(failure(-32001, "Task not found"))
    server = {GET_CARD: COMPAT_CARD, GET: [gone, answer(rpc(old(task())))]}
    assert follow(A2A().inspect_thread(resume()), server, ["t0", "t1"])[1].run_id == "t1"
    assert refused({GET_CARD: COMPAT_CARD, GET: gone}, ledger=["t0"]).code == "thread_not_found"


def notes(seen: Observer, body: Any, *chunks: bytes, stream: bool = False) -> list[Any]:
    """What an exchange leaves in the ledger."""
    seen.request(body if isinstance(body, bytes) else strictjson.dumps(body))
    kind = "text/event-stream" if stream else "application/json"
    noted = list(seen.head(200, (("Content-Type", kind),)))
    for chunk in chunks:
        noted += seen.feed(chunk)
    return [*noted, *seen.end(complete=True)]


SENDS = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {}}


def test_any_post_is_looked_at() -> None:
    assert isinstance(A2A().watch("POST", "/anywhere"), A2aObserver)
    assert A2A().watch("GET", CARD) is None


def test_the_ledger_notes_the_task_of_an_answer_once_and_at_once() -> None:
    whole = strictjson.dumps(rpc(old(task())))
    assert notes(A2aObserver(), SENDS, whole[:20], whole[20:]) == [(THREAD, Entry({"task": "t1"}))]
    assert notes(A2aObserver(), SENDS, whole + b"\n") == [(THREAD, Entry({"task": "t1"}))], (
        "when it is known to be whole"
    )


def test_the_ledger_notes_the_tasks_of_events() -> None:
    told = [
        old(task("working")),
        {"kind": "status-update", "taskId": "t1", "contextId": THREAD, "status": {}},
        {"kind": "artifact-update", "taskId": "t2", "contextId": THREAD, "artifact": {}},
        {"kind": "message", "messageId": "m", "contextId": THREAD},
    ]
    chunks = [b"data: " + strictjson.dumps(rpc(one)) + b"\r\n\r\n" for one in told]
    assert notes(A2aObserver(), {**SENDS, "method": "message/stream"}, *chunks, stream=True) == [
        (THREAD, Entry({"task": "t1"})),
        (THREAD, Entry({"task": "t2"})),
    ]


@pytest.mark.parametrize("body", [b"", b"\xff", [1], {"method": "SendMessage"}, {"method": "tools/call"}])
def test_the_ledger_looks_at_nothing_else(body: Any) -> None:
    assert notes(A2aObserver(), body, strictjson.dumps(rpc(old(task())))) == []


def test_an_answer_that_is_an_error_is_nothing_to_note() -> None:
    assert notes(A2aObserver(), SENDS, strictjson.dumps(failure(-32001, "Task not found"))) == []
    assert notes(A2aObserver(), SENDS, b"[1]") == []


# The resume


def dialect_for(shown: Any) -> tuple[A2A, Found[Any]]:
    """A dialect, and a thread that waits, as a card says."""
    dialect = A2A()
    server = {
        GET_CARD: shown,
        LIST: {"tasks": [task()]},
        "POST /a2a ListTasks": rpc({"tasks": [task()]}),
        "POST /a2a tasks/get": rpc(old(task())),
        "POST / tasks/get": rpc(old(task())),
    }
    return dialect, follow(dialect.inspect_thread(resume()), server, ["t1"])[1]


def sent(shown: Any, mode: Mode, value: Any = "yes", **fields: Any) -> Request:
    """The request that resumes."""
    dialect, thread = dialect_for(shown)
    asked, verdict = replace(resume(mode, **{"input": value, **fields}), nonce="n1"), Answers({"q1": value})
    dialect.check(asked, thread, verdict)
    server = {"GET /a2a/tasks/t1": task(), "POST /a2a GetTask": rpc(task()), "POST / tasks/get": rpc(old(task()))}
    _, (thread, verdict) = follow(dialect.prepare(asked, thread, verdict), server)
    return dialect.resume(asked, thread, verdict)


MESSAGE = {"messageId": "n1", "role": "ROLE_USER", "parts": [{"text": "yes"}], "taskId": "t1", "contextId": THREAD}
OLD_MESSAGE = {**MESSAGE, "kind": "message", "role": "user", "parts": [{"kind": "text", "text": "yes"}]}


def test_rest_sends_to_the_task_and_its_context() -> None:
    request = sent(REST_CARD, Mode.BACKGROUND)
    assert (name(request), request.headers) == ("POST /a2a/message:send", (("a2a-version", "1.0"),))
    assert request.json == {"message": MESSAGE, "configuration": {"returnImmediately": True}}


def test_rests_wait_is_a_stream_since_only_there_a_failed_agent_is_told_from_a_failed_request() -> None:
    request = sent(REST_CARD, Mode.WAIT)
    assert (name(request), request.accept) == ("POST /a2a/message:stream", "text/event-stream")
    assert request.json == {"message": MESSAGE}


def test_json_rpc_has_all_three() -> None:
    assert [name(sent(RPC_CARD, mode)) for mode in Mode] == [
        "POST /a2a SendMessage",
        "POST /a2a SendMessage",
        "POST /a2a SendStreamingMessage",
    ]
    assert sent(RPC_CARD, Mode.WAIT).json["params"] == {
        "message": MESSAGE,
        "configuration": {"returnImmediately": False},
    }


def test_0_3_spells_it_in_its_own_way() -> None:
    request = sent(OLD_CARD, Mode.BACKGROUND)
    assert (name(request), request.headers) == ("POST / message/send", (("a2a-version", "0.3"),))
    assert request.json["params"] == {"message": OLD_MESSAGE, "configuration": {"blocking": False}}
    assert name(sent(OLD_CARD, Mode.STREAM)) == "POST / message/stream"


def test_an_agent_that_does_not_stream_is_not_asked_to() -> None:
    silent = {binding: card((binding, "1.0"), streams=False) for binding in ("JSONRPC", "HTTP+JSON")}
    assert name(sent(silent["JSONRPC"], Mode.STREAM)) == "POST /a2a SendMessage"
    assert name(sent(silent["HTTP+JSON"], Mode.WAIT)) == "POST /a2a/message:send"
    dialect, thread = dialect_for(silent["JSONRPC"])
    assert dialect.join(resume(), Started("t1", context=thread.context)) is None


def test_then_the_thread_tells_what_was_made() -> None:
    """Lists leave artifacts out."""
    dialect = A2A()
    made = task("completed", artifacts=[{"artifactId": "a", "parts": []}])
    server = {
        GET_CARD: card(("JSONRPC", "1.0"), streams=False),
        "POST /a2a ListTasks": rpc({"tasks": [task("completed")]}),
        "POST /a2a GetTask": rpc(made),
    }
    before = follow(dialect.inspect_thread(resume(Mode.STREAM)), server)[1]
    after = follow(dialect.refresh_thread(resume(Mode.STREAM), before), server)[1]
    assert after.values == {"artifacts": made["artifacts"], "messages": []}


def test_metadata_goes_with_the_message() -> None:
    assert sent(RPC_CARD, Mode.WAIT, metadata={"a": "b"}).json["params"]["metadata"] == {"a": "b"}


def parts(shown: Any, value: Any, **fields: Any) -> Any:
    request = sent(shown, Mode.BACKGROUND, value, **fields)
    return request.json.get("params", request.json)["message"]["parts"]


def test_text_is_text_and_other_values_are_data() -> None:
    values: JsonList = [None, True, 1.5, [], {"a": ["b", None]}]
    for value in values:
        assert parts(REST_CARD, value) == [{"data": value}]
    assert parts(OLD_CARD, {"a": 1}) == [{"kind": "data", "data": {"a": 1}}]


def test_a_clients_own_message_is_sent_as_it_is() -> None:
    blocks = [{"type": "text", "text": "see"}, {"type": "image", "url": "u"}]
    message = {"role": "user", "content": blocks}
    dialect, thread = dialect_for(REST_CARD)
    asked, verdict = resume(Mode.BACKGROUND, messages=[message]), Answers({"q1": [message]})
    dialect.check(asked, thread, verdict)
    _, (thread, _) = follow(dialect.prepare(asked, thread, verdict), {})
    assert dialect.resume(asked, thread, verdict).json["message"]["parts"] == [{"text": "see"}, {"data": blocks[1]}]
    asked = resume(Mode.BACKGROUND, messages=[{"role": "user", "content": "yes"}])
    _, (thread, _) = follow(dialect.prepare(asked, thread, verdict), {})
    assert thread.context.message["parts"] == [{"text": "yes"}]


@pytest.mark.parametrize("messages", [[{"role": "user", "content": "a"}] * 2, [{"role": "system", "content": "a"}]])
def test_a_task_takes_one_message_of_a_user(messages: JsonList) -> None:
    dialect, thread = dialect_for(REST_CARD)
    with pytest.raises(UnsupportedInput):
        dialect.check(resume(messages=messages), thread, Answers({"q1": messages}))


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        (REST_CARD, 3),
        (REST_CARD, {"a": [{"b": 3}]}),
        (COMPAT_CARD, {"a": 3}),
        (OLD_CARD, {"a": 2**53 + 1}),
        (OLD_CARD, None),
        (OLD_CARD, True),
        (OLD_CARD, 1.5),
        (OLD_CARD, []),
    ],
    ids=str,
)
def test_what_would_arrive_changed_is_refused(shown: Any, value: Any) -> None:
    with pytest.raises(UnsupportedInput):
        sent(shown, Mode.BACKGROUND, value)


def test_deep_values_are_refused_where_protocol_buffers_carry_them() -> None:
    deep: Any = {"a": "b"}
    for _ in range(29):
        deep = {"a": deep}
    assert parts(REST_CARD, deep) == [{"data": deep}]
    with pytest.raises(UnsupportedInput, match="30 levels"):
        parts(REST_CARD, {"a": deep})
    assert parts(OLD_CARD, {"a": deep})


def test_of_several_questions_one_is_answered_at_a_time() -> None:
    dialect, thread = dialect_for(REST_CARD)
    with pytest.raises(MultipleInterrupts):
        dialect.check(resume(), thread, Answers({"q1": "yes", "q2": "yes"}))


def test_the_question_that_is_answered_is_the_one_that_has_to_go() -> None:
    dialect = A2A()
    thread = found(task(), task(id_="t2", status={"message": said("ROLE_AGENT", "and?", "q2")}), dialect=dialect)
    _, (prepared, _) = follow(dialect.prepare(resume(Mode.BACKGROUND), thread, Answers({"q2": "yes"})), {})
    assert (prepared.run_id, [interrupt.id for interrupt in prepared.interrupts]) == ("t2", ["q2"])
    assert prepared.context.message["taskId"] == "t2"


# The answer


def body(value: Any) -> bytes:
    return strictjson.dumps(value)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (failure(-32001, "Task not found"), "thread_not_found"),
        (failure(-32004, "Task t1 is in terminal state: TASK_STATE_COMPLETED"), "thread_not_interrupted"),
        (failure(-32602, "Task t1 is in terminal state: completed"), "thread_not_interrupted"),
        (failure(-32602, "bad context id"), "invalid_request"),
        (failure(-32002, "Task cannot be canceled"), "thread_busy"),
        (failure(-32603, "task execution is already in progress"), "thread_busy"),
    ],
)
def test_a_refusal_of_json_rpc_comes_with_200(told: Any, code: str) -> None:
    dialect = dialect_for(RPC_CARD)[0]
    for mode in (Mode.BACKGROUND, Mode.WAIT):
        refusal = dialect.refused(resume(mode), answer(told))
        assert refusal is not None
        assert refusal.code == code
    event = Response(200, (), b"data: " + body(told) + b"\r\n\r\n")
    for response in (answer(told), event):  # as a body of its own in 1.0, as an event in 0.3
        assert dialect.begun(response.body)
        refusal = dialect.refused(resume(Mode.STREAM), response)
        assert refusal is not None
        assert refusal.code == code


def test_json_rpc_says_beside_what_was_invalid() -> None:
    told = failure(-32602, "Invalid params")
    told["error"]["data"] = [{"metadata": {"parseError": "Message too deep"}}]
    refusal = dialect_for(RPC_CARD)[0].refused(resume(), answer(told))
    assert refusal is not None
    assert "Message too deep" in refusal.message


def test_a_refusal_of_rest_has_a_status() -> None:
    dialect = dialect_for(REST_CARD)[0]
    told = {"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": "Task t1 is in terminal state: X"}}
    assert dialect.refusal(answer(told, 400)).code == "thread_not_interrupted"
    assert dialect.refusal(answer({"error": {"code": 404, "message": "gone"}}, 404)).code == "thread_not_found"
    assert dialect.refusal(answer("Bad Gateway", 502)).code == "upstream_error"
    assert dialect.refusal(answer({"detail": "who?"}, 401)).code == "unauthorized"
    event = Response(200, (), b"event: error\ndata: " + body({"error": {"code": 404, "message": "gone"}}) + b"\n\n")
    refusal = dialect.refused(resume(Mode.STREAM), event)
    assert refusal is not None
    assert refusal.code == "thread_not_found"


def test_an_agent_that_fails_has_taken_the_resume() -> None:
    dialect, thread = dialect_for(RPC_CARD)
    thread = replace(thread, run_id="t1")
    boom = answer(failure(-32603, "boom"))
    assert dialect.refused(resume(), boom) is None
    assert dialect.ended(boom.body) == Ended(error={"message": "boom"})
    started = dialect.started(Response(200), boom.body, resume(Mode.BACKGROUND), thread)
    assert started is not None
    assert (started.run_id, started.status, started.error) == ("t1", "error", {"message": "boom"})
    event = Response(200, (), b"event: error\ndata: " + boom.body + b"\n\n")
    assert dialect.refused(resume(Mode.STREAM), event) is None


def test_the_task_is_the_run() -> None:
    dialect, thread = dialect_for(REST_CARD)
    thread = replace(thread, run_id="t1")
    for told in ({"task": task("working")}, {"task": task("completed")}):
        started = dialect.started(Response(200), body(told), resume(Mode.BACKGROUND), thread)
        assert started is not None
        assert (started.run_id, started.agent_id, started.status) == ("t1", "Helper", "pending")
    started = dialect.started(Response(200), b"", resume(Mode.WAIT), thread)
    assert started == Started("t1", "Helper", context=thread.context)
    failed = dialect.started(Response(200), body({"task": task("failed")}), resume(Mode.BACKGROUND), thread)
    assert failed is not None
    assert failed.error == {"state": "failed", "message": "The task is failed."}


@pytest.mark.parametrize(
    ("shown", "location", "requests"),
    [
        (
            REST_CARD,
            "/a2a/tasks/t1",
            ["POST /a2a/tasks/t1:cancel", "GET /a2a/tasks/t1:subscribe", "GET /a2a/tasks/t1"],
        ),
        (RPC_CARD, None, ["POST /a2a CancelTask", "POST /a2a SubscribeToTask", "POST /a2a GetTask"]),
        (OLD_CARD, None, ["POST / tasks/cancel", "POST / tasks/resubscribe", "POST / tasks/get"]),
    ],
    ids=["rest", "jsonrpc", "old"],
)
def test_a_run_is_stopped_joined_and_read_by_its_id(shown: Any, location: str | None, requests: list[str]) -> None:
    dialect, thread = dialect_for(shown)
    started = Started("t1", context=thread.context)
    assert dialect.location(resume(), started) == location
    asked = [dialect.cancel(resume(), started), dialect.join(resume(), started), dialect.run(resume(), started)]
    assert [name(request) for request in asked if request is not None] == requests
    assert asked[1] is not None
    assert asked[1].accept == "text/event-stream"
    assert dialect.delete(resume()) is None


def test_a_run_has_ended_when_its_task_is_at_rest() -> None:
    dialect = dialect_for(REST_CARD)[0]
    assert not dialect.has_ended(answer(task("working")))
    assert not dialect.has_ended(answer(rpc(old(task("submitted")))))
    for state in ("completed", "failed", "input-required"):
        assert dialect.has_ended(answer(task(state)))
    assert dialect.has_ended(answer(failure(-32001, "Task not found")))


def test_a_wait_ends_with_what_was_made_and_said() -> None:
    dialect = dialect_for(RPC_CARD)[0]
    made = {"artifactId": "a", "name": "result", "parts": [{"data": {"x": 1.0}}]}
    told = task("completed", artifacts=[made], history=[said("ROLE_USER", "go"), QUESTION])
    asked = {"role": "assistant", "content": "approve?", "id": "q1"}
    heard = {"role": "user", "content": "go", "id": "m1"}
    values = {"artifacts": [made], "messages": [heard, asked]}
    assert dialect.ended(b"  " + body(rpc({"task": told}))) == Ended(values)
    failed = task("failed", status={"message": said("ROLE_AGENT", "no disk", "e")})
    assert dialect.ended(body(rpc(old(failed)))).error == {"state": "failed", "message": "no disk"}


def test_an_agent_may_answer_with_a_message_alone() -> None:
    ended = dialect_for(RPC_CARD)[0].ended(body(rpc({"message": said("ROLE_AGENT", "hi")})))
    assert ended.values == {"artifacts": [], "messages": [{"role": "assistant", "content": "hi", "id": "m1"}]}
    for unknown in (b"[]", b"{}", b'{"jsonrpc": "2.0", "result": {"kind": "status-update"}}'):
        with pytest.raises(UpstreamUnrecognised, match="contains no task"):
            dialect_for(RPC_CARD)[0].ended(unknown)


def test_a_list_of_tasks_without_an_end_is_given_up() -> None:
    page = {"tasks": [task()], "nextPageToken": "1"}
    error = refused({GET_CARD: REST_CARD, LIST: page, f"{LIST}&pageToken=1": page})
    assert (error.code, "is endless" in error.message) == ("upstream_unrecognised", True)


def test_json_in_place_of_events_is_no_guess() -> None:
    dialect, thread = dialect_for(REST_CARD)
    with pytest.raises(UpstreamUnrecognised, match="not an event stream"):
        dialect.started(
            Response(200), body({"task": task("working")}), resume(Mode.STREAM), replace(thread, run_id="t1")
        )


def test_parts_that_are_not_text_are_blocks() -> None:
    """Lists show fields that are not there as "" (recording 03)."""
    told = [{"kind": "text", "text": "see"}, {"data": "", "filename": ""}, {"kind": "file", "file": {"uri": "u"}}]
    assert message({"messageId": "m", "role": "agent", "parts": told})["content"] == [
        {"type": "text", "text": "see"},
        {"type": "data", "data": ""},
        {"type": "file", "file": {"uri": "u"}},
    ]


# The stream


def events(*told: Any, modes: tuple[Any, ...] = ("values", "messages", "updates", "custom")) -> list[tuple[Any, Any]]:
    """What a client gets of a stream, which comes byte by byte."""
    reframer = stream(modes)
    raw = b"".join(b"data: " + body(one) + b"\r\n\r\n" for one in told)
    got = b"".join(reframer.feed(raw[at : at + 1]) for at in range(len(raw))) + reframer.finish()
    assert reframer.between_events
    return [(event.name, event.json) for event in sse.Decoder().feed(got)]


def stream(modes: tuple[Any, ...] = ("values",)) -> A2aStream:
    before = task(history=[said("ROLE_USER", "go")])
    before["status"]["message"] = QUESTION
    return A2aStream(Emitter(modes), Task(before), said("ROLE_USER", "yes", "n1"))


def status(state: str, **more: Any) -> dict[str, Any]:
    return {"statusUpdate": {"taskId": "t1", "contextId": THREAD, "status": {**task(state)["status"], **more}}}


def artifact(text: str, **more: Any) -> dict[str, Any]:
    made = {"artifactId": "a", "name": "result", "parts": [{"text": text}]}
    return {"artifactUpdate": {"taskId": "t1", "contextId": THREAD, "artifact": made, **more}}


SAID = [
    {"role": "user", "content": "go", "id": "m1"},
    {"role": "assistant", "content": "approve?", "id": "q1"},
    {"role": "user", "content": "yes", "id": "n1"},
]


def test_a_stream_tells_what_is_said_and_made_and_then_all() -> None:
    got = events(status("working"), artifact("ab"), artifact("c", append=True, lastChunk=True), status("completed"))
    whole = {"artifactId": "a", "name": "result", "parts": [{"text": "ab"}, {"text": "c"}]}
    about = {"id": "a", "artifact": "result"}
    assert got == [
        ("custom", {"status": task("working")["status"]}),
        ("messages", [{"role": "assistant", "content": "ab"}, about]),
        ("messages", [{"role": "assistant", "content": "c"}, about]),
        ("updates", {"result": whole}),
        ("custom", {"status": task("completed")["status"]}),
        ("values", {"artifacts": [whole], "messages": SAID}),
    ]


def test_an_artifact_without_a_last_chunk_is_told_at_the_end() -> None:
    got = events(artifact("ab"), artifact("cd"), status("completed"), modes=("updates",))
    assert got == [("updates", {"result": artifact("cd")["artifactUpdate"]["artifact"]})], "a new one replaces it"


def test_what_an_agent_says_while_it_works_is_a_message() -> None:
    told = status("working", message=said("ROLE_AGENT", "soon", "s"))
    assert events(told, modes=("messages",)) == [("messages", [{"role": "assistant", "content": "soon"}, {"id": "s"}])]
    values = dict(events(told, status("completed"), modes=("values",)))["values"]
    assert [item["id"] for item in values["messages"]] == ["m1", "q1", "n1", "s"]


def test_a_stream_is_over_at_the_next_question() -> None:
    reframer = stream()
    asked = said("ROLE_AGENT", "sure?", "q2")
    reframer.feed(b"data: " + body(status("working")) + b"\n\n")
    assert not reframer.over
    got = reframer.feed(b"data: " + body(status("input-required", message=asked)) + b"\n\n: and a comment\n\n")
    assert reframer.over
    last = sse.Decoder().feed(got)[-1].json
    assert [interrupt["id"] for interrupt in last["__interrupt__"]] == ["q2"]
    assert reframer.feed(b"data: " + body(status("working")) + b"\n\n") == reframer.finish() == b""


def test_the_task_as_it_was_does_not_end_the_stream() -> None:
    """The specification wants the task as the first event; some servers send it with the question in it."""
    before = task()
    assert events({"task": before}, status("completed"), modes=("custom",)) == [
        ("custom", {"status": task("completed")["status"]})
    ]
    (got,) = events({"task": task("completed", artifacts=[])}, modes=("values",))
    assert got == ("values", {"artifacts": [], "messages": []})


def test_a_task_that_fails_is_an_error_at_last() -> None:
    got = events(status("failed", message=said("ROLE_AGENT", "no disk")), modes=("updates",))
    assert got == [("error", {"state": "failed", "message": "no disk"})]


def test_an_agent_that_raises_is_an_error_in_the_midst() -> None:
    reframer = stream()
    got = reframer.feed(b"event: error\ndata: " + body(failure(-32603, "boom")) + b"\n\n")
    assert got == sse.encode("error", {"code": -32603, "message": "boom"})
    assert reframer.over
    assert reframer.ended().error == {"code": -32603, "message": "boom"}


def test_an_agent_that_raises_at_once_is_an_error_in_a_body_without_events() -> None:
    reframer = stream()
    assert reframer.feed(body(failure(-32603, "boom"))) == b""
    assert reframer.finish() == sse.encode("error", {"code": -32603, "message": "boom"})


def test_a_message_alone_ends_a_stream() -> None:
    got = events({"message": said("ROLE_AGENT", "hi", "x")}, modes=("messages", "values"))
    assert got[0] == ("messages", [{"role": "assistant", "content": "hi"}, {"id": "x"}])
    assert [item["id"] for item in got[1][1]["messages"]] == ["m1", "q1", "n1", "x"]


def test_events_of_0_3_stand_in_an_envelope() -> None:
    told = {"kind": "status-update", "taskId": "t1", "contextId": THREAD, "status": {"state": "completed"}}
    assert events(rpc(told), modes=("custom",)) == [("custom", {"status": {"state": "completed"}})]


def test_a_stream_that_ends_early_tells_what_it_has() -> None:
    assert events(7, rpc({"odd": 1}), artifact("ab"), modes=("updates",)) == [
        ("updates", {"result": artifact("ab")["artifactUpdate"]["artifact"]})
    ]


def test_a_drained_stream_tells_how_the_run_ended() -> None:
    dialect, thread = dialect_for(REST_CARD)
    asked, verdict = resume(Mode.WAIT), Answers({"q1": "yes"})
    _, (thread, _) = follow(dialect.prepare(asked, thread, verdict), {"GET /a2a/tasks/t1": task(history=[])})
    reframer = dialect.reframer(asked, Started("t1", context=thread.context))
    for told in (artifact("ab"), status("completed")):
        reframer.feed(b"data: " + body(told) + b"\n\n")
    ended = reframer.ended()
    assert (ended.values["artifacts"][0]["name"], ended.error) == ("result", None)
