"""Faults between the shim and its server: a resume reaches the agent at most once, and what is told of it is true."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ap_resume_shim import Limits, ResumeShim, ReverseProxy
from tests.support import faults
from tests.support.agent import METADATA, PROTOCOL, VALUES, Agent, Answering, at_once, held, read, reply, resume, start
from tests.support.calling import CLIENT
from tests.support.faults import HEAD, Fault, FaultProxy, Toxic, Way, bound, faulty
from tests.support.serving import serving
from tests.support.sockets import connect
from tests.support.waiting import eventually

ROUTES = ["", "/wait", "/stream"]
LEAVING = ["cancel", "continue"]
KEY = {"idempotency-key": "k"}
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True)
class Case:
    """A fault, and what the client is told."""

    fault: Fault
    state: str = "consumed"
    seen: int = 1
    """How often the agent saw the resume."""
    limits: Limits | None = None

    @property
    def code(self) -> str:
        return "upstream_timeout" if self.fault.toxic is faults.timeout else "upstream_error"

    @property
    def status(self) -> int:
        return 504 if self.fault.toxic is faults.timeout else 502


def cases(*toxics: Toxic) -> dict[str, Case]:
    """Toxics that harm, at every place. Only one that is silent needs a limit."""
    return {
        f"{toxic.__name__} {place}": Case(
            Fault(toxic, way, after), state, seen, limits if toxic is faults.timeout else None
        )
        for toxic in toxics
        for place, way, after, state, seen, limits in PLACES
    }


NEVER_SEEN, SEEN, SILENT = Limits(resume=0.4), Limits(resume=0.7), Limits(idle=0.3)
PLACES: list[tuple[str, Way, bytes, str, int, Limits]] = [
    ("before the resume", "to", b"", "unknown", 0, NEVER_SEEN),
    ("in the resume", "to", b"HTTP/1.1\r\n", "unknown", 0, NEVER_SEEN),
    ("before the answer", "from", b"", "unknown", 1, SEEN),
    ("in the head of the answer", "from", b"HTTP/1.1 200", "unknown", 1, SEEN),
    ("in the answer", "from", b'"r2"', "consumed", 1, SEEN),
]
CLOSING = (faults.timeout_closing, faults.reset_peer, faults.limit_data, faults.down)
STREAMS = {
    **{toxic.__name__: Case(Fault(toxic, "from", METADATA)) for toxic in CLOSING},
    "timeout": Case(Fault(faults.timeout, "from", METADATA), limits=SILENT),
    "timeout before the first event": Case(Fault(faults.timeout, "from", HEAD), limits=SILENT),
}
WAYS: tuple[Way, Way] = ("to", "from")
HARMLESS = {
    f"{toxic.__name__} {way}": Fault(toxic, way)
    for toxic in (faults.latency, faults.bandwidth, faults.slicer, faults.slow_close)
    for way in WAYS
}


@pytest.fixture(autouse=True)
def certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each proxy reads all of them, which takes longer than a test."""
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: NO_CERTIFICATES)


@dataclass
class World:
    """A shim, a proxy that does harm, and an agent server."""

    url: str
    proxy: FaultProxy
    agent: Agent
    noticed: threading.Event
    """Set when the shim has been told that a client left."""

    def is_free(self) -> bool:
        """Whether the thread takes its next resume, and only once, when all is well again."""
        self.proxy.mend()
        return eventually(self._takes_one)

    def _takes_one(self) -> bool:
        before, self.agent.status, self.agent.answering = len(self.agent.resumes), "interrupted", at_once
        return (resume(self.url).status_code, len(self.agent.resumes)) == (200, before + 1)


@contextmanager
def world(
    fault: Fault | None = None,
    limits: Limits | None = None,
    answering: Answering | None = None,
    around: Callable[[ASGIApp, FaultProxy], ASGIApp] = lambda app, proxy: app,
    extra: dict[str, Any] | None = None,
) -> Iterator[World]:
    """All of them, on real sockets."""
    agent, noticed = Agent(answering, extra=extra or {}), threading.Event()
    with serving(whole(agent), at=bound()) as behind, faulty(behind, fault) as proxy:
        app = around(ReverseProxy(proxy.url), proxy)
        shim = ResumeShim(app, PROTOCOL, limits=limits, settle=0.2)
        with serving(noticing(shim, noticed), at=bound()) as url:
            yield World(url, proxy, agent, noticed)


def noticing(app: ASGIApp, noticed: threading.Event) -> ASGIApp:
    """An app, and whether it was told that a client left."""

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        async def told() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                noticed.set()
            return message

        await app(scope, told, send)

    return outer


def whole(agent: Agent) -> ASGIApp:
    """The agent server, to which a request that never was complete is none."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        parts: list[Message] = [await receive()]
        while parts[-1].get("more_body"):
            parts.append(await receive())
        if parts[-1]["type"] != "http.disconnect":
            await agent(scope, lambda: again(parts, receive), send)

    return app


async def again(parts: list[Message], receive: Receive) -> Message:
    return parts.pop(0) if parts else await receive()


@dataclass
class Told:
    """What a client got."""

    status: int
    body: bytes
    headers: httpx.Headers
    broken: bool

    @property
    def error(self) -> tuple[str, str | None]:
        """The code and what became of the resume: of the answer, or of the last event of its stream."""
        body = self.body
        if self.status == 200:
            name, body = self.body.split(b"\n\n")[-2].split(b"\n")[-2:]
            assert name == b"event: error"
        error = json.loads(body.removeprefix(b"data: "))
        return error["code"], error["metadata"].get("resume_state")


def ask(world: World, route: str, headers: dict[str, str] | None = None, **body: Any) -> Told:
    got, broken, body = b"", False, {"thread_id": "t", "input": "yes", **body}
    with CLIENT.stream("PATCH", f"{world.url}/runs/resume{route}", json=body, headers=headers) as response:
        try:
            for chunk in response.iter_raw():
                got += chunk
        except httpx.RemoteProtocolError:
            broken = True
    return Told(response.status_code, got, response.headers, broken)


def on_every_route(*toxics: Toxic) -> pytest.MarkDecorator:
    """Every toxic at every place on every route, but for a stream that has begun when its limit is reached."""
    return pytest.mark.parametrize(
        ("case", "route"),
        [
            pytest.param(case, route, id=f"{name}-{route}")
            for name, case in cases(*toxics).items()
            for route in ROUTES
            if (name, route) != ("timeout in the answer", "/stream")
        ],
    )


@pytest.mark.parametrize("on_disconnect", LEAVING)
@on_every_route(faults.timeout, *CLOSING)
def test_what_is_told_of_a_resume_that_met_a_fault_is_true(case: Case, route: str, on_disconnect: str) -> None:
    with world(case.fault, case.limits) as here:
        told = ask(here, route, on_disconnect=on_disconnect)
        assert (told.status, *told.error, told.broken) == (case.status, case.code, case.state, False)
        assert (len(here.agent.resumes), len(here.proxy.passed)) == (case.seen, 1)
        assert here.is_free()


@pytest.mark.parametrize("on_disconnect", LEAVING)
@pytest.mark.parametrize("case", STREAMS.values(), ids=STREAMS)
def test_a_stream_that_met_a_fault_says_so_and_looks_broken(case: Case, on_disconnect: str) -> None:
    with world(case.fault, case.limits) as here:
        told = ask(here, "/stream", on_disconnect=on_disconnect)
        assert (told.status, *told.error, told.broken) == (200, case.code, case.state, True)
        assert (len(here.agent.resumes), len(here.proxy.passed)) == (1, 1)
        assert here.is_free()


def test_a_stream_that_was_cut_in_an_event_only_looks_broken() -> None:
    with world(Fault(faults.limit_data, "from", b"event: values")) as here:
        told = ask(here, "/stream")
        assert (told.status, told.body, told.broken) == (200, METADATA + b"event: values", True)
        assert here.is_free()


def test_a_stream_that_is_silent_in_its_first_event_says_so() -> None:
    with world(Fault(faults.timeout, "from", b'"r2"'), SILENT) as here:
        told = ask(here, "/stream")
        assert (told.status, told.broken) == (200, True)
        assert here.is_free()
        assert told.error == ("upstream_timeout", "consumed")


@pytest.mark.parametrize("on_disconnect", LEAVING)
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fault", HARMLESS.values(), ids=HARMLESS)
def test_what_only_slows_does_no_harm(fault: Fault, route: str, on_disconnect: str) -> None:
    with world(fault, answering=closing) as here:
        told = ask(here, route, on_disconnect=on_disconnect)
        assert (told.status, told.broken, here.proxy.hit.is_set()) == (200, False, True)
        assert told.body == METADATA + VALUES if route == "/stream" else json.loads(told.body)
        assert (len(here.agent.resumes), len(here.proxy.passed)) == (1, 1)
        assert here.is_free()


async def closing(agent: Agent, receive: Receive, send: Send) -> None:
    """Answer, and close the connection."""

    async def with_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    await at_once(agent, receive, with_close)


def between(*happenings: str) -> Callable[[ASGIApp, FaultProxy], ASGIApp]:
    """Around the way to the server: what happens to it before each attempt to send a resume."""
    left = list(happenings)

    def around(app: ASGIApp, proxy: FaultProxy) -> ASGIApp:
        async def before(scope: Scope, receive: Receive, send: Send) -> None:
            if left and scope["type"] == "http" and scope["path"] in ("/runs", "/runs/wait", "/runs/stream"):
                await asyncio.to_thread(getattr(proxy, left.pop(0)))
            await app(scope, receive, send)

        return before

    return around


@pytest.mark.parametrize("on_disconnect", LEAVING)
@pytest.mark.parametrize("route", ROUTES)
def test_a_server_that_dies_after_the_lookup_is_sent_nothing(route: str, on_disconnect: str) -> None:
    with world(around=between("break_down")) as here:
        told = ask(here, route, on_disconnect=on_disconnect)
        assert (told.status, *told.error) == (502, "upstream_unreachable", "not_sent")
        assert (here.agent.resumes, here.proxy.passed) == ([], [])
        assert here.is_free()


@pytest.mark.parametrize("route", ROUTES)
def test_a_server_that_is_back_at_once_is_sent_the_resume(route: str) -> None:
    with world(around=between("break_down", "mend")) as here:
        assert ask(here, route).status == 200
        assert (len(here.agent.resumes), len(here.proxy.passed)) == (1, 1)


@on_every_route(faults.timeout, faults.limit_data)
def test_a_retry_gets_the_same_answer_and_the_agent_hears_nothing(case: Case, route: str) -> None:
    with world(case.fault, case.limits) as here:
        first = ask(here, route, KEY)
        here.proxy.mend()
        second = ask(here, route, KEY)
        assert (second.status, second.body, second.headers.get("idempotency-replayed")) == (
            first.status,
            first.body,
            "true",
        )
        assert (len(here.agent.resumes), len(here.proxy.passed)) == (case.seen, 1)


@pytest.mark.parametrize("case", STREAMS.values(), ids=STREAMS)
def test_a_retry_of_a_stream_that_broke_is_told_that_it_was_taken(case: Case) -> None:
    with world(case.fault, case.limits) as here:
        ask(here, "/stream", KEY)
        here.proxy.mend()
        told = ask(here, "/stream", KEY)
        assert (told.status, *told.error) == (409, "resume_in_progress", "consumed")
        assert len(here.agent.resumes) == 1


@pytest.mark.parametrize("route", ROUTES)
def test_a_retry_of_what_was_not_sent_is_sent(route: str) -> None:
    with world(around=between("break_down")) as here:
        assert ask(here, route, KEY).error == ("upstream_unreachable", "not_sent")
        here.proxy.mend()
        told = ask(here, route, KEY)
        assert (told.status, "idempotency-replayed" in told.headers) == (200, False)
        assert (len(here.agent.resumes), len(here.proxy.passed)) == (1, 1)


async def half(agent: Agent, receive: Receive, send: Send) -> None:
    """Begin the answer at once; end it when the test says go."""
    path = agent.resumes[-1].path
    begun, rest = (METADATA, VALUES) if path == "/runs/stream" else (b" ", b'{"run_id": "r2", "values": {}}')
    await start(send, 200, "text/event-stream" if path == "/runs/stream" else "application/json")
    await send({"type": "http.response.body", "body": begun, "more_body": True})
    agent.sent += 1
    await asyncio.to_thread(agent.go.wait, 20)
    await send({"type": "http.response.body", "body": rest})


@contextmanager
def left(point: str, route: str, on_disconnect: str) -> Iterator[World]:
    """A world in which a client has left while its resume was at that point; what follows is up to the test."""
    looking, look = threading.Event(), threading.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        looking.set()
        await read(receive)
        await asyncio.to_thread(look.wait, 20)
        await reply(send, here.agent.thread)

    extra = {"/threads/t": slow} if point == "in the lookup" else {}
    fault = {"on its way": Fault(faults.held, "to"), "lost": Fault(faults.timeout, "to")}.get(point)
    with world(fault, answering=half if point == "in the answer" else held, extra=extra) as here:
        with connect(here.url) as client:
            body = json.dumps({"thread_id": "t", "input": "yes", "on_disconnect": on_disconnect})
            client.sendall(
                f"PATCH /runs/resume{route} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
            )
            reached: dict[str, Callable[[], Any]] = {
                "in the lookup": looking.is_set,
                "before the answer": lambda: here.agent.resumes,
                "in the answer": lambda: here.agent.sent,
            }
            eventually(reached.get(point, here.proxy.hit.is_set))
        assert here.noticed.wait(10)
        assert CLIENT.get(f"{here.url}/runs/r2").status_code == 200  # by now a cancellation would have gone out
        look.set()
        yield here


POINTS = ["in the lookup", "before the answer", "in the answer"]


@pytest.mark.parametrize("route", ["/wait", "/stream"])
@pytest.mark.parametrize("point", POINTS)
def test_a_run_is_cancelled_when_its_client_leaves(point: str, route: str) -> None:
    with left(point, route, "cancel") as here:
        eventually(lambda: here.agent.cancelled)
        here.agent.go.set()
        assert len(here.agent.resumes) == 1
        assert here.is_free()


@pytest.mark.parametrize(
    ("route", "on_disconnect"), [("", "cancel"), ("", "continue"), ("/wait", "continue"), ("/stream", "continue")]
)
@pytest.mark.parametrize("point", [*POINTS, "on its way"])
def test_a_run_goes_on_when_its_client_leaves(point: str, route: str, on_disconnect: str) -> None:
    with left(point, route, on_disconnect) as here:
        here.proxy.mend()
        here.agent.go.set()
        eventually(lambda: here.agent.status == "idle")
        assert (here.agent.cancelled, len(here.agent.resumes)) == (False, 1)
        assert here.is_free()


@pytest.mark.parametrize("on_disconnect", LEAVING)
@pytest.mark.parametrize("route", ROUTES)
def test_a_resume_that_was_lost_after_its_client_left_leaves_the_thread_free(route: str, on_disconnect: str) -> None:
    with left("lost", route, on_disconnect) as here:
        assert here.agent.resumes == []
        here.agent.go.set()
        assert here.is_free()
