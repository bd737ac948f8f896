"""Answers in the conventions of today's clients, on real servers: guarded, each reaches the agent once, and answers its
own question; observed, all of them pass unchanged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.core.asgi import SYNTHESISED
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.http1.server_connection import Http1Protocol
from tests.e2e.drivers import DRIVERS
from tests.e2e.placements import GRAPHS
from tests.e2e.vendor_clients import CLIENTS, A2a, Cron, VendorClient
from tests.servers.run import running
from tests.support.matrix import chosen
from tests.support.serving import serving
from tests.support.sidecar import sidecar
from tests.support.waiting import eventually
from tests.support.world import Place, World

SOME = ("runs", "runs/wait keyed", "run.start", "cron")
"""A few, for `make test`; `AP_TEST_CONVENTIONS=all` is the whole table, with more pauses between clicks."""
PAUSES = [0.0, 0.05] if chosen("AP_TEST_CONVENTIONS", SOME) == ["all"] else [0.05]
Click = Callable[[], httpx.Response]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One placement is enough: the middleware is the same in all of them."""
    backends = [name for name in chosen("AP_TEST_BACKENDS", ("langgraph",)) if name in GRAPHS]
    if "convention" in metafunc.fixturenames:
        wanted = chosen("AP_TEST_CONVENTIONS", SOME)
        rows = [(name, each) for name in backends for each in CLIENTS[name] if each in wanted or wanted == ["all"]]
        metafunc.parametrize(("backend", "convention"), rows, ids=["-".join(row) for row in rows], scope="session")
    else:
        metafunc.parametrize("backend", backends, scope="session")


@pytest.fixture(scope="session")
def place(backend: str) -> Iterator[Place]:
    """A sidecar that guards vendor resumes, in front of a real server."""
    with (
        running(backend) as upstream,
        sidecar("--upstream", upstream, "--port", "0", "--vendor-resumes", "guard") as shim,
    ):
        yield Place(shim.url, list)


@pytest.fixture
def world(place: Place, backend: str) -> Iterator[World]:
    with World(place, DRIVERS[backend]) as made:
        yield made


@pytest.fixture
def client(world: World, backend: str, convention: str) -> VendorClient:
    return CLIENTS[backend][convention](world)


def answer(client: VendorClient, thread: str, value: Any, agent: str = "two") -> httpx.Response:
    return client.send(client.request(thread, value, agent))


def second_gate(world: World, thread: str) -> None:
    """The second question is asked, and nobody has answered it."""
    eventually(lambda: world.values(thread).get("runs") == 1, "the second gate is asked")
    time.sleep(0.5)
    assert world.values(thread)["runs"] == 1


def taken(client: VendorClient, clicks: list[Click], pause: float) -> int:
    """Click with a pause between the clicks. Returns how many of the answers were taken."""

    def click(number: int) -> httpx.Response:
        time.sleep(number * pause)
        return clicks[number]()

    with ThreadPoolExecutor(len(clicks)) as pool:
        responses = list(pool.map(click, range(len(clicks))))
    drafts = [each for each in responses if each.request.method == "PATCH"]
    assert all(each.status_code in (200, 409) for each in drafts), [each.text for each in drafts]
    vendors = [each for each in responses if each.request.method == "POST"]
    return sum(each.status_code == 200 for each in drafts) + sum(client.refused(each) is None for each in vendors)


def test_an_answer_is_sent_unchanged_and_its_response_returned(world: World, client: VendorClient) -> None:
    thread = client.started()
    response = answer(client, thread, "yes")
    if isinstance(client, Cron):
        assert (response.status_code, "cron" in response.json()["detail"]) == (422, True)
        return
    assert (response.status_code, client.refused(response)) == (200, None), response.text
    second_gate(world, thread)
    assert world.values(thread)["answer"] == "yes"
    if client.mode is Mode.STREAM:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert ("data: " if isinstance(client, A2a) else "event: metadata") in response.text


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_of_two_clicks_one_is_sent_and_the_other_refused(world: World, client: VendorClient, pause: float) -> None:
    thread = client.started()
    request = client.request(thread, "click")
    count = taken(client, [lambda: client.send(request)] * 2, pause)
    if isinstance(client, Cron):
        assert (count, len(client.asks(thread)), world.values(thread).get("runs")) == (0, 1, None)
        return
    assert count == 1
    second_gate(world, thread)
    assert world.values(thread)["answer"] == "click"


@pytest.mark.parametrize("pause", PAUSES)
@pytest.mark.parametrize("first", ["draft", "vendor"])
def test_a_draft_resume_and_a_vendor_resume_exclude_each_other(
    world: World, client: VendorClient, first: str, pause: float
) -> None:
    thread = client.started()
    request, route = client.request(thread, "click"), client.mode.route
    clicks: list[Click] = [
        lambda: world.client.patch(route, json={"thread_id": thread, "input": "click"}),
        lambda: client.send(request),
    ]
    assert taken(client, clicks if first == "draft" else clicks[::-1], pause) == 1
    second_gate(world, thread)


@pytest.mark.parametrize("pause", PAUSES)
def test_two_questions_of_one_node_are_two_gates(world: World, client: VendorClient, pause: float) -> None:
    """The servers give both the same id."""
    if isinstance(client, Cron):
        pytest.skip("a cron is always refused")
    thread = client.started("twoinone")
    request = client.request(thread, "one", "twoinone")
    assert taken(client, [lambda: client.send(request)] * 2, pause) == 1
    eventually(lambda: client.asks(thread) == ["second?"], "the second question is asked")
    time.sleep(1.0)  # the next answer is no double click
    assert client.asks(thread) == ["second?"]
    assert client.refused(answer(client, thread, "two", "twoinone")) is None
    eventually(lambda: world.values(thread).get("answers") == ["one", "two"], "both answers are heard")


@pytest.mark.parametrize("pause", PAUSES)
def test_several_questions_are_answered_by_one_request(world: World, client: VendorClient, pause: float) -> None:
    if not client.keyed:
        pytest.skip("an answer of this client is for one question")
    thread = client.started("par")
    request = client.request(thread, "both", "par")
    assert taken(client, [lambda: client.send(request)] * 2, pause) == 1
    eventually(lambda: sorted(world.values(thread).get("done", [])) == ["a", "b"], "both questions are answered")
    assert (world.values(thread)["a"], world.values(thread)["b"]) == ("both", "both")


def test_an_answer_to_a_finished_thread_is_refused(world: World, client: VendorClient) -> None:
    if not client.always:
        pytest.skip("it is a new turn on a finished thread")
    thread = client.started("ask")
    late = client.request(thread, "again", "ask")
    world.resume(Mode.WAIT, thread, input="yes")
    eventually(lambda: world.values(thread).get("runs") == 1, "the run ends")
    reason = client.refused(client.send(late))
    assert reason is not None
    assert "not interrupted" in reason or "pending" in reason or "cron" in reason
    assert world.values(thread)["runs"] == 1


def test_an_answer_with_the_checkpoint_of_an_earlier_moment_is_refused(world: World, client: VendorClient) -> None:
    """The servers fork the thread there, and the answer is lost."""
    if isinstance(client, A2a):
        pytest.skip("this request names no checkpoint")
    thread = client.started()
    earlier = world.client.get(f"/threads/{thread}/state").json()["checkpoint"]["checkpoint_id"]
    world.resume(Mode.WAIT, thread, input="yes").response.raise_for_status()
    second_gate(world, thread)
    reason = client.refused(client.send(client.at(earlier, client.request(thread, "no"))))
    assert reason is not None
    assert "checkpoint_id" in reason or isinstance(client, Cron)
    second_gate(world, thread)


def test_what_is_no_answer_passes(world: World) -> None:
    thread = world.driver.thread()
    path = f"/threads/{thread}/runs/wait"
    assert world.client.post(path, json={"assistant_id": "ask", "input": {"topic": "x"}}).status_code == 200
    assert world.client.post(path, content=b"{").status_code in (400, 422)


@dataclass
class Witness:
    """An app in front of the server, which records what passes it."""

    app: ASGIApp
    exchanges: list[Exchange] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = Exchange(scope)
        self.exchanges.append(seen)

        async def receiving() -> Message:
            message = await receive()
            seen.body += message.get("body", b"")
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.head = (message["status"], list(message["headers"]))
            seen.response += message.get("body", b"")
            await send(message)

        await self.app(scope, receiving, sending)


@dataclass
class Exchange:
    """A request as the server received it, and the server's response."""

    scope: Scope
    body: bytes = b""
    head: tuple[int, list[tuple[bytes, bytes]]] | None = None
    response: bytes = b""


@contextmanager
def observing(upstream: str, backend: str) -> Iterator[tuple[str, Witness, ResumeShim]]:
    """The URL of a shim that observes, with a witness between it and a real server."""
    witness = Witness(ReverseProxy(upstream, transport=Http1Transport))
    shim = ResumeShim(witness, DRIVERS[backend].backend, vendor_resumes="observe")
    with serving(shim, http=Http1Protocol) as url:
        yield url, witness, shim


def test_an_observed_answer_passes_as_it_is_and_is_counted(backend: str, convention: str) -> None:
    with running(backend) as upstream, World(Place(upstream, list), DRIVERS[backend]) as direct:
        client = CLIENTS[backend][convention](direct)
        thread = client.started("ask", secs=1.0)
        request = client.request(thread, "yes", "ask")
        with observing(upstream, backend) as (url, witness, shim), World(Place(url, list), DRIVERS[backend]) as world:
            response = replace(client, world=world).send(request)
            eventually(lambda: counted(shim), "it is counted")
        first = witness.exchanges[0]
        assert SYNTHESISED not in first.scope, "a request of the shim's came before the original"
        assert (first.scope["path"], first.body) == (request.path, response.request.content)
        ours, theirs = dict(first.scope["headers"]), dict(response.request.headers.raw)
        assert ours == {name.lower(): value for name, value in theirs.items()}
        fields = [(n.lower(), v) for n, v in response.headers.raw if n.lower() != b"transfer-encoding"]
        assert first.head == (response.status_code, fields)
        assert first.response == response.content
        verdict = "unsupported_input" if isinstance(client, Cron) else "accepted"
        assert counted(shim) == {client.name: {verdict: 1}}


def counted(shim: ResumeShim) -> dict[str, dict[str, int]]:
    """The verdicts by convention."""
    return {name: counts["verdicts"] for name, counts in shim.report()["conventions"].items()}
