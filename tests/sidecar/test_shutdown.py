"""The end of the grace period: whoever is still waiting is told the truth, or sees a break."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ap_resume_shim import ResumeShim
from ap_resume_shim._shutdown import SHUTDOWN
from tests.support.agent import METADATA, PROTOCOL, UNTIL_LEFT, Agent, says, shimmed, waits
from tests.support.calling import http
from tests.support.redis_server import RedisServer, redis_server
from tests.support.serving import serving
from tests.support.sidecar import Sidecar, sidecar
from tests.support.sockets import connect, read_head
from tests.support.waiting import eventually

ROUTES = ["", "/wait", "/stream"]
OPTIONS = ("--backend", "agent-protocol", "--timeout-graceful-shutdown", "0.2", "--commit-timeout", "0.01")
PATIENCE = 60.0


class Silent:
    """A route that does not answer."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        await silent(scope, receive, send)


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """A route that does not answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def never(agent: Agent, receive: Receive, send: Send) -> None:
    """A resume that is not answered."""
    await silent({}, receive, send)


@dataclass
class Told:
    """What came on a client's connection until it ended."""

    raw: bytes

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0].lower()

    @property
    def status(self) -> int:
        return int(self.raw[9:12])

    @property
    def error(self) -> tuple[int, str, str | None, bool]:
        """Status, code, what became of the resume, and whether there is a `Retry-After`."""
        error = json.loads(self.raw.partition(b"\r\n\r\n")[2])
        return self.status, error["code"], error["metadata"].get("resume_state"), b"\r\nretry-after: " in self.head


def patch(route: str, *headers: str, length: int | None = None) -> bytes:
    body = b'{"thread_id": "t", "input": "yes"}'
    fields = "".join(f"{header}\r\n" for header in headers)
    head = f"PATCH /runs/resume{route} HTTP/1.1\r\nhost: x\r\n{fields}content-length: {length or len(body)}\r\n\r\n"
    return head.encode() + body


def rest(client: socket.socket) -> bytes:
    """What comes until the connection ends."""
    got = b""
    with suppress(ConnectionResetError):
        while more := client.recv(65536):
            got += more
    return got


@contextmanager
def shim_of(agent: Any, *options: str) -> Iterator[Sidecar]:
    with serving(agent) as upstream, sidecar("--upstream", upstream, "--port", "0", *OPTIONS, *options) as shim:
        yield shim


def cut(shim: Sidecar, request: bytes, reached: Callable[[], Any], begins: bytes = b"") -> Told:
    """Send a request, wait until it is where the test wants it, and stop the sidecar: what the client gets."""
    with connect(shim.url) as client:
        client.sendall(request)
        got = b""
        while begins not in got:
            got += client.recv(65536)
        eventually(reached)
        shim.process.terminate()
        told = Told(got + rest(client))
    assert shim.process.wait(PATIENCE) == 0
    assert "Traceback" not in shim.log
    return told


def line(shim: Sidecar) -> tuple[str, str | None, str]:
    """Verdict, what became of the resume, and how the answer ended, as the log has them."""
    (found,) = (entry for entry in map(json.loads, shim.log.splitlines()) if entry["logger"] == "ap_resume_shim.resume")
    return found["verdict"], found["resume_state"], found["ended"]


NOT_SENT = (503, "shutting_down", "not_sent", True)
UNKNOWN = (504, "shutting_down", "unknown", False)
CONSUMED = (504, "shutting_down", "consumed", False)


@pytest.mark.parametrize("route", ROUTES)
def test_a_resume_that_was_not_sent_is_a_503(route: str) -> None:
    agent = Agent(extra={"/threads/t": (lookup := Silent())})
    with shim_of(agent) as shim:
        told = cut(shim, patch(route), lambda: lookup.asked)
        assert (told.error, agent.resumes) == (NOT_SENT, [])
        assert b"\r\nconnection: close" in told.head
        assert line(shim) == ("shutting_down", "not_sent", "complete")


def test_a_resume_whose_body_has_not_come_is_a_503() -> None:
    with shim_of(agent := Agent()) as shim:
        told = cut(shim, patch("", "expect: 100-continue", length=100), lambda: True, begins=(go_on := b"100 Continue"))
        assert (Told(told.raw.partition(go_on + b"\r\n\r\n")[2]).error, agent.seen) == (NOT_SENT, [])


@pytest.mark.parametrize("route", ROUTES)
def test_a_resume_that_was_sent_is_a_504(route: str) -> None:
    with shim_of(agent := Agent(never)) as shim:
        told = cut(shim, patch(route), lambda: agent.resumes)
        assert (told.error, len(agent.resumes)) == (UNKNOWN, 1)
        assert line(shim) == ("shutting_down", "unknown", "complete")


def test_a_wait_whose_answer_had_begun_is_a_504_of_a_resume_that_was_taken() -> None:
    with shim_of(agent := Agent(waits(b'{"run_id"', UNTIL_LEFT))) as shim:
        told = cut(shim, patch("/wait"), lambda: agent.sent)
        assert told.error == CONSUMED
        assert line(shim) == ("shutting_down", "consumed", "complete")


def test_a_stream_is_told_by_an_event_and_looks_broken() -> None:
    with shim_of(Agent(says(METADATA, UNTIL_LEFT))) as shim:
        told = cut(shim, patch("/stream"), lambda: True, begins=b"metadata")
        assert told.status == 200
        event = told.raw.partition(b"event: error\r\ndata: ")[2] or told.raw.partition(b"event: error\ndata: ")[2]
        error = json.loads(event.partition(b"\n")[0])
        assert (error["code"], error["metadata"]["resume_state"]) == ("shutting_down", "consumed")
        assert not told.raw.endswith(b"0\r\n\r\n")
        assert line(shim) == ("shutting_down", "consumed", "cut")


def test_a_stream_that_is_cut_in_an_event_only_looks_broken() -> None:
    with shim_of(Agent(says(METADATA, b"event: values\r\ndata: {", UNTIL_LEFT))) as shim:
        told = cut(shim, patch("/stream"), lambda: True, begins=b"values")
        assert b"event: error" not in told.raw
        assert not told.raw.endswith(b"0\r\n\r\n")
        assert line(shim) == ("shutting_down", "consumed", "cut")


def test_a_background_resume_that_was_answered_is_complete() -> None:
    with shim_of(agent := Agent()) as shim:
        told = cut(shim, patch("", "connection: close"), lambda: True, begins=b'"run_id"')
        assert (told.status, len(agent.resumes)) == (200, 1)
        assert line(shim) == ("accepted", None, "complete")


@pytest.mark.parametrize("begun", [False, True])
def test_a_passed_request_is_a_503_or_looks_broken(begun: bool) -> None:
    agent, asked = Agent(), []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope)
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await silent(scope, receive, send)

    agent.extra["/slow"] = slow
    with shim_of(agent, "--access-log") as shim:
        told = cut(shim, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n", lambda: asked, begins=b"begun" if begun else b"")
        assert told.status == (200 if begun else 503)
        assert b"retry-after" not in told.head
        assert begun or b"\r\nconnection: close" in told.head
        assert not told.raw.endswith(b"0\r\n\r\n")
        assert '"ended": "cut"' in shim.log


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.mark.parametrize("route", ROUTES)
def test_a_retry_with_its_key_after_the_restart_is_told_the_truth(redis: RedisServer, route: str) -> None:
    request, agent = patch(route, f"idempotency-key: sent{route}", "connection: close"), Agent(never)
    with shim_of(agent, "--guard", redis.url, "--namespace", f"sent{route}") as shim:
        first = cut(shim, request, lambda: agent.resumes)
    with shim_of(agent, "--guard", redis.url, "--namespace", f"sent{route}") as shim:
        agent.status = "interrupted"
        with connect(shim.url) as client:
            client.sendall(request)
            again = Told(rest(client))
    assert (again.error, first.error) == (UNKNOWN, UNKNOWN)
    assert b"idempotency-replayed: true" in again.head
    assert len(agent.resumes) == 1


@pytest.mark.parametrize("route", ROUTES)
def test_a_retry_of_what_was_not_sent_is_sent_after_the_restart(redis: RedisServer, route: str) -> None:
    request, agent = patch(route, f"idempotency-key: unsent{route}", "connection: close"), Agent()
    agent.extra["/threads/t"] = lookup = Silent()
    with shim_of(agent, "--guard", redis.url, "--namespace", f"unsent{route}") as shim:
        assert cut(shim, request, lambda: lookup.asked).error == NOT_SENT
    del agent.extra["/threads/t"]
    with shim_of(agent, "--guard", redis.url, "--namespace", f"unsent{route}") as shim, connect(shim.url) as client:
        client.sendall(request)
        assert read_head(client).startswith(b"HTTP/1.1 200 ")
    assert len(agent.resumes) == 1


@contextmanager
def ending(agent: Agent, request: bytes, reached: Callable[[], Any], **options: Any) -> Iterator[Future[bytes]]:
    """A request inside a server that has ended when the block is entered: what the client gets."""
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        with shimmed(agent, **options) as url:
            client = stack.enter_context(connect(url))
            client.settimeout(PATIENCE)
            client.sendall(request)
            eventually(reached)
            waiting = pool.submit(rest, client)
        yield waiting


@pytest.mark.parametrize("route", ROUTES)
def test_inside_a_server_that_ends_a_resume_is_told_the_same(route: str) -> None:
    agent = Agent(never)
    with ending(agent, patch(route, "connection: close"), lambda: agent.resumes) as waiting:
        assert Told(waiting.result()).error == UNKNOWN


@pytest.mark.parametrize("route", ROUTES)
def test_inside_a_server_that_ends_a_resume_that_was_not_sent_is_told_so(route: str) -> None:
    agent = Agent(extra={"/threads/t": (lookup := Silent())})
    with ending(agent, patch(route, "connection: close"), lambda: lookup.asked) as waiting:
        assert Told(waiting.result()).error == NOT_SENT
    assert agent.resumes == []


@pytest.mark.parametrize("route", ROUTES)
def test_a_resume_whose_body_nobody_had_taken_was_not_sent_and_never_is(route: str) -> None:
    agent, begun, messages = Agent(), [], []

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope)
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            messages.append(await receive())

    agent.extra[f"/runs{route}"] = late
    with ending(agent, patch(route, "connection: close"), lambda: begun) as waiting:
        assert Told(waiting.result()).error == NOT_SENT
    assert messages == [{"type": "http.disconnect"}]


def test_inside_a_server_that_ends_a_wait_that_has_begun_looks_broken() -> None:
    agent = Agent(waits(UNTIL_LEFT))
    with ending(agent, patch("/wait"), lambda: agent.resumes, keepalive=0.05) as waiting:
        told = Told(waiting.result())
    assert told.status == 200
    assert not told.raw.endswith(b"0\r\n\r\n")


@pytest.mark.anyio
async def test_the_lifespan_of_the_app_ends_after_its_resumes() -> None:
    """uvicorn cancels the requests, ends the lifespan, and exits: a response after that does not reach the client."""
    agent, order = Agent(extra={"/threads/t": (lookup := Stuck())}), []
    shim = ResumeShim(agent, PROTOCOL)
    messages: asyncio.Queue[Message] = asyncio.Queue()
    body = b'{"thread_id": "t", "input": "yes"}'
    received: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        for message in received:
            return message
        return await asyncio.Future()

    async def send(message: Message) -> None:
        order.append(message.get("status", message["type"]))

    lifespan = asyncio.create_task(shim({"type": "lifespan"}, messages.get, send))
    request = asyncio.create_task(shim(http("PATCH", "/runs/resume"), receive, send))
    await messages.put({"type": "lifespan.startup"})
    await asyncio.wait_for(lookup.asked.wait(), PATIENCE)
    request.cancel(SHUTDOWN)
    await messages.put({"type": "lifespan.shutdown"})
    await asyncio.wait_for(lifespan, PATIENCE)
    assert order == ["lifespan.startup.complete", 503, "http.response.body", "lifespan.shutdown.complete"]


class Stuck:
    """A route that does not answer, and does not notice that the client has left."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        await asyncio.sleep(PATIENCE)
