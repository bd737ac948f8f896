"""Answers in a WebSocket, guarded: one message at a time, and everything else in its place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from ap_resume_shim import Limits, ResumeShim
from ap_resume_shim._shutdown import SHUTDOWN
from ap_resume_shim.backends import load_backend
from ap_resume_shim.backends.langgraph.conventions import CommandSocket
from ap_resume_shim.guard.memory import _MemorySession
from ap_resume_shim.metrics import Metrics
from ap_resume_shim.tracing import Tracing
from tests.support.agent import Agent, reply
from tests.support.calling import Call, Recorder, http

pytestmark = pytest.mark.anyio
PROTOCOL = load_backend("agent-protocol")
PROTOCOL.commit = "with_answer"
PROTOCOL.conventions = (*PROTOCOL.conventions, CommandSocket())
EVENTS = "/threads/t/stream/events"
NAME = CommandSocket.name
HEADERS = [(b"host", b"here"), (b"authorization", b"me"), (b"upgrade", b"websocket"), (b"sec-websocket-key", b"k")]
SCOPE = {"type": "websocket", "scheme": "ws", "path": EVENTS, "root_path": "", "query_string": b"", "headers": HEADERS}

Script = Callable[["Server", Receive, Send], Awaitable[None]]


def respond(number: Any, value: Any = "yes", **more: Any) -> str:
    return json.dumps({"id": number, "method": "input.respond", "params": {"response": value}, **more})


def text(content: str) -> Message:
    return {"type": "websocket.receive", "text": content}


def success(number: int) -> str:
    return json.dumps({"type": "success", "id": number, "result": {}})


def error(number: int) -> str:
    return json.dumps({"type": "error", "id": number, "error": "no_such_interrupt", "message": "none"})


@dataclass
class Server:
    """An agent server with a WebSocket, which receives `got`."""

    script: Script
    agent: Agent = field(default_factory=Agent)
    got: list[Message] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.agent(scope, receive, send)
            return
        self.scopes.append(scope)

        async def recorded() -> Message:
            self.got.append(message := await receive())
            return message

        await recorded()
        await send({"type": "websocket.accept"})
        await self.script(self, recorded, send)

    @property
    def texts(self) -> list[Any]:
        return [message.get("text") or message.get("bytes") for message in self.got if "receive" in message["type"]]


async def answers(server: Server, receive: Receive, send: Send) -> None:
    """Take each answer, ask no more, and respond to other messages with an event."""
    while (message := await receive())["type"] == "websocket.receive":
        content = message.get("text") or message["bytes"].decode(errors="replace")
        if '"params"' in content:
            server.agent.status = "idle"
            await send({"type": "websocket.send", "text": success(json.loads(content)["id"])})
        else:
            await send({"type": "websocket.send", "text": f"seen {content}"})


class Wire:
    """The client's side of one WebSocket."""

    def __init__(self, app: ResumeShim) -> None:
        self.sent: list[Message] = []
        self.go, self.blocked = asyncio.Event(), False
        self.go.set()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._messages.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(app(dict(SCOPE), self._messages.get, self._send))

    async def _send(self, message: Message) -> None:
        if message["type"] == "websocket.send" and not self.go.is_set():
            self.blocked = True
            await self.go.wait()
        self.sent.append(message)

    def put(self, *messages: str | Message) -> None:
        for message in messages:
            self._messages.put_nowait(text(message) if isinstance(message, str) else message)

    @property
    def values(self) -> list[Any]:
        """What the client received: JSON values where a message is JSON."""
        texts = [message["text"] for message in self.sent if message["type"] == "websocket.send"]
        return [json.loads(each) if each.startswith("{") else each for each in texts]

    async def receives(self, count: int) -> list[Any]:
        await until(lambda: len(self.values) >= count or self.task.done())
        return self.values

    async def closes(self) -> None:
        self.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, 10)


async def until(happened: Callable[[], Any]) -> None:
    for _ in range(500):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def shim(server: Server, mode: Any = "guard", **options: Any) -> ResumeShim:
    return ResumeShim(server, PROTOCOL, vendor_resumes=mode, settle=0.2, **options)


async def patch(app: ResumeShim, value: str = "no") -> Call:
    call = Call(json.dumps({"thread_id": "t", "input": value}).encode())
    await call(app, http("PATCH", "/runs/resume"))
    return call


def verdicts(app: ResumeShim) -> dict[str, int]:
    counts: dict[str, int] = app.report()["conventions"].get(NAME, {"verdicts": {}})["verdicts"]
    return counts


async def test_an_answer_is_sent_unchanged_and_so_is_the_response() -> None:
    wire = Wire(app := shim(server := Server(answers)))
    wire.put(message := '{"method": "input.respond", "id": 7, "params": {"response": "y\\u0065s"}}')
    assert await wire.receives(1) == [json.loads(success(7))]
    assert server.texts == [message]
    await wire.closes()
    assert verdicts(app) == {"accepted": 1}


async def test_lookups_have_the_credentials_of_the_handshake_and_none_of_its_other_fields() -> None:
    wire = Wire(shim(server := Server(answers)))
    wire.put(respond(1))
    await wire.receives(1)
    await wire.closes()
    lookup = server.agent.seen[0]
    assert (lookup.method, lookup.scope["type"], lookup.scope["scheme"]) == ("GET", "http", "http")
    assert (b"authorization", b"me") in lookup.headers
    assert not {name for name in lookup.names if name == b"upgrade" or name.startswith(b"sec-websocket")}


async def test_what_nobody_asked_is_refused_and_the_next_message_goes_on() -> None:
    wire = Wire(app := shim(server := Server(answers, Agent(status="idle"))))
    wire.put(respond(7), "next")
    refusal, seen = await wire.receives(2)
    assert {key: refusal[key] for key in ("type", "id", "error")} == {
        "type": "error",
        "id": 7,
        "error": "no_such_interrupt",
    }
    assert "not interrupted" in refusal["message"]
    assert (seen, server.texts) == ("seen next", ["next"])
    await wire.closes()
    assert verdicts(app) == {"thread_not_interrupted": 1}


OTHERS = ["{", "[1]", '{"id": 1}', '{"method": "input.respond"}', '{"id": "1", "method": "input.respond"}', "é" * 1000]


async def test_other_messages_pass_in_their_order() -> None:
    wire = Wire(shim(server := Server(answers)))
    wire.put(*OTHERS, {"type": "websocket.receive", "bytes": b"\xff\x00", "text": None}, "last")
    await until(lambda: len(server.got) == len(OTHERS) + 3)
    assert server.texts == [*OTHERS, b"\xff\x00", "last"]
    await wire.closes()
    assert server.got[-1] == {"type": "websocket.disconnect", "code": 1000}
    assert server.agent.seen == []


async def test_a_binary_answer_is_one_since_a_server_reads_it() -> None:
    wire = Wire(shim(server := Server(answers, Agent(status="idle"))))
    wire.put({"type": "websocket.receive", "bytes": respond(1).encode().replace(b"yes", b"\xff")})
    assert (await wire.receives(1))[0]["type"] == "error"
    assert server.texts == []
    await wire.closes()


async def test_the_last_of_duplicate_keys_counts() -> None:
    wire = Wire(shim(server := Server(answers, Agent(status="idle"))))
    wire.put('{"id": 1, "method": "agent.getTree", "method": "input.respond", "params": {}}')
    assert (await wire.receives(1))[0]["type"] == "error"
    assert server.texts == []
    await wire.closes()


@pytest.mark.parametrize("mode", ["pass", "observe"])
async def test_nothing_is_read_unless_it_is_guarded(mode: str) -> None:
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.append(arguments)

    given = dict(SCOPE), lambda: None, lambda message: None
    await ResumeShim(app, PROTOCOL, vendor_resumes=mode)(*given)  # type: ignore[arg-type]
    assert [one is other for one, other in zip(seen[0], given, strict=True)] == [True, True, True]


async def test_another_websocket_is_not_read() -> None:
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.append(arguments)

    given = {**SCOPE, "path": "/threads/t/other"}, lambda: None, lambda message: None
    await ResumeShim(app, PROTOCOL, vendor_resumes="guard")(*given)  # type: ignore[arg-type]
    assert [one is other for one, other in zip(seen[0], given, strict=True)] == [True, True, True]


async def test_messages_wait_behind_an_answer_and_events_do_not() -> None:
    go = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await reply(send, server.agent.thread)

    async def with_event(server: Server, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.send", "text": "event"})
        await answers(server, receive, send)

    server = Server(with_event)
    server.agent.extra["/threads/t"] = slow
    wire = Wire(shim(server))
    wire.put(respond(1), "next")
    assert await wire.receives(1) == ["event"]
    await asyncio.sleep(0.05)
    assert server.texts == []
    go.set()
    assert await wire.receives(3) == ["event", json.loads(success(1)), "seen next"]
    assert server.texts == [respond(1), "next"]
    await wire.closes()


async def test_of_two_answers_one_is_sent() -> None:
    wire = Wire(shim(server := Server(answers)))
    wire.put(respond(1), respond(2))
    first, second = await wire.receives(2)
    assert (first["id"], first["type"], second["id"], second["type"]) == (1, "success", 2, "error")
    assert server.texts == [respond(1)]
    await wire.closes()


async def test_of_two_connections_one_answers() -> None:
    app = shim(server := Server(answers))
    wires = [Wire(app) for _ in range(2)]
    for wire in wires:
        wire.put(respond(1))
    replies = [(await wire.receives(1))[0]["type"] for wire in wires]
    assert sorted(replies) == ["error", "success"]
    assert len(server.texts) == 1
    for wire in wires:
        await wire.closes()


async def test_an_answer_that_the_server_refuses_was_not_taken() -> None:
    async def refuses(server: Server, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.send", "text": error(1)})
        await receive()

    wire = Wire(app := shim(Server(refuses)))
    wire.put(respond(1))
    assert await wire.receives(1) == [json.loads(error(1))]
    assert (await patch(app)).status == 200
    await wire.closes()


async def test_the_response_comes_after_the_guard_and_later_events_after_the_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marked: list[int] = []
    mark = _MemorySession.mark_accepted

    async def slow(self: _MemorySession, *arguments: Any, **options: Any) -> None:
        await asyncio.sleep(0.05)
        await mark(self, *arguments, **options)
        marked.append(len(wire.values))

    monkeypatch.setattr(_MemorySession, "mark_accepted", slow)

    async def with_event(server: Server, receive: Receive, send: Send) -> None:
        await receive()
        replying = asyncio.ensure_future(send({"type": "websocket.send", "text": success(1)}))
        await asyncio.sleep(0)
        await send({"type": "websocket.send", "text": "event"})
        await replying
        await receive()

    wire = Wire(shim(Server(with_event)))
    wire.put(respond(1))
    assert await wire.receives(2) == [json.loads(success(1)), "event"]
    assert marked == [0]
    await wire.closes()


async def test_a_cancelled_receive_loses_no_answer() -> None:
    async def impatient(server: Server, receive: Receive, send: Send) -> None:
        while True:
            try:
                async with asyncio.timeout(0.01):
                    message = await receive()
            except TimeoutError:
                continue
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": success(1)})

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.1)
        await reply(send, server.agent.thread)

    server = Server(impatient)
    server.agent.extra["/threads/t"] = slow
    wire = Wire(shim(server))
    wire.put(respond(1))
    assert await wire.receives(1) == [json.loads(success(1))]
    assert server.texts == [respond(1)]
    await wire.closes()


async def test_a_lapsed_hold_stays_lapsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app gives up its `receive` while the refusal is being sent, and calls it again."""
    held = iter([False])
    monkeypatch.setattr(_MemorySession, "still_held", lambda self: next(held, True))

    async def impatient(server: Server, receive: Receive, send: Send) -> None:
        waiting = asyncio.ensure_future(receive())
        await until(lambda: wire.blocked)
        waiting.cancel()
        again = asyncio.ensure_future(receive())
        await asyncio.sleep(0.05)
        wire.go.set()
        await again

    wire = Wire(shim(server := Server(impatient)))
    wire.go.clear()
    wire.put(respond(1))
    assert (await wire.receives(1))[0]["type"] == "error"
    await wire.closes()
    assert server.texts == []


async def test_the_outcome_is_unknown_if_the_websocket_ends_before_the_response() -> None:
    go = asyncio.Event()

    async def leaves(server: Server, receive: Receive, send: Send) -> None:
        await receive()
        server.agent.extra.clear()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await reply(send, server.agent.thread)

    server = Server(leaves)
    app = shim(server)
    server.agent.extra["/threads/t"] = slow
    draft = asyncio.create_task(patch(app))
    await asyncio.sleep(0.05)
    server.agent.extra.clear()
    wire = Wire(app)
    wire.put(respond(1))
    await asyncio.wait_for(wire.task, 10)
    go.set()
    assert (await draft).status == 409, "it was overtaken by an answer that may have been taken"
    assert verdicts(app) == {"upstream_error": 1}
    assert wire.values == []


async def test_an_answer_that_the_app_does_not_receive_was_not_sent() -> None:
    async def leaves(server: Server, receive: Receive, send: Send) -> None:
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.sleep(0.15)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.1)
        await reply(send, server.agent.thread)

    app = shim(server := Server(leaves))
    server.agent.extra["/threads/t"] = slow
    wire = Wire(app)
    wire.put(respond(1))
    await asyncio.wait_for(wire.task, 10)
    assert verdicts(app) == {"upstream_unreachable": 1}
    assert (await patch(app)).status == 200


async def test_nothing_is_sent_after_the_hold_has_lapsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_MemorySession, "still_held", lambda self: False)
    wire = Wire(shim(server := Server(answers)))
    wire.put(respond(1), "next")
    refusal, seen = await wire.receives(2)
    assert (refusal["type"], refusal["id"], seen) == ("error", 1, "seen next")
    assert "nothing was sent" in refusal["message"]
    assert server.texts == ["next"]
    await wire.closes()


async def test_a_message_above_the_limit_closes_the_websocket() -> None:
    app = shim(server := Server(answers), limits=Limits(body=100))
    wire = Wire(app)
    wire.put("x" * 100, "x" * 101, "after")
    await asyncio.wait_for(wire.task, 10)
    assert server.texts == ["x" * 100]
    assert [server.got[-1]["type"], server.got[-1]["code"]] == ["websocket.disconnect", 1009]
    assert (wire.sent[-1]["type"], wire.sent[-1]["code"]) == ("websocket.close", 1009)
    assert verdicts(app) == {"request_too_large": 1}


async def test_a_message_that_is_nested_too_deep_closes_the_websocket() -> None:
    wire = Wire(shim(server := Server(answers)))
    wire.put("[" * 100_000 + "]" * 100_000)
    await asyncio.wait_for(wire.task, 10)
    assert [server.got[-1]["type"], server.got[-1]["code"]] == ["websocket.disconnect", 1008]
    assert (wire.sent[-1]["type"], wire.sent[-1]["code"]) == ("websocket.close", 1008)


async def test_nothing_is_sent_or_received_after_the_shim_has_closed_the_websocket() -> None:
    async def goes_on(server: Server, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        await send({"type": "websocket.send", "text": "late"})

    wire = Wire(shim(server := Server(goes_on), limits=Limits(body=10)))
    wire.put("x" * 11)
    await asyncio.wait_for(wire.task, 10)
    assert [message["type"] for message in wire.sent] == ["websocket.accept", "websocket.close"]
    assert [message["type"] for message in server.got[1:]] == ["websocket.disconnect"] * 2


async def test_a_fault_of_the_shim_closes_the_websocket(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(_MemorySession, "rival", fails)
    wire = Wire(shim(server := Server(answers)))
    wire.put(respond(1))
    await asyncio.wait_for(wire.task, 10)
    assert (wire.sent[-1]["type"], wire.sent[-1]["code"]) == ("websocket.close", 1011)
    assert server.got[-1] == {"type": "websocket.disconnect", "code": 1011}
    assert server.texts == []
    assert "a fault" in caplog.text


async def test_the_exception_of_the_app_is_raised() -> None:
    async def fails(server: Server, receive: Receive, send: Send) -> None:
        await receive()
        raise ZeroDivisionError

    wire = Wire(app := shim(Server(fails)))
    wire.put(respond(1))
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(wire.task, 10)
    assert verdicts(app) == {"upstream_error": 1}


async def test_at_a_shutdown_the_answers_in_progress_end() -> None:
    async def silent(server: Server, receive: Receive, send: Send) -> None:
        while True:
            await receive()

    wire = Wire(app := shim(server := Server(silent)))
    wire.put(respond(1))
    await until(lambda: server.texts)
    wire.task.cancel(SHUTDOWN)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(wire.task, 10)
    assert sum(verdicts(app).values()) == 1


@pytest.mark.parametrize("leaves", [True, False])
async def test_at_a_shutdown_an_answer_that_is_being_looked_up_is_given_up(leaves: bool) -> None:
    async def script(server: Server, receive: Receive, send: Send) -> None:
        waiting = asyncio.ensure_future(receive())
        await looked_up.wait()
        if not leaves:
            await waiting
        waiting.cancel()

    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        looked_up.set()
        await receive()
        await receive()

    looked_up = asyncio.Event()
    server = Server(script)
    server.agent.extra["/threads/t"] = never
    wire = Wire(app := shim(server))
    wire.put(respond(1))
    await looked_up.wait()
    await asyncio.sleep(0.05)
    wire.task.cancel(SHUTDOWN)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(wire.task, 5)
    await until(lambda: verdicts(app) != {})
    assert server.texts == []


async def test_a_turn_that_answers_nothing_passes_with_its_response() -> None:
    async def starts(server: Server, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.send", "text": success(3)})
        await receive()

    wire = Wire(shim(server := Server(starts, Agent(status="idle"))))
    wire.put(json.dumps({"id": 3, "method": "run.start", "params": {"input": {"topic": "x"}}}))
    assert await wire.receives(1) == [json.loads(success(3))]
    assert len(server.texts) == 1
    await wire.closes()


async def test_the_backend_is_detected_before_a_websocket_is_read() -> None:
    wire = Wire(app := ResumeShim(server := Server(answers), vendor_resumes="guard"))
    await until(lambda: server.got)
    assert [seen.method for seen in server.agent.seen][:1] == ["GET"]
    assert {seen.scope["type"] for seen in server.agent.seen} == {"http"}
    await wire.closes()
    assert app.backend is None, "this one is not recognised, and its WebSockets pass"


@pytest.mark.parametrize(
    ("path", "options", "reads"),
    [
        (EVENTS, {"vendor_resumes": "guard"}, True),
        ("/threads/t/other", {"vendor_resumes": "guard"}, False),
        ("/api" + EVENTS, {"vendor_resumes": "guard", "prefix": "/api"}, True),
        (EVENTS, {"vendor_resumes": "observe"}, False),
        (EVENTS, {"vendor_resumes": "pass"}, False),
        (EVENTS, {"vendor_resumes": "guard", "backend": "auto"}, True),
        (EVENTS, {"vendor_resumes": "guard", "backend": "native"}, False),
        (EVENTS, {"vendor_resumes": "observe", "backend": "auto"}, False),
    ],
)
async def test_the_sidecar_reads_a_websocket_only_if_answers_in_it_are_guarded(
    path: str, options: dict[str, Any], reads: bool
) -> None:
    app = ResumeShim(Recorder(), **{"backend": PROTOCOL, **options})
    assert app.reads_websocket(http("GET", path)) is reads


async def test_a_websocket_is_refused_while_the_detection_of_the_backend_fails() -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, {}, status=503)

    server = Server(answers)
    server.agent.extra["/openapi.json"] = fails
    wire = Wire(ResumeShim(server, vendor_resumes="guard"))
    await asyncio.wait_for(wire.task, 10)
    assert (wire.sent, server.got) == ([{"type": "websocket.close"}], [])


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        (respond(1, "\ud83d"), '{"type": "error", "id": null, "error": "invalid_argument", "message": "no JSON"}'),
        (respond(10**23 - 1), '{"type": "error", "id": 1e+23, "error": "invalid_argument", "message": "no integer"}'),
        (respond(True), '{"type": "error", "id": null, "error": "invalid_argument", "message": "no number"}'),
    ],
    ids=["half of a surrogate pair", "an id that is no double", "true"],
)
async def test_an_answer_that_the_server_does_not_parse_was_not_taken(sent: str, reply: str) -> None:
    async def refuses(server: Server, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.send", "text": reply})
        await receive()

    wire = Wire(app := shim(Server(refuses)))
    wire.put(sent)
    assert await wire.receives(1) == [json.loads(reply)]
    assert (await patch(app)).status == 200
    await wire.closes()


async def test_an_answer_has_a_span_and_is_counted() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    metrics = Metrics(registry := CollectorRegistry())
    wire = Wire(shim(Server(answers), telemetry=[metrics, Tracing(provider)]))
    wire.put(respond(1))
    assert await wire.receives(1) == [{"type": "success", "id": 1, "result": {}}]
    await wire.closes()
    span = next(each for each in exporter.get_finished_spans() if each.kind is SpanKind.SERVER)
    assert span.name == f"POST {NAME}"
    assert [event.name for event in span.events if event.name != "lookup"] == ["claimed", "sent", "accepted"]
    labels = {"backend": "agent-protocol", "convention": NAME, "mode": "background", "verdict": "accepted"}
    assert registry.get_sample_value("ap_resume_shim_resumes_total", labels) == 1
    assert registry.get_sample_value("ap_resume_shim_passed_requests_total") == 1  # the WebSocket
    assert registry.get_sample_value("ap_resume_shim_held_threads") == 0
