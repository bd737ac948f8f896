"""Answers in the WebSocket of LangGraph's v2 protocol, guarded: as those over HTTP, one message at a time."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from ap_resume_shim.core.protocol import Mode
from tests.e2e import conventions
from tests.e2e.conventions import Request
from tests.e2e.drivers import DRIVERS
from tests.e2e.test_vendor_resumes import second_gate, taken
from tests.e2e.vendor_clients import Commands
from tests.servers.run import running
from tests.support.matrix import chosen
from tests.support.sidecar import sidecar
from tests.support.waiting import PATIENCE, eventually
from tests.support.world import Place, World

PLACES = ("sidecar", "inside")
SERVERS = ("langgraph", "langgraph-js")
"""Those that have the WebSocket."""
GUARDED = {"x-test-guarded": "yes"}
"""`inside_langgraph.py` has a shim that guards the requests with this field."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Inside the server, a few tests are enough, unless `AP_TEST_PLACEMENTS` asks for all."""
    default = PLACES if metafunc.definition.get_closest_marker("inside") else PLACES[:1]
    spots = [
        (place, backend)
        for backend in chosen("AP_TEST_BACKENDS", ("langgraph",))
        for place in chosen("AP_TEST_PLACEMENTS", default)
        if backend in SERVERS and place in PLACES and (place, backend) != ("inside", "langgraph-js")
    ]
    metafunc.parametrize("where", spots, ids=["/".join(spot) for spot in spots], scope="session")


@pytest.fixture(scope="session")
def place(where: tuple[str, str]) -> Iterator[Place]:
    """A shim that guards vendor resumes: in front of a real server, or inside it."""
    kind, backend = where
    if kind == "inside":
        with running(backend, inside=True) as url:
            yield Place(url, list)
    else:
        with (
            running(backend) as upstream,
            sidecar("--upstream", upstream, "--port", "0", "--vendor-resumes", "guard") as shim,
        ):
            yield Place(shim.url, list, upstream)


@pytest.fixture
def world(place: Place, where: tuple[str, str]) -> Iterator[World]:
    with World(place, DRIVERS[where[1]]) as made:
        made.client.headers.update(GUARDED)
        yield made


class Socket:
    """One connection, on which commands have ids of their own."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection, self.messages, self._id = connection, list[Any](), 0

    def send(self, method: str, params: dict[str, Any]) -> int:
        self._id += 1
        self.connection.send(json.dumps({"id": self._id, "method": method, "params": params}))
        return self._id

    def reply(self, number: int) -> dict[str, Any]:
        """The response to a command. Other messages, which may come before it, are kept in `messages`."""

        def found(value: dict[str, Any]) -> bool:
            return bool(value["type"] != "event" and value["id"] == number)

        return next(filter(found, self.messages), None) or self.until(found)

    def until(self, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            value: dict[str, Any] = json.loads(self.connection.recv(timeout=PATIENCE))
            self.messages.append(value)
            if found(value):
                return value

    def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return self.reply(self.send(method, params))


@contextmanager
def socket(url: str, thread: str, **options: Any) -> Iterator[Socket]:
    target = url.replace("http", "ws", 1) + f"/threads/{thread}/stream/events"
    with connect(target, proxy=None, additional_headers=GUARDED, **options) as made:
        yield Socket(made)


class SocketClient(Commands):
    """Answers, each in a connection of its own."""

    def started(self, agent: str = "two", **state: Any) -> str:
        return Commands(self.world, self.convention).started(agent, **state)

    def send(self, request: Request) -> httpx.Response:
        url, command = self.world.place.url, request.json
        with socket(url, request.path.split("/")[2]) as opened:
            reply = opened.call(command["method"], command["params"])
        return httpx.Response(200, json=reply, request=httpx.Request("POST", url))


@pytest.fixture(params=[conventions.respond, conventions.run_start], ids=["input.respond", "run.start"])
def client(world: World, request: pytest.FixtureRequest) -> SocketClient:
    return SocketClient(world, request.param)


@pytest.mark.inside
def test_an_answer_is_taken(world: World, client: SocketClient) -> None:
    thread = client.started()
    assert client.refused(client.send(client.request(thread, "yes"))) is None
    second_gate(world, thread)
    assert world.values(thread)["answer"] == "yes"


@pytest.mark.inside
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_of_two_connections_one_answers(world: World, client: SocketClient, pause: float) -> None:
    thread = client.started()
    request = client.request(thread, "click")
    assert taken(client, [lambda: client.send(request)] * 2, pause) == 1
    second_gate(world, thread)


def test_of_two_answers_in_one_connection_one_is_sent(world: World, client: SocketClient) -> None:
    thread = client.started()
    command = client.request(thread, "click").json
    with socket(world.place.url, thread) as opened:
        numbers = [opened.send(command["method"], command["params"]) for _ in range(2)]
        replies = [opened.reply(number)["type"] for number in numbers]
    assert replies == ["success", "error"]
    second_gate(world, thread)


@pytest.mark.parametrize("first", ["websocket", "other"])
@pytest.mark.parametrize("other", ["draft", "commands"])
def test_an_answer_over_http_and_one_in_a_websocket_exclude_each_other(
    world: World, client: SocketClient, other: str, first: str
) -> None:
    thread = client.started()
    draft, request = {"thread_id": thread, "input": "click"}, client.request(thread, "click")
    others: dict[str, Callable[[], httpx.Response]] = {
        "draft": lambda: world.client.patch(Mode.BACKGROUND.route, json=draft),
        "commands": lambda: Commands(world, client.convention).send(request),
    }
    clicks = [lambda: client.send(request), others[other]]
    assert taken(client, clicks if first == "websocket" else clicks[::-1], 0.01) == 1
    second_gate(world, thread)


def test_the_second_question_of_one_node_is_not_answered_by_the_first_click(world: World, client: SocketClient) -> None:
    """Both questions have the same id."""
    thread = client.started("twoinone")
    request = client.request(thread, "click", "twoinone")
    assert taken(client, [lambda: client.send(request)] * 2, 0.05) == 1
    time.sleep(1.0)
    assert client.asks(thread), "the second question is asked"
    assert not world.values(thread).get("answers")


def test_a_finished_thread_takes_no_answer(world: World) -> None:
    client = SocketClient(world, conventions.respond)
    thread = client.started("ask")
    request = client.request(thread, "yes", "ask")
    assert client.refused(client.send(request)) is None
    eventually(lambda: world.values(thread).get("runs") == 1, "the run ends")
    time.sleep(1.1)  # the same answer within a second is a double click
    reason = client.refused(client.send(request))
    assert reason is not None
    assert "not pending" in reason
    assert world.values(thread)["runs"] == 1


def test_several_questions_are_answered_in_one_message(world: World) -> None:
    client = SocketClient(world, conventions.respond_to_many)
    thread = client.started("par")
    assert client.refused(client.send(client.request(thread, "yes", "par"))) is None
    eventually(lambda: sorted(world.values(thread).get("done", [])) == ["a", "b"], "both are answered")


@pytest.mark.inside
def test_a_new_turn_passes_and_its_events_arrive(world: World) -> None:
    thread = world.driver.thread()
    with socket(world.place.url, thread) as opened:
        opened.send("subscription.subscribe", {"channels": ["values", "lifecycle", "input"]})
        started = opened.call("run.start", {"assistant_id": "two", "input": {"topic": "lunch"}})
        assert started["type"] == "success"
        question = opened.until(lambda value: value.get("method") == "input.requested")
        answer = {"namespace": [], "interrupt_id": question["params"]["data"]["interrupt_id"], "response": "yes"}
        opened.until(lambda value: value.get("params", {}).get("data", {}).get("event") == "interrupted")
        assert opened.call("input.respond", answer)["type"] == "success"
        opened.until(lambda value: value.get("method") == "input.requested")
    second_gate(world, thread)


def test_other_messages_are_those_without_the_shim(world: World, where: tuple[str, str]) -> None:
    server = world.place.server
    if not server:
        pytest.skip("the shim is inside the server")
    with ThreadPoolExecutor(2) as pool:
        through, direct = pool.map(conversation, [world.place.url, server], [world.driver.thread() for _ in range(2)])
    assert through == direct


def conversation(url: str, thread: str) -> Any:
    """Messages that are no answers, and what the server sends and closes with."""
    with socket(url, thread) as opened:
        opened.connection.send("{")
        opened.connection.send(json.dumps([{"id": 1}]))
        opened.connection.send(json.dumps({"method": "input.respond"}))
        opened.connection.send(["{" + '"id": 11, "method": "nonsense", ', '"params": {}', "}"])
        opened.connection.ping().wait(PATIENCE)
        opened.until(lambda value: value["id"] == 11)
        opened.send("subscription.subscribe", {"channels": ["values", "lifecycle", "input"]})
        opened.call("run.start", {"assistant_id": "ask", "input": {"topic": "x" * 100_000}})
        opened.until(lambda value: value.get("params", {}).get("data", {}).get("event") == "interrupted")
        opened.connection.close(4001, "done")
        return [
            (opened.connection.protocol.close_sent, opened.connection.protocol.close_rcvd),
            sorted(_without_ids(message) for message in opened.messages),
        ]


def _without_ids(message: Any) -> str:
    text = json.dumps({**message, "event_id": None}, sort_keys=True)
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}|\d{13}", "ID", text)
