"""Health: alive, of use, and nothing to do with anybody else's paths."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.core.errors import UpstreamUnreachable
from ap_resume_shim.guard import load_guard
from ap_resume_shim.proxy.loop_detection import LOOP_MARKER
from ap_resume_shim.sidecar.health import Health, not_found
from tests.servers.process import free_port
from tests.support.agent import Agent, reply
from tests.support.calling import Call, Recorder, http
from tests.support.redis_server import redis_server
from tests.support.serving import serving
from tests.support.sockets import upstream

Ready = Callable[[], Awaitable[str]]
PATHS: dict[str, Any] = {"/runs": {"post": {}}, "/runs/wait": {}, "/runs/stream": {}, "/threads": {}}


async def ready() -> str:
    return "langgraph"


async def unreachable() -> str:
    raise UpstreamUnreachable("No connection to the backend.")


async def asked(health: Health, path: str, method: str = "GET") -> Call:
    call = Call()
    await call(health, http(method, path))
    return call


def told(health: Health, path: str = "/-/readyz") -> tuple[int, Any]:
    """Status and body."""
    call = asyncio.run(asked(health, path))
    return call.status, json.loads(call.answer)


def test_it_is_alive_whatever_the_backend_does() -> None:
    assert told(Health(not_found, ready=unreachable), "/-/healthz") == (200, {"status": "ok"})


def test_it_is_ready_when_the_backend_is_known() -> None:
    assert told(Health(not_found, ready=ready)) == (200, {"status": "ready", "backend": "langgraph"})


def test_it_is_not_ready_when_the_backend_cannot_be_reached() -> None:
    health = Health(not_found, ready=unreachable)
    assert told(health) == (503, {"status": "unready", "reason": "No connection to the backend."})


def test_it_is_not_ready_when_the_backend_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ap_resume_shim.sidecar.health.PATIENCE", 0.01)
    status, body = told(Health(not_found, ready=asyncio.Event().wait))  # type: ignore[arg-type]
    assert (status, body["reason"]) == (503, "The backend, or the guard's store, did not respond within 0.01 seconds.")


def test_it_is_not_ready_while_it_shuts_down_and_still_alive() -> None:
    health = Health(not_found, ready=ready)
    health.draining = True
    assert told(health)[0] == 503
    assert told(health, "/-/healthz")[0] == 200


@pytest.mark.parametrize("path", ["/-/healthz", "/-/readyz"])
def test_head_is_told_the_same_without_the_body(path: str) -> None:
    health = Health(not_found, ready=ready)
    get, head = (asyncio.run(asked(health, path, method)) for method in ("GET", "HEAD"))
    assert head.sent[0] == get.sent[0] and head.answer == b"" != get.answer
    assert dict(get.sent[0]["headers"])[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(method: str) -> None:
    call = asyncio.run(asked(Health(not_found, ready=ready), "/-/readyz", method))
    assert (call.status, dict(call.sent[0]["headers"])[b"allow"]) == (405, b"GET, HEAD")


@pytest.mark.parametrize(
    "scope",
    [
        http(path="/healthz"),
        http(path="/-/healthz/"),
        http(path="/-/other"),
        http(path="/-"),
        http(path="/x/-/readyz"),
        {**http(path="/-/healthz"), "type": "websocket"},
        {"type": "lifespan"},
    ],
    ids=lambda scope: f"{scope['type']} {scope.get('path')}",
)
def test_everything_else_passes_untouched(scope: Scope) -> None:
    call = (scope, Call().receive, Call().send)
    app = Recorder()
    asyncio.run(Health(app, ready=ready)(*call))
    assert app.calls == [call] and app.calls[0][0] is scope


@pytest.mark.parametrize(("prefix", "path"), [("", "/healthz"), ("/", "/healthz"), ("/a/b", "/a/b/healthz")])
def test_the_prefix_can_be_moved(prefix: str, path: str) -> None:
    assert told(Health(not_found, prefix=prefix, ready=ready), path)[0] == 200


class Counted:
    """A backend that is slow to answer."""

    def __init__(self) -> None:
        self.times = 0
        self.go = asyncio.Event()

    async def __call__(self) -> str:
        self.times += 1
        await self.go.wait()
        return "langgraph"


@pytest.mark.parametrize(("fresh", "times"), [(60, 1), (0, 2)])
def test_many_who_ask_are_one_question_and_its_answer_is_kept_for_a_while(
    monkeypatch: pytest.MonkeyPatch, fresh: float, times: int
) -> None:
    monkeypatch.setattr("ap_resume_shim.sidecar.health.FRESH", fresh)

    async def run() -> None:
        health = Health(not_found, ready=(backend := Counted()))
        asking = [asyncio.create_task(asked(health, "/-/readyz")) for _ in range(20)]
        await asyncio.sleep(0)
        backend.go.set()
        assert [(await one).status for one in asking] == [200] * 20
        assert backend.times == 1
        await asked(health, "/-/readyz")
        assert backend.times == times

    asyncio.run(run())


def test_one_who_leaves_does_not_end_the_question_of_the_others() -> None:
    async def run() -> None:
        health = Health(not_found, ready=(backend := Counted()))
        leaves, stays = (asyncio.create_task(asked(health, "/-/readyz")) for _ in range(2))
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.sleep(0)
        backend.go.set()
        assert (await stays).status == 200

    asyncio.run(run())


def test_a_shim_is_ready_when_any_answer_comes_from_a_backend_that_was_named() -> None:
    with upstream(b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n") as server:
        shim = ResumeShim(ReverseProxy(server.url), "langgraph")
        assert told(Health(shim, ready=shim.ready)) == (200, {"status": "ready", "backend": "langgraph"})


@pytest.mark.parametrize(
    ("openapi", "expected"),
    [
        ({"paths": PATHS}, (200, "agent-protocol")),
        ({"paths": {f"/runs/resume{end}": {"patch": {}} for end in ("", "/wait", "/stream")}}, (200, "native")),
        ({"paths": {}}, (503, None)),
    ],
)
def test_a_shim_that_finds_out_its_backend_is_ready_when_it_has(openapi: Any, expected: Any) -> None:
    async def describe(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, openapi)

    with serving(Agent(extra={"/openapi.json": describe})) as url:
        shim = ResumeShim(ReverseProxy(url))
        status, body = told(Health(shim, ready=shim.ready))
    assert (status, body.get("backend")) == expected
    assert status == 200 or "--backend" in body["reason"]


def test_a_shim_is_not_ready_when_nobody_is_there() -> None:
    shim = ResumeShim(ReverseProxy("http://127.0.0.1:9"), "langgraph")
    status, body = told(Health(shim, ready=shim.ready))
    assert (status, body["status"]) == (503, "unready")
    assert body["reason"].startswith("The backend cannot be reached")


def test_a_question_of_health_is_no_resume_and_carries_nobodys_credentials() -> None:
    with upstream() as server:
        shim = ResumeShim(ReverseProxy(server.url), "langgraph", prefix="/api")
        told(Health(shim, ready=shim.ready))
    assert server.lines[0] == b"GET /api/info HTTP/1.1"
    names = {line.partition(b":")[0].lower() for line in server.lines[1:]}
    assert names <= {b"host", b"accept", b"accept-encoding", b"user-agent", b"connection", LOOP_MARKER}


@pytest.mark.parametrize(("required", "status"), [(True, 503), (False, 200)])
def test_it_is_not_ready_while_a_store_that_it_needs_is_away(required: bool, status: int) -> None:
    guard = load_guard(f"redis://127.0.0.1:{free_port()}/0", required=required, timeout=0.2)
    shim = ResumeShim(Agent(), "agent-protocol", guard=guard)
    told_status, body = told(Health(shim, ready=shim.ready))
    assert told_status == status
    assert status == 200 or "guard's store cannot be reached" in body["reason"]


def test_it_is_ready_when_the_store_is_there() -> None:
    with redis_server() as store:
        shim = ResumeShim(Agent(), "agent-protocol", guard=store.url)
        assert told(Health(shim, ready=shim.ready))[0] == 200
