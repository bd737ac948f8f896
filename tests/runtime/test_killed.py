"""Sidecars that share a guard in Redis: one is killed or paused at any point, or Redis itself dies.

Whatever a resume may have done, it is never sent a second time; and what it held is free again when its lease is over.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.guard import load_guard
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from tests.support.agent import METADATA, UNTIL_LEFT, Agent, at_once, held, read, reply, says, waits
from tests.support.calling import CLIENT
from tests.support.redis_server import RedisServer, redis_server
from tests.support.serving import listening, serving
from tests.support.sidecar import Sidecar, sidecar, sidecars
from tests.support.sockets import upstream
from tests.support.waiting import eventually

ROUTES = ("", "/wait", "/stream")
KEY = {"idempotency-key": "k"}
PATIENCE = 60.0


@dataclass
class Stage:
    """Two sidecars in front of an agent server: one that is killed, and one that goes on. Each test has a thread."""

    agent: Agent = field(default_factory=Agent)
    thread: str = ""
    mortal: Sidecar = field(init=False)
    other: Sidecar = field(init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.agent(scope, receive, send)

    def resume(self, through: Sidecar, route: str = "", headers: Any = None, **body: Any) -> httpx.Response:
        """A client's resume."""
        return resume(through.url, self.thread, route, headers, **body)

    @contextmanager
    def under_way(self, through: Sidecar, route: str = "", **options: Any) -> Iterator[Future[httpx.Response]]:
        """A resume that goes on meanwhile."""
        with ThreadPoolExecutor(1) as pool:
            yield pool.submit(self.resume, through, route, **options)

    @property
    def is_free(self) -> bool:
        """Whether nobody holds the thread: asked by a resume that is never sent."""
        return is_free(self.other.url, self.thread)

    def lost(self, route: str) -> Any:
        """What the other sidecar says to a retry when the lease is over: what became of the resume."""
        eventually(lambda: "resume_state" in self._retry(route), patience=PATIENCE)
        return self._retry(route)

    def _retry(self, route: str) -> Any:
        answer = self.resume(self.other, route, KEY)
        assert (answer.status_code, answer.json()["code"]) == (409, "resume_in_progress")
        return answer.json()["metadata"]


def resume(url: str, thread: str, route: str = "", headers: Any = None, **body: Any) -> httpx.Response:
    body = {"thread_id": thread, "input": "yes", **body}
    return CLIENT.patch(f"{url}/runs/resume{route}", json=body, headers=headers, timeout=PATIENCE)


def is_free(url: str, thread: str) -> bool:
    return bool(resume(url, thread, interrupt_id="none").json()["code"] == "interrupt_not_pending")


@contextmanager
def guarded(app: ASGIApp, *options: str, count: int = 1) -> Iterator[list[Sidecar]]:
    """Sidecars in front of an agent server."""
    with serving(app) as url, sidecars(count, "--upstream", url, "--port", "0", *options) as made:
        yield made


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def standing(redis: RedisServer) -> Iterator[tuple[Stage, str]]:
    """What all tests share: the agent server's address, and the sidecar that goes on."""
    stage, port = Stage(), listening()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that a large body waits in its sender
    with serving(stage, at=port) as url, sidecar("--upstream", url, "--port", "0", *shared(redis)) as stage.other:
        yield stage, url


@pytest.fixture
def stage(standing: tuple[Stage, str], redis: RedisServer) -> Iterator[Stage]:
    stage, url = standing
    stage.agent, stage.thread = Agent(), str(uuid.uuid4())
    with sidecar("--upstream", url, "--port", "0", *shared(redis)) as stage.mortal:
        yield stage
        stage.agent.go.set()


def shared(redis: RedisServer, backend: str = "agent-protocol", lease: int = 12) -> tuple[str, ...]:
    # The agent asks the same question for ever, so that no look could show that a resume has arrived.
    commit = ("--commit-timeout", "0.01")
    return ("--backend", backend, "--settle", "0.2", "--guard", redis.url, "--guard-lease", str(lease), *commit)


class Unanswered:
    """A route that says nothing, until the client has left."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads no byte of the body before it is waited for."""
        self.asked.set()
        await left(receive)


async def left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def silent(agent: Agent, receive: Receive, send: Send) -> None:
    """Take a resume, and say nothing; only the guard can know that the question was answered."""
    agent.status = "interrupted"
    await left(receive)


@pytest.mark.parametrize("route", ROUTES)
def test_killed_while_it_looks_it_has_sent_nothing_and_the_retry_is_sent(stage: Stage, route: str) -> None:
    stage.agent.extra[f"/threads/{stage.thread}"] = lookup = Unanswered()
    with stage.under_way(stage.mortal, route, headers=KEY) as first:
        assert lookup.asked.wait(PATIENCE)
        stage.mortal.kill()
    assert isinstance(first.exception(), httpx.TransportError)
    assert stage.agent.resumes == []
    stage.agent.extra.clear()
    retry = stage.resume(stage.other, route, KEY)
    assert (retry.status_code, retry.headers.get("idempotency-replayed"), len(stage.agent.resumes)) == (200, None, 1)


@pytest.mark.parametrize("route", ROUTES)
def test_killed_before_the_answer_its_resume_is_never_sent_again(stage: Stage, route: str) -> None:
    stage.agent.answering = silent
    with stage.under_way(stage.mortal, route, headers=KEY) as first:
        eventually(lambda: stage.agent.resumes, patience=PATIENCE)
        stage.mortal.kill()
    assert isinstance(first.exception(), httpx.TransportError)
    assert stage.resume(stage.other, route).json()["code"] == "resume_in_progress"
    assert stage.lost(route) == {"resume_state": "unknown"}
    assert len(stage.agent.resumes) == 1
    stage.agent.answering = at_once
    assert stage.is_free
    assert (stage.resume(stage.other, route).status_code, len(stage.agent.resumes)) == (200, 2)


def test_killed_in_the_middle_of_its_bytes_its_resume_is_never_sent_again(stage: Stage) -> None:
    stage.agent.extra["/runs/wait"] = halfway = Halfway()
    with stage.under_way(stage.mortal, "/wait", headers=KEY, input="yes" * 1_000_000) as first:
        assert halfway.began.wait(PATIENCE)
        stage.mortal.kill()
        halfway.go.set()
    assert isinstance(first.exception(), httpx.TransportError)
    assert stage.resume(stage.other, "/wait").json()["code"] == "resume_in_progress"
    eventually(lambda: stage.is_free, patience=PATIENCE)
    retry = stage.resume(stage.other, "/wait", KEY, input="yes" * 1_000_000)
    assert (retry.status_code, retry.json()["metadata"]) == (409, {"resume_state": "unknown"})
    assert halfway.times == 1, "whether the kernel still delivers the rest or not"
    stage.agent.extra.clear()
    assert (stage.resume(stage.other, "/wait").status_code, len(stage.agent.resumes)) == (200, 1)


class Halfway:
    """A route that reads the beginning of a resume, and the rest when the test says so."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self.times = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Uvicorn reads no further than 64 KiB ahead of it."""
        self.times += 1
        await receive()
        self.began.set()
        await asyncio.to_thread(self.go.wait, PATIENCE)
        while (await receive())["type"] != "http.disconnect":
            pass


def test_killed_after_the_answer_began_its_resume_is_never_sent_again(stage: Stage) -> None:
    """A wait's head tells that the backend took it, but not the run."""
    stage.agent.answering = waits(b"{", UNTIL_LEFT)
    with stage.under_way(stage.mortal, "/wait", headers=KEY) as first:
        eventually(lambda: stage.agent.sent, patience=PATIENCE)
        stage.agent.status = "interrupted"
        eventually(lambda: stage.is_free, "the acceptance was told", patience=PATIENCE)
        stage.mortal.kill()
    assert isinstance(first.exception(), httpx.TransportError)
    assert stage.lost("/wait") == {"resume_state": "unknown"}
    assert len(stage.agent.resumes) == 1
    stage.agent.answering = at_once
    assert (stage.resume(stage.other, "/wait").status_code, len(stage.agent.resumes)) == (200, 2)


def test_killed_in_the_middle_of_a_stream_it_holds_nothing_and_its_resume_is_never_sent_again(stage: Stage) -> None:
    stage.agent.answering = says(METADATA, UNTIL_LEFT)
    body = {"thread_id": stage.thread, "input": "yes"}
    url = f"{stage.mortal.url}/runs/resume/stream"
    with CLIENT.stream("PATCH", url, json=body, headers=KEY, timeout=PATIENCE) as response:
        assert (response.status_code, next(response.iter_raw())) == (200, METADATA)
        stage.mortal.kill()
        assert stage.agent.left.wait(PATIENCE)
    assert stage.lost("/stream") == {"run_id": "r2", "resume_state": "consumed"}
    assert len(stage.agent.resumes) == 1
    stage.agent.answering, stage.agent.status = at_once, "interrupted"
    assert (stage.resume(stage.other, "/stream").status_code, len(stage.agent.resumes)) == (200, 2)


@pytest.mark.parametrize("route", ["", "/wait"])
def test_killed_after_the_answer_it_holds_nothing_for_long_and_the_answer_is_kept(stage: Stage, route: str) -> None:
    first = stage.resume(stage.mortal, route, KEY)
    stage.mortal.kill()
    again = stage.resume(stage.other, route, KEY)
    assert (again.status_code, again.content) == (200, first.content)
    assert (again.headers["idempotency-replayed"], len(stage.agent.resumes)) == ("true", 1)
    stage.agent.status = "interrupted"
    eventually(lambda: stage.resume(stage.other, route).status_code == 200, "at its lease's end", patience=PATIENCE)
    assert len(stage.agent.resumes) == 2


@pytest.mark.parametrize("route", ROUTES)
def test_while_redis_is_away_answers_arrive_and_nothing_new_is_sent(route: str) -> None:
    agent = Agent(held)
    with redis_server() as redis, guarded(agent, *shared(redis), count=2) as (one, another):
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(resume, one.url, "t", route)
            eventually(lambda: agent.resumes, patience=PATIENCE)
            redis.stop()
            agent.status = "interrupted"
            for through in (one, another):
                refused = resume(through.url, "t", route)
                assert (refused.status_code, refused.json()["code"]) == (503, "guard_unavailable")
                assert int(refused.headers["retry-after"]) > 0
            agent.go.set()
        assert (first.result().status_code, len(agent.resumes)) == (200, 1)
        redis.start()
        agent.status = "interrupted"
        assert (resume(another.url, "t", route).status_code, len(agent.resumes)) == (200, 2)


def test_while_redis_is_away_a_sidecar_that_may_guards_alone() -> None:
    agent = Agent(held)
    with redis_server() as redis, guarded(agent, *shared(redis), "--no-guard-required") as (alone,):
        redis.stop()
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(resume, alone.url, "t")
            eventually(lambda: agent.resumes, patience=PATIENCE)
            agent.status = "interrupted"
            assert resume(alone.url, "t").json()["code"] == "resume_in_progress"
            agent.go.set()
        assert (first.result().status_code, len(agent.resumes)) == (200, 1)
        redis.start()
        agent.status = "interrupted"
        eventually(
            lambda: resume(alone.url, "t").status_code == 200, "the hold of the first has ended", patience=PATIENCE
        )
        assert len(agent.resumes) == 2


@dataclass
class Aegra:
    """Aegra, as far as a background resume needs it: after the claim it is asked for the thread once more."""

    asked: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    resumes: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        body, run = await read(receive), {"run_id": "r2", "assistant_id": "a", "status": "interrupted"}
        if scope["method"] == "POST":
            self.resumes.append(body)
            await reply(send, run)
        elif scope["path"].endswith("/runs"):
            await reply(send, [{**run, "run_id": "r1"}])
        elif scope["path"].endswith("/state"):
            await reply(send, {"values": {}, "tasks": [{"id": "1", "interrupts": [{"id": "1" * 32, "value": "?"}]}]})
        else:
            first = not self.asked.is_set()
            self.asked.set()
            await asyncio.to_thread(self.go.wait, PATIENCE if first else 0)
            await reply(send, {"status": "interrupted"})


@pytest.mark.parametrize("meanwhile", [False, True])
def test_paused_after_its_claim_for_longer_than_its_lease_it_sends_nothing(redis: RedisServer, meanwhile: bool) -> None:
    aegra, thread = Aegra(), str(uuid.uuid4())
    with guarded(aegra, *shared(redis, "aegra", lease=3), count=2) as (paused, other), ThreadPoolExecutor(1) as pool:
        first = pool.submit(resume, paused.url, thread)
        assert aegra.asked.wait(PATIENCE)
        paused.pause()
        eventually(lambda: is_free(other.url, thread), patience=PATIENCE)
        assert not meanwhile or resume(other.url, thread, input="another").status_code == 200
        aegra.go.set()
        paused.go_on()
        refused = first.result()
    assert (refused.status_code, refused.json()["code"]) == (409, "resume_in_progress")
    assert refused.json()["metadata"] == {"resume_state": "not_sent"}
    assert len(aegra.resumes) == meanwhile and all(b"another" in body for body in aegra.resumes)


class HeldUp(httpx.AsyncHTTPTransport):
    """Answers lookups itself, and opens the resume's connection when the hold is over already."""

    def __init__(self) -> None:
        super().__init__()
        self.late = 0.0

    def clock(self) -> float:
        return time.monotonic() + self.late

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The first byte is not sent before the connection is there."""
        if request.url.path.startswith("/threads/"):
            return httpx.Response(200, json=Agent().thread)
        if request.url.path == "/runs/search":
            return httpx.Response(200, json=[{"run_id": "r1", "agent_id": "a"}])
        self.late = 60.0
        return await super().handle_async_request(request)


@pytest.mark.parametrize("route", ROUTES)
def test_of_a_resume_whose_connection_opens_too_late_no_byte_is_sent(redis: RedisServer, route: str) -> None:
    transport = HeldUp()
    guard = load_guard(redis.url, lease=30, clock=transport.clock)
    with upstream() as behind:
        proxy = ReverseProxy(behind.url, transport=partial(HttpxTransport, network=transport))
        shim = ResumeShim(proxy, "agent-protocol", guard=guard)
        with serving(shim) as url:
            refused = resume(url, str(uuid.uuid4()), route)
            eventually(lambda: behind.heads == [b""], "a connection, and nothing on it")
    assert (refused.status_code, refused.json()["code"]) == (409, "resume_in_progress")
    assert refused.json()["metadata"] == {"resume_state": "not_sent"}
