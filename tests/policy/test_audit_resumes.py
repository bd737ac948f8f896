"""The lines of resumes: one on the disk before a resume is sent, one for its outcome, and one for each refusal."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Send

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.errors import UpstreamUnreachable
from ap_resume_shim.policy import AuditFile
from ap_resume_shim.policy.audit_verify import verify
from tests.runtime import test_vendor_websocket as socket
from tests.support.agent import PROTOCOL, Agent, at_once, reply
from tests.support.calling import Call, http

pytestmark = pytest.mark.anyio
ROUTES = pytest.mark.parametrize("route", ["", "/wait", "/stream"])
HEADERS = {"authorization": "Bearer secret-token", "x-user": "alice", "idempotency-key": "key-1", "x-request-id": "r-1"}
ANSWER = {"thread_id": "t", "input": "approve-it"}
COMMAND = {"thread_id": "t", "agent_id": "a", "input": {"command": {"resume": "approve-it"}}}


def digest(value: str) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


class Trail:
    """An audit file, and the shim that writes it."""

    def __init__(self, path: Path) -> None:
        self.path, self.agent = path, Agent(self.answering)
        self.at_the_app: list[list[dict[str, Any]]] = []
        """The lines in the file when the app received a resume."""

    async def answering(self, agent: Agent, receive: Receive, send: Send) -> None:
        self.at_the_app.append(self.lines)
        await at_once(agent, receive, send)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Those that are complete: the thread that writes may be in the middle of another."""
        whole, _, _ = self.path.read_bytes().rpartition(b"\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if line["event"] != "opened"]

    def shim(self, file: AuditFile, **options: Any) -> ResumeShim:
        return ResumeShim(self.agent, PROTOCOL, audit=file, settle=0.0, **options)


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    trail = Trail(tmp_path / "audit.jsonl")
    yield trail
    if trail.path.is_file():
        assert verify([trail.path])[0].problems == []


async def patch(app: ResumeShim, route: str = "", body: Any = ANSWER, **headers: str) -> Call:
    return await send(app, "PATCH", f"/runs/resume{route}", body, headers)


async def send(app: ResumeShim, method: str, path: str, body: Any, headers: dict[str, str]) -> Call:
    call = Call(body if isinstance(body, bytes) else json.dumps(body).encode())
    fields = [(name.encode(), value.encode()) for name, value in {"host": "here", **headers}.items()]
    await call(app, http(method, path, headers=fields))
    return call


@ROUTES
async def test_a_resume_is_on_the_disk_before_it_is_sent_and_its_outcome_after(trail: Trail, route: str) -> None:
    with closing(AuditFile(trail.path, who="X-User")) as file:
        assert (await patch(trail.shim(file), route, **HEADERS)).status == 200
    ((sending,),) = trail.at_the_app
    _, outcome = trail.lines
    assert {name: sending[name] for name in sending if name not in ("prev", "time", "id", "caller", "line_sha256")} == {
        "event": "sending",
        "thread_id": "t",
        "agent_id": "a",
        "backend": "agent-protocol",
        "mode": route.removeprefix("/") or "background",
        "who": "alice",
        "key": hashlib.sha256(b"key-1").hexdigest(),
        "request_id": "r-1",
        "questions": [{"id": "q1", "sha256": digest("sure?")}],
        "answer": {"sha256": digest("approve-it")},
    }
    assert (outcome["event"], outcome["id"], outcome["verdict"]) == ("outcome", sending["id"], "accepted")
    assert (outcome["run_id"], outcome["status"]) == ("r2", 200)


async def test_a_repeated_header_field_is_recorded_with_all_its_values(trail: Trail) -> None:
    call = Call(json.dumps(ANSWER).encode())
    fields = [(b"host", b"here"), (b"x-user", b"mallory"), (b"x-user", b"alice")]
    with closing(AuditFile(trail.path, who="X-User")) as file:
        await call(trail.shim(file), http("PATCH", "/runs/resume", headers=fields))
    assert trail.lines[0]["who"] == "mallory, alice"


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
async def test_a_guarded_vendor_resume_is_recorded_with_its_convention(trail: Trail, route: str) -> None:
    with closing(AuditFile(trail.path)) as file:
        app = trail.shim(file, vendor_resumes="guard")
        assert (await send(app, "POST", f"/runs{route}", COMMAND, HEADERS)).status == 200
    ((sending,),) = trail.at_the_app
    assert (sending["event"], sending["convention"]) == ("sending", PROTOCOL.conventions[0].name)
    assert (sending["answer"], sending["questions"][0]["id"]) == ({"sha256": digest("approve-it")}, "q1")
    assert [line["event"] for line in trail.lines] == ["sending", "outcome"]


async def test_an_answer_in_a_websocket_is_recorded_before_it_is_sent(trail: Trail) -> None:
    async def answering(server: socket.Server, receive: Receive, send: Send) -> None:
        await receive()
        trail.at_the_app.append(trail.lines)
        server.agent.status = "idle"
        await send({"type": "websocket.send", "text": socket.success(7)})
        await receive()

    with closing(AuditFile(trail.path)) as file:
        wire = socket.Wire(socket.shim(socket.Server(answering), audit=file))
        wire.put(socket.respond(7, "approve-it"))
        assert await wire.receives(1) == [json.loads(socket.success(7))]
        await wire.closes()
    ((sending,),) = trail.at_the_app
    assert (sending["convention"], sending["answer"]) == (socket.NAME, {"sha256": digest("approve-it")})
    assert [line["event"] for line in trail.lines] == ["sending", "outcome"]


async def test_while_the_file_cannot_be_written_an_answer_in_a_websocket_is_refused() -> None:
    with closing(AuditFile("/dev/full")) as file:
        wire = socket.Wire(socket.shim(server := socket.Server(socket.answers), audit=file))
        wire.put(socket.respond(7), "next")
        refusal, seen = await wire.receives(2)
        await wire.closes()
    assert (refusal["type"], refusal["id"], seen, server.texts) == ("error", 7, "seen next", ["next"])


async def test_a_new_turn_is_no_resume(trail: Trail) -> None:
    trail.agent.status = "idle"
    with closing(AuditFile(trail.path)) as file:
        app = trail.shim(file, vendor_resumes="guard")
        turn = {"thread_id": "t", "agent_id": "a", "input": {"question": "?"}}
        assert (await send(app, "POST", "/runs", turn, {})).status == 200
    assert trail.path.read_bytes() == b""


async def test_a_new_turn_that_fails_is_no_resume_either(trail: Trail) -> None:
    async def breaks(agent: Agent, receive: Receive, send: Send) -> None:
        raise ConnectionError

    trail.agent.status, trail.agent.answering = "idle", breaks
    with closing(AuditFile(trail.path)) as file, pytest.raises(ConnectionError):
        turn = {"thread_id": "t", "agent_id": "a", "input": {"question": "?"}}
        await send(trail.shim(file, vendor_resumes="guard"), "POST", "/runs", turn, {})
    assert trail.path.read_bytes() == b""


async def test_neither_credentials_nor_texts_are_recorded_unless_the_operator_wants_them(trail: Trail) -> None:
    with closing(AuditFile(trail.path)) as file:
        await patch(trail.shim(file), **HEADERS)
        await patch(trail.shim(file), **HEADERS)
        await patch(trail.shim(file), body={**ANSWER, "typo": 1, "inptu": "approve-it"})
    text = trail.path.read_text()
    assert not [secret for secret in ("secret-token", "alice", "key-1", "sure?", "approve-it") if secret in text]


async def test_texts_are_recorded_by_option(trail: Trail) -> None:
    with closing(AuditFile(trail.path, questions=True, answers=True)) as file:
        await patch(trail.shim(file))
    sending = trail.lines[0]
    assert (sending["questions"][0]["value"], sending["answer"]["value"]) == ("sure?", "approve-it")


async def test_a_value_that_json_cannot_carry_is_recorded_as_text(trail: Trail) -> None:
    body = b'{"thread_id": "t", "agent_id": "a", "input": {"command": {"resume": [NaN, 1e999]}}}'
    with closing(AuditFile(trail.path, answers=True)) as file:
        assert (await send(trail.shim(file, vendor_resumes="guard"), "POST", "/runs", body, {})).status == 200
    assert trail.lines[0]["answer"]["value"] in ("[NaN, Infinity]", [None, None])


async def test_the_digest_of_a_caller_needs_the_key(trail: Trail) -> None:
    callers = []
    for key in ("0123456789abcdef", "0123456789abcdef", "another key of the report"):
        trail.agent.status = "interrupted"
        with closing(AuditFile(trail.path)) as file:
            await patch(trail.shim(file, report_key=key), **HEADERS)
        callers.append(trail.lines[-2]["caller"])
    assert (callers[0] == callers[1], callers[0] == callers[2]) == (True, False)


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        ("idle", ANSWER, "thread_not_interrupted"),
        ("busy", ANSWER, "thread_busy"),
        ("interrupted", {**ANSWER, "interrupt_id": "q9"}, "interrupt_not_pending"),
        ("interrupted", {**ANSWER, "thread_id": "unknown"}, "thread_not_found"),
        ("interrupted", b"{", "invalid_request"),
    ],
)
async def test_a_refusal_has_one_line(trail: Trail, status: str, body: Any, verdict: str) -> None:
    trail.agent.status = status
    with closing(AuditFile(trail.path)) as file:
        await patch(trail.shim(file), body=body)
    (line,) = trail.lines
    assert (line["event"], line["verdict"], trail.agent.resumes) == ("not_sent", verdict, [])
    assert line.get("answer") == (None if body == b"{" else {"sha256": digest("approve-it")})


async def test_a_replayed_response_has_one_line(trail: Trail) -> None:
    with closing(AuditFile(trail.path)) as file:
        app = trail.shim(file)
        for _ in range(2):
            assert (await patch(app, "/wait", **HEADERS)).status == 200
    assert [(line["event"], line["verdict"]) for line in trail.lines[1:]] == [
        ("outcome", "accepted"),
        ("not_sent", "replayed"),
    ]


async def test_an_answer_in_messages_is_recorded(trail: Trail) -> None:
    messages = [{"role": "user", "content": "ok"}]
    with closing(AuditFile(trail.path, answers=True)) as file:
        await patch(trail.shim(file), body={"thread_id": "t", "messages": messages})
        await patch(trail.shim(file), body={"thread_id": "unknown", "messages": messages})
    assert [line["answer"]["value"] for line in trail.lines if "answer" in line] == [messages, messages]


async def test_a_resume_that_is_retried_after_no_connection_is_recorded_once(trail: Trail) -> None:
    tries = iter([UpstreamUnreachable("No connection."), None])

    async def second_time(agent: Agent, receive: Receive, send: Send) -> None:
        agent.status = "interrupted"
        if (failure := next(tries)) is not None:
            raise failure
        await at_once(agent, receive, send)

    trail.agent.answering = second_time
    with closing(AuditFile(trail.path)) as file:
        assert (await patch(trail.shim(file))).status == 200
    assert [line["event"] for line in trail.lines] == ["sending", "outcome"]


async def test_an_outcome_that_is_unknown_says_so(trail: Trail) -> None:
    async def breaks(agent: Agent, receive: Receive, send: Send) -> None:
        raise ConnectionError

    trail.agent.answering = breaks
    with closing(AuditFile(trail.path)) as file, pytest.raises(ConnectionError):
        await patch(trail.shim(file))
    assert [(line["event"], line.get("verdict")) for line in trail.lines] == [
        ("sending", None),
        ("outcome", "internal_error"),
    ]


@ROUTES
async def test_while_the_file_cannot_be_written_nothing_is_sent_and_the_thread_stays_free(
    trail: Trail, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(AuditFile(trail.path)) as file:
        app = trail.shim(file)
        with monkeypatch.context() as patched:
            patched.setattr(file._writer, "append", _no_space)
            call = await patch(app, route, **HEADERS)
        assert (call.status, json.loads(call.answer)["code"]) == (503, "policy_unavailable")
        assert json.loads(call.answer)["metadata"] == {"resume_state": "not_sent"}
        assert (b"retry-after", b"1") in call.sent[0]["headers"]
        assert trail.agent.resumes == []
        assert (await patch(app, route, **HEADERS)).status == 200
    assert len(trail.agent.resumes) == 1


def _no_space(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


async def test_while_the_file_cannot_be_written_a_vendor_resume_is_refused(trail: Trail) -> None:
    with closing(AuditFile("/dev/full")) as file:
        call = await send(trail.shim(file, vendor_resumes="guard"), "POST", "/runs", COMMAND, {})
    assert (call.status, trail.agent.resumes) == (409, []), "some clients send an answer again after a 5xx"
    assert "cannot be written" in json.loads(call.answer)["message"]


async def test_a_file_that_is_not_required_refuses_nothing(trail: Trail) -> None:
    trail.agent.answering = at_once
    with closing(AuditFile("/dev/full", required=False)) as file:
        assert (await patch(trail.shim(file))).status == 200


async def test_of_many_at_once_each_has_its_line_before_it_is_sent(trail: Trail) -> None:
    sent: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        thread = scope["path"].rpartition("/")[2]
        if scope["path"] == "/runs":
            thread = json.loads((await receive())["body"])["thread_id"]
            assert thread in {line["thread_id"] for line in trail.lines if line["event"] == "sending"}
            sent.append(thread)
            await reply(send, {"run_id": "r2"})
        elif scope["path"] == "/runs/search":
            await reply(send, [{"run_id": "r1", "agent_id": "a"}])
        else:
            asks = [{"id": f"q-{thread}", "value": "sure?"}]
            await reply(send, {"thread_id": thread, "status": "interrupted", "interrupts": asks, "values": {}})

    with closing(AuditFile(trail.path)) as file:
        shim = ResumeShim(app, PROTOCOL, audit=file)
        threads = [f"t{number}" for number in range(50)]
        await asyncio.gather(*(patch(shim, body={**ANSWER, "thread_id": thread}) for thread in threads))
    assert sorted(sent) == sorted(threads)
    assert len(trail.lines) == 100
