"""Every time limit: when it is over, the client is told what became of the resume, and the thread is free."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ap_resume_shim import Limits, ResumeShim, ReverseProxy
from ap_resume_shim.core.errors import Broken
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from tests.support.agent import (
    METADATA,
    PROTOCOL,
    UNTIL_LEFT,
    VALUES,
    WAITED,
    Agent,
    Answering,
    at_once,
    reply,
    resume,
    says,
    streamed,
    waits,
)
from tests.support.calling import Call, http
from tests.support.faults import bound
from tests.support.serving import serving
from tests.support.waiting import eventually

ROUTES = ["", "/wait", "/stream"]
BRIEF = 0.2
TEN_MINUTES = 600


@contextmanager
def limited(app: ASGIApp, **limits: float) -> Iterator[str]:
    """The address of a shim whose limits are brief."""
    with serving(ResumeShim(app, PROTOCOL, limits=Limits(**limits), settle=BRIEF), at=bound()) as url:  # type: ignore[arg-type]
        yield url


def is_free(url: str, agent: Agent) -> bool:
    """Whether the thread takes its next resume, when all is well again."""

    def takes_one() -> bool:
        agent.answering, agent.status, agent.extra = at_once, "interrupted", {}
        return resume(url).status_code == 200

    return eventually(takes_one)


def told(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()
    return answer.status_code, error["code"], error["metadata"].get("resume_state")


async def until_left(scope: Scope, receive: Receive, send: Send) -> None:
    """A server's route that does not answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def never(agent: Agent, receive: Receive, send: Send) -> None:
    """Nor does this one answer a resume."""
    await receive()
    agent.left.set()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("lookup", ["/threads/t", "/runs/search"])
def test_a_lookup_that_takes_too_long_is_a_504_and_nothing_is_sent(lookup: str, route: str) -> None:
    with limited(agent := Agent(extra={lookup: until_left}), lookup=BRIEF) as url:
        assert told(resume(url, route)) == (504, "upstream_timeout", "not_sent")
        assert agent.resumes == []
        assert is_free(url, agent)


@pytest.mark.parametrize("route", ROUTES)
def test_an_answer_that_does_not_begin_in_time_is_a_504(route: str) -> None:
    with limited(agent := Agent(never), resume=BRIEF) as url:
        assert told(resume(url, route)) == (504, "upstream_timeout", "unknown")
        assert (len(agent.resumes), agent.left.wait(10)) == (1, True)
        assert is_free(url, agent)


@pytest.mark.parametrize("route", ["", "/wait"])
def test_an_answer_that_does_not_end_in_time_is_a_504_of_a_resume_that_was_taken(route: str) -> None:
    with limited(agent := Agent(waits(b'{"run_id"', UNTIL_LEFT)), resume=BRIEF) as url:
        assert told(resume(url, route)) == (504, "upstream_timeout", "consumed")
        assert (len(agent.resumes), agent.left.wait(10)) == (1, True)
        assert is_free(url, agent)


@pytest.mark.parametrize("answering", [never, waits(b" ", UNTIL_LEFT)], ids=["no head", "half a body"])
def test_a_wait_that_is_too_late_after_white_space_looks_broken(answering: Answering) -> None:
    with limited(agent := Agent(answering), keepalive=0.05, resume=0.8) as url:
        with streamed(url, "/wait") as answer, pytest.raises(httpx.RemoteProtocolError):
            answer.read()
        assert answer.status_code == 200
        assert is_free(url, agent)


def then_silent(answering: Answering) -> Answering:
    """Answer the resume, and no lookup of its thread after that."""

    async def answer(agent: Agent, receive: Receive, send: Send) -> None:
        agent.extra["/threads/t"] = until_left
        await answering(agent, receive, send)

    return answer


async def nameless(agent: Agent, receive: Receive, send: Send) -> None:
    await reply(send, {})


@pytest.mark.parametrize(
    ("route", "answering"), [("", nameless), ("/wait", waits(WAITED)), ("/stream", says(VALUES))], ids=ROUTES
)
def test_a_lookup_that_takes_too_long_after_the_resume_is_a_504_of_a_resume_that_was_taken(
    route: str, answering: Answering
) -> None:
    with limited(agent := Agent(then_silent(answering)), lookup=0.5) as url:
        assert told(resume(url, route)) == (504, "upstream_timeout", "consumed")
        assert len(agent.resumes) == 1
        assert is_free(url, agent)


def broken_stream(url: str) -> bytes:
    """What comes of a stream that has to look broken."""
    got = b""
    with streamed(url) as answer, pytest.raises(httpx.RemoteProtocolError):
        for chunk in answer.iter_raw():
            got += chunk
    return got


def test_a_stream_that_falls_silent_says_so_and_looks_broken() -> None:
    with limited(agent := Agent(says(METADATA, UNTIL_LEFT)), idle=BRIEF) as url:
        name, data = broken_stream(url).removeprefix(METADATA).strip().split(b"\n")
        error = json.loads(data.removeprefix(b"data: "))
        assert (name, error["code"], error["metadata"]) == (
            b"event: error",
            "upstream_timeout",
            {"resume_state": "consumed"},
        )
        assert (len(agent.resumes), agent.left.wait(10)) == (1, True)
        assert is_free(url, agent)


def test_a_stream_that_falls_silent_in_an_event_only_looks_broken() -> None:
    with limited(agent := Agent(says(METADATA, b"data: half", UNTIL_LEFT)), idle=BRIEF) as url:
        assert broken_stream(url) == METADATA + b"data: half"
        assert is_free(url, agent)


def test_a_stream_may_go_on_for_longer_than_any_limit() -> None:
    with limited(Agent(says(METADATA, 0.4, VALUES, 0.4, VALUES, 0.4, VALUES)), resume=BRIEF, idle=1.0) as url:
        assert resume(url, "/stream").content == METADATA + VALUES * 3


@contextmanager
def deaf() -> Iterator[str]:
    """A server that takes no connection: those that wait for one are as many as it lets wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        for one in waiting:
            one.close()


@contextmanager
def mute() -> Iterator[str]:
    """A server that takes connections, and does not shake hands."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listening:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("server", [deaf, mute])
def test_a_connection_that_is_not_there_in_time_is_a_502_and_nothing_is_sent(
    server: Callable[[], Any], route: str
) -> None:
    """Lookups find a server, and the resume finds none."""
    with server() as nowhere:
        agent, proxy = Agent(), ReverseProxy(nowhere, connect=BRIEF)
        where: list[ASGIApp] = [proxy]

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await (where[0] if scope["path"] in ("/runs", "/runs/wait", "/runs/stream") else agent)(
                scope, receive, send
            )

        with limited(app, lookup=10.0) as url:
            assert told(resume(url, route)) == (502, "upstream_unreachable", "not_sent")
            where[0] = agent
            assert is_free(url, agent)
        assert len(agent.resumes) == 1


@pytest.mark.parametrize("server", [deaf, mute])
def test_a_lookup_that_finds_no_connection_in_time_is_a_502(server: Callable[[], Any]) -> None:
    with server() as nowhere, limited(ReverseProxy(nowhere, connect=BRIEF)) as url:
        assert told(resume(url)) == (502, "upstream_unreachable", "not_sent")


def test_the_limits_outlast_ten_silent_minutes() -> None:
    limits = Limits()
    assert min(limits.resume, limits.idle) >= TEN_MINUTES
    assert limits.keepalive < 60, "what stands in between closes what is silent for a minute"


@pytest.mark.anyio
async def test_the_proxy_outlasts_ten_silent_minutes() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b""))

    transport = partial(HttpxTransport, network=httpx.MockTransport(answer))
    await Call()(ReverseProxy("http://legacy", transport=transport), http())
    timeout = asked[0].extensions["timeout"]
    assert timeout["read"] is None or timeout["read"] >= TEN_MINUTES
    assert timeout["connect"] <= 10, "a client learns soon that nobody is there"


def stubborn(*parts: bytes, until: asyncio.Event) -> Answering:
    """Begin a stream perhaps, and then neither answer nor listen."""

    async def answering(agent: Agent, receive: Receive, send: Send) -> None:
        if parts:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await until.wait()

    return answering


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("where", "route"),
    [
        *(("lookup", route) for route in ROUTES),
        *(("resume", route) for route in ROUTES),
        ("answer", ""),
        ("answer", "/wait"),
        ("stream", "/stream"),
    ],
)
async def test_an_app_that_never_answers_nor_listens_does_not_hold_the_client(where: str, route: str) -> None:
    over, call = asyncio.Event(), Call(b'{"thread_id": "t", "input": "yes"}')
    parts = {"answer": [b"{"], "stream": [METADATA]}.get(where, [])
    agent = Agent(stubborn(*parts, until=over))
    limits = {"lookup": Limits(lookup=BRIEF), "stream": Limits(idle=BRIEF)}.get(where, Limits(resume=BRIEF))
    if where == "lookup":
        agent.extra["/threads/t"] = lambda scope, receive, send: over.wait()
    shim = ResumeShim(agent, PROTOCOL, limits=limits)
    try:
        with suppress(Broken):
            async with asyncio.timeout(10):
                await call(shim, http("PATCH", f"/runs/resume{route}"))
    finally:
        over.set()
    assert (call.status, b'"upstream_timeout"' in call.answer) == (200 if where == "stream" else 504, True)
