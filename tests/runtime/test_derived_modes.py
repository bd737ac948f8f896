"""Derived modes on real sockets: what is polled, drained or held open, for clients that wait and clients that leave."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.dialect import Decision, Dialect, Found, Lookup, ResponseKind, Started
from ap_resume_shim.core.dialect_helpers import read_lookup, read_refusal
from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.sse import first_event
from ap_resume_shim.core.steps import Ask, ReadUntilIdle
from ap_resume_shim.runtime.limits import Limits
from tests.support.agent import read, reply, resume, start
from tests.support.calling import CLIENT
from tests.support.serving import serving
from tests.support.waiting import eventually


class Server:
    """A server with one thread: it asks, takes an answer in the only way that it has, and works for a while."""

    def __init__(self, way: ResponseKind, *, works: float = 0.3) -> None:
        self.way, self.works = way, works
        self.status = "interrupted"
        self.heard: list[Any] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/log":
            await start(send, 200, "application/x-ndjson")
            await send({"type": "http.response.body", "body": self.status.encode(), "more_body": True})
            await receive()
            await receive()
        elif scope["method"] == "GET":
            await reply(send, {"status": self.status})
        else:
            self.heard.append(json.loads(await read(receive)))
            self.status = "busy"
            await getattr(self, f"_{self.way}")(send)

    async def _work(self) -> None:
        await asyncio.sleep(self.works)
        self.status = "idle"

    async def _run(self, send: Send) -> None:
        self.tasks.add(asyncio.create_task(self._work()))
        await reply(send, {"run_id": "r1"})

    async def _result(self, send: Send) -> None:
        await self._work()
        await reply(send, {"run_id": "r1", "values": "done"})

    async def _events(self, send: Send) -> None:
        await start(send, 200, "text/event-stream")
        await send({"type": "http.response.body", "body": b'event: x\ndata: {"run_id": "r1"}\n\n', "more_body": True})
        await self._work()
        await send({"type": "http.response.body", "body": b"event: y\ndata: 1\n\n"})


class Speaks(Dialect[None]):
    """That server\'s dialect."""

    name = "speaks"
    thread_is = "the only one"

    def __init__(self, way: ResponseKind, *, peeks: bool = False) -> None:
        self.response_kinds = dict.fromkeys(Mode, way)
        self.peeks = peeks

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[Any]:
        if self.peeks:
            answer = yield from ReadUntilIdle(Request.get("/log"), quiet=0.2, enough=lambda read: False)
            status: Any = answer.text
        else:
            (answer,) = yield from Ask((Request.get("/thread"),))
            status = read_lookup(answer)["status"]
        asks = (Interrupt("q", None),) if status == "interrupted" else ()
        return Found(status, asks, run_id="r1", values={"status": status})

    def resume(self, resume: Resume, found: Found[Any], verdict: Decision) -> Request:
        return Request.post("/answer", resume.body.input)

    def refusal(self, response: Response) -> ResumeError:
        return read_refusal(response)

    def started(self, response: Response, body: bytes, resume: Resume, found: Found[Any]) -> Started[Any] | None:
        first = first_event(body)
        told = first.json if first is not None else Response(200, (), body).json
        return Started(told["run_id"]) if isinstance(told, dict) else None

    def run(self, resume: Resume, started: Started[Any]) -> Request:
        return Request.get("/run")

    def has_ended(self, response: Response) -> bool:
        return bool(response.json["status"] != "busy")

    def ended(self, body: bytes) -> Ended:
        return Ended(Response(200, (), body).json["values"])


class Silent(Server):
    """It says nothing before its work is done, and looks interrupted meanwhile."""

    async def _events(self, send: Send) -> None:
        self.status = "interrupted"
        await start(send, 200, "text/event-stream")
        await self._work()
        await send({"type": "http.response.body", "body": b'event: x\ndata: {"run_id": "r1"}\n\n'})


@contextmanager
def behind(server: Server, *, peeks: bool = False, **limits: float) -> Iterator[str]:
    shim = ResumeShim(server, Speaks(server.way, peeks=peeks), limits=Limits(**limits))  # type: ignore[arg-type]
    shim._settings.stream_grace = 0.2
    with serving(shim) as url:
        yield url


WAYS: list[ResponseKind] = ["run", "result", "events"]


@pytest.mark.parametrize("way", WAYS)
def test_a_background_resume_is_answered_while_the_agent_works(way: ResponseKind) -> None:
    with behind(server := Server(way, works=1.0)) as url:
        answer = resume(url)
        assert (answer.status_code, answer.json()["status"], server.status) == (200, "pending", "busy"), answer.text
        eventually(lambda: server.status == "idle")
    assert server.heard == ["yes"]


@pytest.mark.parametrize("way", WAYS)
def test_a_wait_is_answered_when_the_agent_has_ended(way: ResponseKind) -> None:
    with behind(server := Server(way)) as url:
        answer = resume(url, "/wait")
    assert (answer.status_code, answer.json()["run"]["status"]) == (200, "success"), answer.text
    assert server.status == "idle"


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_names_the_run_first_and_ends_with_the_agent(way: ResponseKind) -> None:
    with behind(server := Server(way)) as url:
        answer = resume(url, "/stream")
    assert answer.content.startswith(b'event: metadata\ndata: {"run_id":"r1"}\n\n'), answer.content
    assert server.status == "idle"
    assert (b"event: values" in answer.content) == (way != "events")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("route", ["/wait", "/stream"])
def test_who_waits_is_kept_company(route: str, way: ResponseKind) -> None:
    with behind(Server(way, works=1.0), keepalive=0.1) as url:
        answer = resume(url, route)
    company = b": keep-alive\n\n" if route == "/stream" else b"\n\n\n"
    assert company in answer.content, answer.content
    assert answer.status_code == 200


@pytest.mark.parametrize("way", WAYS)
def test_an_agent_that_takes_too_long_is_504(way: ResponseKind) -> None:
    with behind(Server(way, works=30.0), resume=0.5) as url:
        answer = resume(url, "/wait")
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")


def test_a_stream_that_is_made_says_that_it_was_given_up_and_looks_broken() -> None:
    read = b""
    body = {"thread_id": "t", "input": 1}
    with (
        behind(Server("run", works=30.0), resume=0.5) as url,
        pytest.raises(httpx.RemoteProtocolError),
        CLIENT.stream("PATCH", f"{url}/runs/resume/stream", json=body) as response,
    ):
        for chunk in response.iter_raw():
            read += chunk
    assert b"event: error" in read
    assert b"upstream_timeout" in read


def test_a_thread_that_is_read_from_what_does_not_end_is_peeked_at() -> None:
    with behind(server := Server("run"), peeks=True) as url:
        assert resume(url, "/wait").status_code == 200
        again = resume(url)
    assert (again.status_code, again.json()["code"]) == (409, "thread_not_interrupted")
    assert server.heard == ["yes"]


def test_a_peek_ends_when_it_has_seen_enough() -> None:
    class Impatient(Speaks):
        def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[Any]:
            yield from ReadUntilIdle(Request.get("/log"), quiet=30, enough=lambda read: read == b"interrupted")
            return Found("idle")

    server = Server("run")
    before = time.monotonic()
    with serving(ResumeShim(server, Impatient("run"))) as url:
        assert resume(url).json()["code"] == "thread_not_interrupted"
    assert time.monotonic() - before < 20


def test_a_peek_at_what_never_comes_to_rest_is_504() -> None:
    async def restless(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await start(send, 200, "text/plain")
        for _ in range(200):
            await send({"type": "http.response.body", "body": b".", "more_body": True})
            await asyncio.sleep(0.05)
        await send({"type": "http.response.body"})

    shim = ResumeShim(restless, Speaks("run", peeks=True), limits=Limits(lookup=0.5))
    with serving(shim) as url:
        answer = resume(url)
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")


def test_a_peek_at_what_does_not_answer_is_504() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await receive()
        await receive()

    shim = ResumeShim(silent, Speaks("run", peeks=True), limits=Limits(lookup=0.2))
    with serving(shim) as url:
        answer = resume(url)
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")


def test_a_stream_that_begins_with_silence_holds_the_thread_where_silence_tells_nothing() -> None:
    dialect = Speaks("events")
    dialect.accept_after_silent_grace = False
    shim = ResumeShim(server := Silent("events", works=1.5), dialect)
    shim._settings.stream_grace = 0.2
    with serving(shim) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(resume, url, "/stream")
        eventually(lambda: server.heard)
        time.sleep(0.5)
        assert resume(url).json()["code"] == "resume_in_progress"
        assert first.result().status_code == 200
    assert server.heard == ["yes"]


def test_a_stream_that_never_begins_is_given_up_when_the_resumes_time_is_over() -> None:
    dialect = Speaks("events")
    dialect.accept_after_silent_grace = False
    with serving(ResumeShim(Silent("events", works=2.0), dialect, limits=Limits(resume=0.3))) as url:
        answer = resume(url, "/stream")
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")
