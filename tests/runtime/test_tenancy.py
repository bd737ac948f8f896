"""Whose a thread is, where only the traffic tells of it: AG-UI's, behind a server that knows its callers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from redis import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ap_resume_shim import ResumeShim
from tests.support.agent import resume
from tests.support.calling import CLIENT
from tests.support.redis_server import redis_server
from tests.support.serving import listening, serving
from tests.support.sidecar import sidecar
from tests.support.waiting import eventually

ID = "16fe5a15848b85d16812b29fc68c70b0"
ALICE, BOB, STRANGER = ({"authorization": f"Bearer {name}"} for name in ("alice", "bob", "mallory"))
TOKEN = "s3cr3t-of-alice"


class Server:
    """An endpoint of AG-UI for alice and bob, which asks in every run that answers nothing."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        routes = [
            Route("/agent", self.run, methods=["POST"]),
            Route("/openapi.json", self.describe),
        ]
        self.app = Starlette(routes=routes)

    async def describe(self, request: Request) -> Response:
        body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/RunAgentInput"}}}}
        return JSONResponse({"paths": {"/agent": {"post": {"requestBody": body}}}})

    async def run(self, request: Request) -> Response:
        if request.headers.get("authorization") not in (ALICE["authorization"], BOB["authorization"]):
            return JSONResponse({"detail": "who are you?"}, 401)
        body = await request.json()
        if "messages" not in body:
            return JSONResponse({"detail": "no run"}, 422)
        self.runs.append(body)
        ids = {"threadId": body["threadId"], "runId": body["runId"]}
        asks = {"type": "CUSTOM", "name": "on_interrupt", "rawEvent": {"id": ID, "value": "deploy?"}}
        resumes = "command" in body.get("forwardedProps", {})
        events = [{"type": "RUN_STARTED", **ids}, *([] if resumes else [asks]), {"type": "RUN_FINISHED", **ids}]
        return StreamingResponse((f"data: {json.dumps(event)}\n\n" for event in events), media_type="text/event-stream")

    @property
    def resumes(self) -> list[dict[str, Any]]:
        """What the runs were sent that answer something."""
        return [run for run in self.runs if "command" in run.get("forwardedProps", {})]


def ask(url: str, headers: dict[str, str] = ALICE, thread: str = "t") -> None:
    """A run of the caller's own, with secrets in it, which stops at a question."""
    run = {"threadId": thread, "runId": "r1", "messages": [], "tools": [], "context": []}
    props = {"state": {"token": TOKEN}, "forwardedProps": {"token": TOKEN}}
    assert "on_interrupt" in CLIENT.post(f"{url}/agent", json={**run, **props}, headers=headers).text


@contextmanager
def shimmed(**options: Any) -> Iterator[tuple[str, Server]]:
    with serving(ResumeShim((server := Server()).app, "ag-ui", **options)) as url:
        yield url, server


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.text.replace("unknown", "t")


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_another_caller_learns_nothing_and_sends_nothing(route: str) -> None:
    with shimmed() as (url, server):
        ask(url)
        theirs, unknown = (resume(url, route, BOB, thread_id=thread) for thread in ("t", "unknown"))
        assert said(theirs) == said(unknown)
        assert (theirs.status_code, theirs.json()["code"]) == (409, "thread_not_interrupted")
        assert not [word for word in ("deploy?", ID, TOKEN, "agent") if word in theirs.text.replace("agent server", "")]
        assert not server.resumes


def test_who_is_not_let_in_does_not_learn_whether_there_is_such_a_thread() -> None:
    with shimmed() as (url, _):
        ask(url)
        answers = [resume(url, "", who, thread_id=thread) for who in (STRANGER, {}) for thread in ("t", "unknown")]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(401, "unauthorized")}


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_the_caller_that_was_asked_answers_with_what_its_run_had(route: str) -> None:
    with shimmed() as (url, server):
        ask(url)
        assert resume(url, route, ALICE).status_code == 200
        eventually(lambda: len(server.resumes) == 1)
        (run,) = server.resumes
        assert (run["state"], run["forwardedProps"]["token"]) == ({"token": TOKEN}, TOKEN)


def test_an_operator_may_share_what_was_seen() -> None:
    with shimmed(share_ledger=True) as (url, server):
        ask(url)
        assert resume(url, "/wait", BOB).status_code == 200
        assert len(server.resumes) == 1
        assert resume(url, "", STRANGER).status_code == 401


def test_processes_that_share_a_store_keep_callers_apart_in_it() -> None:
    with redis_server() as store, Redis.from_url(store.url) as client:
        options: dict[str, Any] = {"guard": store.url, "namespace": "n"}
        server = Server()
        one, other = (ResumeShim(server.app, "ag-ui", **options) for _ in range(2))
        with serving(one) as first, serving(other) as second:
            ask(first)
            everything = b"".join(b"".join(client.lrange(key, 0, -1)) for key in client.keys("*:ledger:*"))
            assert everything and TOKEN.encode() not in everything and b"deploy?" not in everything
            assert resume(second, "/wait", BOB).status_code == 409
            assert resume(second, "/wait", ALICE).status_code == 200
        assert [run["state"] for run in server.resumes] == [{"token": TOKEN}]


def test_entries_of_tomorrow_do_not_fail_a_resume() -> None:
    with redis_server() as store, Redis.from_url(store.url) as client, shimmed(guard=store.url) as (url, _):
        ask(url)
        (key,) = [key for key in client.keys("*:ledger:*") if client.llen(key) > 2]
        richer = [json.loads(entry) | {"newer": 1} for entry in client.lrange(key, 0, -1)]
        for entry in richer:
            entry["facts"]["newer"] = [1]
        client.delete(key)
        client.rpush(key, "garbage", '{"facts": {"what": "new"}}', *map(json.dumps, richer))
        assert resume(url, "/wait", ALICE).status_code == 200


def test_a_sidecar_that_detects_its_backend_has_seen_the_first_run() -> None:
    with serving((server := Server()).app) as upstream, sidecar("--upstream", upstream, "--port", "0") as shim:
        eventually(lambda: "the backend is ag-ui" in shim.log)  # a busy machine takes longer than the start waits
        ask(shim.url)
        assert resume(shim.url, "/wait", ALICE).status_code == 200
        assert len(server.resumes) == 1


def test_a_sidecar_detects_a_backend_that_comes_later() -> None:
    bound = listening()
    upstream = f"http://127.0.0.1:{bound.getsockname()[1]}"
    with sidecar("--upstream", upstream, "--port", "0") as shim, serving(Server().app, at=bound):
        eventually(lambda: "the backend is ag-ui" in shim.log)
        ask(shim.url)
        assert resume(shim.url, "/wait", ALICE).status_code == 200
