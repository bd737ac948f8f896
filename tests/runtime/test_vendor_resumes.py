"""Vendor resumes through the whole shim: guarded, observed, or passed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any, cast

import pytest

from ap_resume_shim import Limits, MemoryGuard, ResumeShim
from ap_resume_shim.core.errors import ResumeError, UpstreamError
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.vendor_resume import VendorResume
from ap_resume_shim.guard.redis import RedisGuard
from ap_resume_shim.profiles.convention import ProfileConvention
from ap_resume_shim.runtime.vendor_counts import DRAFT
from tests.support.agent import METADATA, PROTOCOL, UNTIL_LEFT, VALUES, Agent, reply, says
from tests.support.calling import Call, http
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.anyio
BODY = {"thread_id": "t", "agent_id": "a", "input": {"command": {"resume": "yes"}}}
NEW_TURN = {"thread_id": "t", "agent_id": "a", "input": {"question": "?"}}
ROUTES = pytest.mark.parametrize("route", ["/runs", "/runs/wait", "/runs/stream"])


def shim(agent: Agent, mode: Any = "guard", **options: Any) -> ResumeShim:
    return ResumeShim(agent, PROTOCOL, vendor_resumes=mode, **options)


async def post(app: ResumeShim, body: Any = BODY, route: str = "/runs", **headers: str) -> tuple[int, bytes]:
    """The response to a client's own request."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    call = Call(raw)
    await call(app, http("POST", route, headers=[(b"host", b"here"), *fields]))
    return call.sent[0]["status"], b"".join(message.get("body", b"") for message in call.sent[1:])


@ROUTES
@pytest.mark.parametrize("mode", ["guard", "observe", "pass"])
async def test_an_answer_reaches_the_app_as_it_was_sent(mode: str, route: str) -> None:
    plain, agent = Agent(), Agent()
    raw = b'{ "thread_id": "t","input":{"command":{"resume":"\\u0079es"}} }'
    expected = await post(ResumeShim(plain, PROTOCOL), raw, route)
    assert await post(shim(agent, mode), raw, route) == expected
    (sent,) = agent.resumes
    assert (sent.body, sent.headers) == (raw, plain.resumes[0].headers)


@ROUTES
async def test_what_nobody_asked_is_refused_and_not_sent(route: str) -> None:
    agent = Agent(status="idle")
    status, body = await post(shim(agent), route=route)
    assert (status, agent.resumes) == (409, [])
    assert "not interrupted" in json.loads(body)["detail"]


async def test_an_answer_that_cannot_be_read_is_refused_and_not_sent() -> None:
    app = ResumeShim(agent := Agent(), "ag-ui", vendor_resumes="guard")
    status, body = await post(app, {"threadId": "t", "runId": "r", "messages": [], "resume": ["yes"]}, "/")
    assert (status, agent.seen) == (422, [])
    assert "unexpected type" in json.loads(body)["detail"]
    assert app.report()["conventions"]["ag-ui"]["verdicts"] == {"invalid_request": 1}


def nested(levels: int) -> bytes:
    answer = b"[" * levels + b"]" * levels
    return b'{"thread_id": "t", "agent_id": "a", "input": {"command": {"resume": %s}}}' % answer


@pytest.mark.parametrize("levels", [200, 500])
@pytest.mark.parametrize("mode", ["guard", "observe"])
async def test_an_answer_that_is_nested_deeper_than_those_of_the_draft_is_refused_or_passes(
    mode: str, levels: int
) -> None:
    agent = Agent()
    status, body = await post(shim(agent, mode), nested(levels))
    if mode == "guard" and levels > 200:
        assert (status, agent.resumes) == (422, [])
        assert "nested too deep" in json.loads(body)["detail"]
    else:
        assert (status, [seen.body for seen in agent.resumes]) == (200, [nested(levels)])


@pytest.mark.parametrize("path", ["/", "/apis", "/api", "/other/api/"])
async def test_a_request_outside_the_prefix_is_the_apps_own(path: str) -> None:
    app = ResumeShim(agent := Agent(), "ag-ui", vendor_resumes="guard", prefix="/api")
    answer = {"threadId": "t", "runId": "r", "messages": [], "resume": [{"interruptId": "q", "payload": "yes"}]}
    await post(app, answer, path)
    assert [seen.path for seen in agent.seen] == [path]
    assert app.report()["conventions"] == {}


async def test_of_two_at_once_one_is_sent() -> None:
    app = shim(agent := Agent())
    answers = await asyncio.gather(*(post(app) for _ in range(4)))
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409]
    assert len(agent.resumes) == 1


async def test_a_second_click_is_refused_though_the_next_question_is_asked() -> None:
    async def asks_again(agent: Agent, receive: Any, send: Any) -> None:
        agent.status = "interrupted"
        await reply(send, {"run_id": "r2"})

    app = shim(agent := Agent(asks_again))
    assert (await post(app))[0] == 200
    status, body = await post(app)
    assert (status, len(agent.resumes)) == (409, 1)
    assert "double click" in json.loads(body)["detail"]


@pytest.mark.parametrize("queues", [False, True])
async def test_a_second_click_that_waited_for_the_end_of_the_first_response_is_refused(
    monkeypatch: pytest.MonkeyPatch, queues: bool
) -> None:
    """The agent worked for longer than a double click takes, and asks its next question."""
    monkeypatch.setattr(ProfileConvention, "resends", queues, raising=False)
    now, statuses = 0.0, []

    async def works(agent: Agent, receive: Any, send: Any) -> None:
        nonlocal now
        now += 100
        agent.status = "interrupted"
        await reply(send, {"run_id": "r2"})

    app = shim(agent := Agent(works), guard=MemoryGuard(clock=lambda: now))

    async def click_at_the_end(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            statuses.append((await post(app))[0])

    call = Call(json.dumps(BODY).encode())
    await app(http("POST", "/runs", headers=[(b"host", b"here")]), call.receive, click_at_the_end)
    assert (statuses, len(agent.resumes)) == (([409], 1) if queues else ([200], 2))


async def test_a_new_turn_passes() -> None:
    agent = Agent(status="idle")
    assert (await post(shim(agent), NEW_TURN))[0] == 200
    assert len(agent.resumes) == 1


async def test_an_answer_to_nothing_that_is_a_new_turn_is_counted_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    (convention,) = PROTOCOL.conventions
    read = convention.read
    monkeypatch.setattr(
        convention, "read", lambda each: replace(cast(VendorResume, read(each)), when="if_interrupted"), raising=False
    )
    app = shim(agent := Agent(status="idle"))
    assert (await post(app))[0] == 200
    assert (len(agent.resumes), counted(app, "agent-protocol")["verdicts"]) == (1, {"new_turn": 1})


@pytest.mark.parametrize("status", [404, 500])
async def test_the_refusal_of_the_app_is_returned(status: int) -> None:
    app = shim(Agent(says(b'{"own": "words"}', kind="application/json", status=status)))
    assert await post(app) == (status, b'{"own": "words"}')
    verdict = "backend_refused" if status == 404 else "accepted"  # which may be true, after a 500
    assert counted(app, "agent-protocol")["verdicts"] == {verdict: 1}


async def test_an_answer_that_is_committed_at_the_end_of_its_response_is_logged_as_accepted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ProfileConvention, "runs_in_response", lambda *_: True)
    caplog.set_level("INFO", "ap_resume_shim.resume")
    await post(shim(Agent()))
    assert [record.__dict__["verdict"] for record in caplog.records] == ["accepted"]


async def test_a_stream_is_returned_as_it_comes() -> None:
    agent = Agent(says(METADATA, VALUES, UNTIL_LEFT))
    call = Call(json.dumps(BODY).encode())
    task = asyncio.create_task(call(shim(agent), http("POST", "/runs/stream")))
    while len(call.sent) < 3:
        await asyncio.sleep(0.01)
    assert [message.get("body") for message in call.sent[1:3]] == [METADATA, VALUES]
    call.gone.set()
    await task
    assert agent.left.is_set()


async def test_no_keep_alive_precedes_the_response_of_the_app() -> None:
    async def slow(agent: Agent, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.1)
        await reply(send, {"slow": True}, status=201)

    app = shim(Agent(slow), limits=Limits(keepalive=0.01))
    assert await post(app, route="/runs/wait") == (201, b'{"slow": true}')


def of_runs(run: Any) -> tuple[Any, list[str]]:
    """An app of ACP's kind, whose clients name a run alone; and the requests that it received."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        seen.append(f"{scope['method']} {scope['path']}")
        known = scope["path"] == f"/runs/{RUN}"
        body = json.dumps(run if known else {"code": "not_found", "message": "Run not found"}).encode()
        await says(body, kind="application/json", status=200 if known else 404)(Agent(), receive, send)

    return app, seen


RUN = "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10"
ASKING = {"run_id": RUN, "session_id": RUN, "agent_name": "a", "status": "awaiting", "await_request": {}}
AWAITED = {"await_resume": {"type": "message"}, "mode": "sync"}


@pytest.mark.parametrize(
    ("run", "path", "status", "sent"),
    [
        (ASKING, f"/runs/{RUN}", 200, True),
        ({**ASKING, "status": "completed"}, f"/runs/{RUN}", 409, False),
        (ASKING, "/runs/other", 404, False),
        ({"of": "another shape"}, f"/runs/{RUN}", 409, False),
    ],
    ids=["asks", "asks nothing", "unknown", "unrecognised"],
)
async def test_the_thread_of_a_run_is_looked_up(run: Any, path: str, status: int, sent: bool) -> None:
    app, seen = of_runs(run)
    assert (await post(ResumeShim(app, "acp", vendor_resumes="guard"), AWAITED, path))[0] == status
    assert (f"POST {path}" in seen) is sent
    assert seen[0] == f"GET {path}"


async def test_a_key_of_an_answer_that_failed_in_a_stream_is_not_used_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refusal(_: Any, __: Any, error: ResumeError) -> Reply:
        return Reply(200, error.body(), (), "text/event-stream")

    monkeypatch.setattr(ProfileConvention, "refusal", refusal)

    async def failing(agent: Agent, receive: Any, send: Any) -> None:
        raise UpstreamError("The backend broke off.")

    with redis_server() as store:
        guard = RedisGuard(store.url)
        app = shim(Agent(failing), guard=guard)
        first, second = [await post(app, route="/runs/wait", idempotency_key="k") for _ in range(2)]
        await guard.aclose()
    assert b"upstream_error" in first[1]
    assert b"was sent before" in second[1]


async def test_a_key_is_not_used_twice() -> None:
    app = shim(agent := Agent())
    assert (await post(app, idempotency_key="k"))[0] == 200
    agent.status = "interrupted"
    status, body = await post(app, idempotency_key="k")
    assert (status, len(agent.resumes)) == (409, 1)
    assert "Idempotency-Key" in json.loads(body)["detail"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [(b"x" * 3000, {}, 413), (json.dumps(BODY).encode(), {"content_encoding": "gzip"}, 415)],
    ids=["too large", "encoded"],
)
async def test_a_body_that_cannot_be_examined_is_refused_by_the_guard_alone(
    body: bytes, headers: dict[str, str], status: int
) -> None:
    agent, limits = Agent(), Limits(body=1000)
    assert (await post(shim(agent, limits=limits), body, **headers))[0] == status
    assert agent.resumes == []
    observing = shim(agent, "observe", limits=limits)
    assert (await post(observing, body, **headers))[0] == 200
    assert len(agent.resumes) == 1
    assert counted(observing, "agent-protocol")["verdicts"] == {"not_examined": 1}


async def test_what_is_observed_is_counted_with_its_estimated_verdict() -> None:
    async def thread(scope: Any, receive: Any, send: Any) -> None:
        asks = [{"id": "q1", "value": "sure?"}] if len(agent.resumes) == 1 else []
        await reply(
            send, {**agent.thread, "status": "interrupted" if asks else "idle", "interrupts": asks}
        )  # as servers do until the step has run

    app = shim(agent := Agent(says(b"{}", kind="application/json", late=0.05)), "observe")
    agent.extra["/threads/t"] = thread
    await post(app, user_agent="langgraph-sdk-py/0.4")
    await until(lambda: counted(app, "agent-protocol")["resumes"] == 1)
    other = {**BODY, "input": {"command": {"resume": "another answer"}}}
    await post(app, other, user_agent="node")
    await until(lambda: counted(app, "agent-protocol")["resumes"] == 2)
    report = app.report()
    assert (report["vendor_resumes"], report["estimated"]) == ("observe", True)
    clients = {"langgraph-sdk-py": {"accepted": 1}, "node": {"thread_not_interrupted": 1}}
    assert counted(app, "agent-protocol")["clients"] == clients
    assert counted(app, "agent-protocol")["verdicts"] == {"accepted": 1, "thread_not_interrupted": 1}


async def test_no_lookup_precedes_a_request_that_is_observed() -> None:
    app = shim(agent := Agent(), "observe")
    await post(app)
    await until(lambda: counted(app, "agent-protocol")["resumes"] == 1)
    assert agent.seen[0].path == "/runs"


async def test_a_draft_resume_that_an_observed_one_overtook_is_refused() -> None:
    go = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await reply(send, agent.thread)

    app = shim(agent := Agent(), "observe")
    agent.extra["/threads/t"] = slow
    draft = Call(b'{"thread_id": "t", "input": "no"}')
    patched = asyncio.create_task(draft(app, http("PATCH", "/runs/resume")))
    await asyncio.sleep(0.05)
    assert (await post(app))[0] == 200
    agent.status = "interrupted"
    go.set()
    await patched
    assert draft.sent[0]["status"] == 409
    assert len(agent.resumes) == 1


async def test_draft_resumes_are_counted_beside_those_of_vendors() -> None:
    app = shim(Agent(), "guard")
    await Call(b'{"thread_id": "t", "input": "no"}')(app, http("PATCH", "/runs/resume"))
    await post(app)
    assert counted(app, DRAFT)["verdicts"] == {"accepted": 1}
    assert counted(app, "agent-protocol")["verdicts"] == {"thread_not_interrupted": 1}


def counted(app: ResumeShim, convention: str) -> dict[str, Any]:
    counts: dict[str, Any] = app.report()["conventions"].get(convention, {"resumes": 0})
    return counts


async def until(happened: Any) -> None:
    for _ in range(500):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def test_a_line_feed_at_the_end_of_the_path_is_ignored_as_by_the_routes_of_starlette() -> None:
    app = shim(agent := Agent())
    answers = await asyncio.gather(*(post(app, route=route) for route in ("/runs", "/runs\n")))
    assert sorted(status for status, _ in answers) == [200, 409]
    assert len(agent.resumes) == 1


@pytest.mark.parametrize(
    ("document", "status", "sent"), [(503, 502, 0), (401, 200, 1), (404, 200, 1)], ids=["failed", "refused", "unknown"]
)
async def test_an_answer_is_refused_while_the_detection_of_the_backend_fails(
    document: int, status: int, sent: int
) -> None:
    """A caller whom the backend refuses has to be able to log in, and a server of no known kind has no answers."""

    async def described(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, {}, status=document)

    app = ResumeShim(agent := Agent(), vendor_resumes="guard")
    agent.extra["/openapi.json"] = described
    assert (await post(app))[0] == status
    assert len(agent.resumes) == sent


async def test_requests_that_arrive_during_a_detection_share_its_failure() -> None:
    attempts = 0

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(60)

    app = ResumeShim(agent := Agent(), vendor_resumes="guard", limits=Limits(lookup=0.2))
    agent.extra["/openapi.json"] = silent
    answers = await asyncio.gather(*(post(app) for _ in range(5)))
    assert [status for status, _ in answers] == [504] * 5
    assert attempts == 1
