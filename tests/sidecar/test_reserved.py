"""The sidecar's own addresses on the clients' port: which paths they take, and that all others pass."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ap_resume_shim.sidecar.app import build, clients_app
from ap_resume_shim.sidecar.health import not_found
from ap_resume_shim.sidecar.reserved import ReservedPaths
from ap_resume_shim.sidecar.settings import Settings
from tests.support.agent import Agent, reply
from tests.support.calling import CLIENT, Call, http
from tests.support.serving import serving
from tests.support.sidecar import sidecar


def named(name: str) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, name)

    return app


def served_by(app: ASGIApp, path: str) -> str:
    call = Call()
    asyncio.run(call(app, http(path=path)))
    return str(json.loads(call.answer))


@pytest.mark.parametrize("prefix", ["/-", "/-/", "/deep/own"])
def test_a_path_below_the_prefix_is_served_by_the_app_with_its_name(prefix: str) -> None:
    apps = {"one": named("one"), "all": named("all"), "all/": named("all")}
    app = ReservedPaths(named("passed"), prefix, apps)
    own = prefix.rstrip("/")
    assert [served_by(app, own + path) for path in ("/one", "/all", "/all/", "/all/a/b")] == [
        "one",
        "all",
        "all",
        "all",
    ]
    for path in ("", "/", "/one/", "/one/more", "/allmore", "/other", "x/one"):
        assert served_by(app, own + path) == "passed"
    assert served_by(app, "/one") == "passed"


def test_anything_but_a_request_passes() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    reserved = ReservedPaths(app, "/-", {"one": not_found})
    asyncio.run(reserved({"type": "websocket", "path": "/-/one"}, Call().receive, Call().send))
    assert seen == ["websocket"]


def test_without_a_reserved_prefix_everything_passes() -> None:
    settings = Settings(upstream="http://127.0.0.1:9", reserved_prefix="", access_log=False)
    shim = build(settings)
    assert clients_app(settings, shim, not_found) is shim


def test_the_sidecar_serves_questions_beside_the_health_port_and_logs_them() -> None:
    with serving(Agent()) as upstream:
        options = ("--backend", "agent-protocol", "--health-port", "0", "--access-log")
        with sidecar("--upstream", upstream, "--port", "0", *options) as shim:
            listed = CLIENT.get(f"{shim.url}/-/questions/t")
            assert [question["interrupt_id"] for question in listed.json()["questions"]] == ["q1"]
            assert CLIENT.get(f"{shim.url}/-/healthz").status_code == 404
            assert "/-/questions/t" in shim.log
