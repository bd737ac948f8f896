"""The `authorize` hook: when it is called, with what, and what its decisions mean."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import ConfigurationError, ResumeShim
from ap_resume_shim.policy import authorize
from tests.runtime import test_vendor_websocket as socket
from tests.support.agent import PROTOCOL, Agent, read
from tests.support.calling import Call, http
from tests.support.serving import serving

pytestmark = pytest.mark.anyio
ROUTES = pytest.mark.parametrize("route", ["", "/wait", "/stream"])
ANSWER = {"thread_id": "t", "input": "yes"}
COMMAND = {"thread_id": "t", "agent_id": "a", "input": {"command": {"resume": "yes"}}}
HEADERS = {
    "authorization": "Bearer me",
    "cookie": "a=1",
    "x-private": "secret",
    "traceparent": f"00-{'1' * 32}-{'2' * 16}-01",
}


class Hook:
    """A function that decides, and what it received."""

    def __init__(self, *decisions: Any) -> None:
        self.decisions, self.seen = list(decisions), list[dict[str, Any]]()

    async def __call__(self, value: dict[str, Any]) -> Any:
        self.seen.append(value)
        decision = self.decisions.pop(0) if len(self.decisions) > 1 else self.decisions[0]
        if isinstance(decision, Exception):
            raise decision
        return decision


def shim(agent: Agent, hook: Any, **options: Any) -> ResumeShim:
    return ResumeShim(agent, PROTOCOL, authorize=hook, settle=0.5, **options)


async def send(
    app: ResumeShim, path: str = "/runs/resume", body: Any = ANSWER, method: str = "PATCH", **headers: str
) -> Call:
    call = Call(json.dumps(body).encode())
    fields = [(b"host", b"here"), *((name.encode(), value.encode()) for name, value in {**HEADERS, **headers}.items())]
    await call(app, http(method, path, headers=fields))
    return call


def code(call: Call) -> tuple[int, str]:
    return call.status, json.loads(call.answer).get("code", "")


@ROUTES
async def test_a_function_receives_the_resume_its_question_and_the_caller(route: str) -> None:
    app = shim(Agent(), hook := Hook(None))
    assert (await send(app, f"/runs/resume{route}", {**ANSWER, "interrupt_id": "q1"})).status == 200
    assert hook.seen == [
        {
            "resume": {
                "thread_id": "t",
                "agent_id": "a",
                "mode": route.removeprefix("/") or "background",
                "convention": None,
                "interrupt_id": "q1",
                "input": "yes",
            },
            "questions": [{"id": "q1", "value": "sure?", "answer": "yes"}],
            "caller": {"authorization": "Bearer me", "cookie": "a=1"},
        }
    ]


@ROUTES
async def test_a_refusal_is_a_403_with_its_reason_and_nothing_is_sent(
    route: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = shim(agent := Agent(), Hook("Only managers approve this.", None))
    call = await send(app, f"/runs/resume{route}")
    assert (code(call), json.loads(call.answer)["message"]) == ((403, "forbidden"), "Only managers approve this.")
    assert agent.resumes == []
    assert "verdict=forbidden" in caplog.text
    assert "managers" not in caplog.text, "a reason may repeat the answer"
    assert (await send(app, f"/runs/resume{route}")).status == 200, "the thread is free"


async def test_a_caller_whom_the_backend_does_not_admit_never_reaches_the_hook() -> None:
    app = shim(Agent(), hook := Hook("No."))
    assert code(await send(app, body={**ANSWER, "thread_id": "unknown"})) == (404, "thread_not_found")
    assert hook.seen == []


async def test_a_stored_response_is_not_recalled_for_a_caller_who_lost_the_right() -> None:
    app = shim(Agent(), Hook(None, "You have left the team.", None))
    key = {"idempotency-key": "k"}
    first = await send(app, "/runs/resume/wait", **key)
    assert code(await send(app, "/runs/resume/wait", **key)) == (403, "forbidden")
    assert (await send(app, "/runs/resume/wait", **key)).answer == first.answer


async def test_a_question_that_appears_later_is_decided_about_before_it_is_answered() -> None:
    agent = Agent(status="busy")

    class Late(Hook):
        async def __call__(self, value: dict[str, Any]) -> Any:
            agent.status = "interrupted"
            return await super().__call__(value)

    app = shim(agent, hook := Late(None, "Not this question."))
    assert code(await send(app, body={**ANSWER, "interrupt_id": "q1"})) == (403, "forbidden")
    assert [len(value["questions"]) for value in hook.seen] == [0, 1]
    assert agent.resumes == []


@pytest.mark.parametrize("decision", [RuntimeError("secret"), True, False, 7])
async def test_without_a_decision_a_resume_is_refused(decision: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = shim(agent := Agent(), Hook(decision))
    call = await send(app)
    assert code(call) == (503, "policy_unavailable")
    assert json.loads(call.answer)["metadata"] == {"resume_state": "not_sent"}
    assert (b"retry-after", b"1") in call.sent[0]["headers"]
    assert (agent.resumes, b"secret" in call.answer) == ([], False)
    assert "the authorize hook failed" in caplog.text


async def test_a_function_that_takes_too_long_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorize, "TIMEOUT", 0.05)

    async def slow(_: Any) -> None:
        await asyncio.sleep(60)

    assert code(await send(shim(agent := Agent(), slow))) == (503, "policy_unavailable")
    assert agent.resumes == []


async def test_a_function_that_ignores_its_cancellation_refuses_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorize, "TIMEOUT", 0.05)
    go = asyncio.Event()

    async def stubborn(_: Any) -> None:
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()

    assert code(await send(shim(agent := Agent(), stubborn))) == (503, "policy_unavailable")
    assert agent.resumes == []
    go.set()


async def test_a_function_that_allows_a_resume_too_late_does_not_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorize, "TIMEOUT", 0.05)

    async def late(_: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    assert code(await send(shim(agent := Agent(), late))) == (503, "policy_unavailable")
    assert agent.resumes == []


LEAVING = [("/wait", "cancel", 0), ("/stream", "cancel", 0), ("", "cancel", 1), ("/wait", "continue", 1)]


@pytest.mark.parametrize(("route", "on_disconnect", "sent"), LEAVING)
async def test_an_answer_is_not_sent_if_its_client_leaves_while_the_hook_decides(
    route: str, on_disconnect: str, sent: int
) -> None:
    async def hook(_: dict[str, Any]) -> None:
        call.gone.set()
        await asyncio.sleep(0.05)  # the shim notices that the client has left

    app = ResumeShim(agent := Agent(), PROTOCOL, authorize=hook)
    call = Call(json.dumps({**ANSWER, "on_disconnect": on_disconnect}).encode())
    await call(app, http("PATCH", f"/runs/resume{route}"))
    assert (len(agent.resumes), agent.cancelled) == (sent, False)
    call.gone = asyncio.Event()
    if not sent:  # and the thread is free
        assert (await send(app)).status == 200


@pytest.mark.parametrize("path", ["/runs", "/runs/wait"])
async def test_a_vendor_resume_is_sent_although_its_client_leaves_while_the_hook_decides(
    path: str,
) -> None:
    async def hook(_: dict[str, Any]) -> None:
        call.gone.set()
        await asyncio.sleep(0.05)

    app = ResumeShim(agent := Agent(), PROTOCOL, authorize=hook, vendor_resumes="guard")
    call = Call(json.dumps(COMMAND).encode())
    await call(app, http("POST", path))
    assert len(agent.resumes) == 1


async def test_a_function_that_is_cancelled_by_itself_is_no_shutdown() -> None:
    async def waits_for_a_cancelled_task(_: Any) -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    assert code(await send(shim(agent := Agent(), waits_for_a_cancelled_task))) == (503, "policy_unavailable")
    assert agent.resumes == []


async def test_a_function_that_is_not_async_refuses_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    def plain(_: Any) -> None:
        return None

    assert code(await send(shim(agent := Agent(), plain))) == (503, "policy_unavailable")
    assert agent.resumes == []
    assert "`authorize` is no async function: define it with `async def`" in caplog.text


async def test_what_a_function_changes_in_its_argument_is_not_sent() -> None:
    async def redacts(attempt: dict[str, Any]) -> None:
        attempt["resume"]["input"].pop("secret")
        attempt["questions"][0]["answer"]["note"] = "changed"

    app = shim(agent := Agent(), redacts)
    answer = {"secret": 1, "note": "mine"}
    assert (await send(app, body={"thread_id": "t", "input": answer})).status == 200
    assert json.loads(agent.resumes[0].body)["input"] == {"command": {"resume": {"q1": answer}}}


# Vendor resumes


async def test_a_guarded_vendor_resume_is_decided_about() -> None:
    app = shim(agent := Agent(), hook := Hook("Only managers.", None), vendor_resumes="guard")
    call = await send(app, "/runs", COMMAND, "POST")
    assert (call.status, json.loads(call.answer)["message"], agent.resumes) == (403, "Only managers.", [])
    assert hook.seen[0]["resume"]["convention"] == PROTOCOL.conventions[0].name
    assert hook.seen[0]["questions"] == [{"id": "q1", "value": "sure?", "answer": "yes"}]
    assert (await send(app, "/runs", COMMAND, "POST")).status == 200


async def test_an_answer_in_a_websocket_is_decided_about() -> None:
    hook = Hook("Only managers.")
    wire = socket.Wire(socket.shim(server := socket.Server(socket.answers), authorize=hook))
    wire.put(socket.respond(7))
    (refusal,) = await wire.receives(1)
    await wire.closes()
    assert (refusal["id"], refusal["message"], server.texts) == (7, "Only managers.", [])
    assert hook.seen[0]["caller"] == {"authorization": "me"}


async def test_a_new_turn_is_not_decided_about() -> None:
    app = shim(Agent(status="idle"), hook := Hook("No."), vendor_resumes="guard")
    turn = {"thread_id": "t", "agent_id": "a", "input": {"question": "?"}}
    assert ((await send(app, "/runs", turn, "POST")).status, hook.seen) == (200, [])


# A service


class Service:
    """A service that decides, and the requests that it received."""

    def __init__(self, status: int = 200, body: bytes = b"", kind: str = "", **headers: str) -> None:
        self.status, self.body, self.seen = status, body, list[tuple[Scope, Any]]()
        named = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        self.headers = [(name.encode(), value.encode()) for name, value in named.items() if value]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append((scope, json.loads(await read(receive))))
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


async def decided(service: Service, path: str = "/check") -> Call:
    with serving(service, lifespan="off") as url:
        return await send(shim(Agent(), url + path))


async def test_a_service_receives_the_same_and_the_callers_credentials() -> None:
    service = Service()
    assert (await decided(service, "/v0/data/resumes?pretty=1")).status == 200
    ((scope, value),) = service.seen
    assert (scope["method"], scope["path"], scope["query_string"]) == ("POST", "/v0/data/resumes", b"pretty=1")
    headers = {name.decode(): field.decode() for name, field in scope["headers"]}
    assert (headers["authorization"], headers["cookie"], headers["traceparent"]) == (
        "Bearer me",
        "a=1",
        HEADERS["traceparent"],
    )
    assert headers["host"].startswith("127.0.0.1:")
    assert "x-private" not in headers
    assert value["questions"] == [{"id": "q1", "value": "sure?", "answer": "yes"}]
    assert value["caller"] == {"authorization": "Bearer me", "cookie": "a=1"}


JSON = "application/json"
DECISIONS = [
    (Service(200), (200, "")),
    (Service(204), (200, "")),
    (Service(200, b"ok", "text/plain"), (200, "")),
    (Service(200, b"true", JSON), (200, "")),
    (Service(200, b'{"result": true}', JSON), (200, "")),
    (Service(200, b'{"result": {"allow": true}}', JSON), (200, "")),
    (Service(200, b'{"allow": true}', "application/json; charset=utf-8"), (200, "")),
    (Service(200, b"false", JSON), (403, "forbidden")),
    (Service(200, b'{"result": false}', JSON), (403, "forbidden")),
    (Service(200, b'{"allow": false, "reason": "No."}', JSON), (403, "forbidden")),
    (Service(200, b"{}", JSON), (503, "policy_unavailable")),
    (Service(200, b'{"result": {}}', JSON), (503, "policy_unavailable")),
    (Service(200, b'{"allow": "yes"}', JSON), (503, "policy_unavailable")),
    (Service(200, b"{", JSON), (503, "policy_unavailable")),
    (Service(200, b'{"allow": false}', "text/html; charset=utf-8"), (403, "forbidden")),
    (Service(200, b'{"result": false}'), (403, "forbidden")),
    (Service(200, b'{"status": "ok"}', "text/plain"), (503, "policy_unavailable")),
    (Service(200, b"x" * 2_000_000, "text/plain"), (503, "policy_unavailable")),
    (Service(403, b"No."), (403, "forbidden")),
    (Service(404), (403, "forbidden")),
    (Service(401, www_authenticate="Bearer"), (401, "unauthorized")),
    (Service(429, retry_after="9"), (429, "rate_limited")),
    (Service(302, location="/login"), (503, "policy_unavailable")),
    (Service(500, b"Traceback"), (503, "policy_unavailable")),
]


@pytest.mark.parametrize(("service", "expected"), DECISIONS, ids=lambda value: getattr(value, "status", None))
async def test_the_response_of_a_service_decides(service: Service, expected: tuple[int, str]) -> None:
    service.seen.clear()
    call = await decided(service)
    assert code(call) == expected
    kept = {(name, value) for name, value in service.headers if name in (b"www-authenticate", b"retry-after")}
    assert kept <= set(call.sent[0]["headers"])


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        (Service(403, b" Only managers.\n", "text/plain; charset=utf-8"), "Only managers."),
        (Service(403, b"Only managers."), "Only managers."),
        (Service(403, b'{"reason": "Only managers."}', JSON), "Only managers."),
        (Service(403, b'{"message": "Only managers."}', JSON), "Only managers."),
        (Service(403, b"<html>", "text/html"), "The operator's authorization service refused this resume."),
        (Service(403), "The operator's authorization service refused this resume."),
        (Service(403, json.dumps({"reason": "x" * 5000}).encode(), JSON), "x" * 1000),
        (Service(403, b'{"reason": 7}', JSON), "The operator's authorization service refused this resume."),
        (Service(200, b'{"result": {"allow": false, "reason": "Only managers."}}', JSON), "Only managers."),
    ],
)
async def test_the_reason_is_the_text_of_the_service(service: Service, reason: str) -> None:
    assert json.loads((await decided(service)).answer)["message"] == reason


async def test_a_service_that_is_away_refuses() -> None:
    with serving(Service(), lifespan="off") as url:
        pass
    call = await send(shim(agent := Agent(), url))
    assert (code(call), agent.resumes) == ((503, "policy_unavailable"), [])
    assert "127.0.0.1" not in call.answer.decode()


async def test_a_service_that_takes_too_long_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorize, "TIMEOUT", 0.2)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    with serving(slow, lifespan="off") as url:
        assert code(await send(shim(Agent(), url))) == (503, "policy_unavailable")


@pytest.mark.parametrize("url", ["localhost:8181", "ftp://here/", "http://", "http://user:password@here/"])
async def test_a_wrong_url_is_an_error_of_the_configuration(url: str) -> None:
    with pytest.raises(ConfigurationError, match="`authorize`: ") as wrong:
        shim(Agent(), url)
    assert "password" not in str(wrong.value)
