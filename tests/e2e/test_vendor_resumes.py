"""Answers in the conventions of today's clients, guarded: each reaches the agent once, and answers its own question."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest

from ap_resume_shim.core.protocol import Mode
from tests.e2e import conventions
from tests.e2e.conventions import Asked, Convention
from tests.e2e.drivers import DRIVERS
from tests.e2e.placements import GRAPHS
from tests.servers.run import running
from tests.support.matrix import chosen
from tests.support.sidecar import sidecar
from tests.support.waiting import eventually
from tests.support.world import Place, World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One placement is enough: the middleware is the same in all of them."""
    backends = [name for name in chosen("AP_TEST_BACKENDS", ("langgraph",)) if name in GRAPHS]
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


class Create:
    """v1, as `client.runs.create`, `wait` and `stream` of langgraph-sdk."""

    def __init__(self, world: World, mode: Mode = Mode.BACKGROUND) -> None:
        self.world, self.mode = world, mode

    def started(self, agent: str = "two") -> str:
        return self.world.thread(agent)

    def answer(self, thread: str, value: Any, agent: str = "two") -> httpx.Response:
        return self._send(conventions.create(self.mode, more={}), self._asked(thread, agent), value)

    def _send(self, convention: Convention, asked: Asked, value: Any) -> httpx.Response:
        request = convention(asked, value)
        return self.world.client.post(request.path, json=request.json, headers=request.headers)

    def _asked(self, thread: str, agent: str, **known: Any) -> Asked:
        """What a client has seen of the thread, which needs no look here."""
        return replace(Asked(thread, agent, "", "", ()), **known)

    def refused(self, answer: httpx.Response) -> str | None:
        """The reason of a refusal."""
        return answer.json()["detail"] if answer.status_code == 409 else None


class RunStart(Create):
    """v2: `run.start` on a thread that asks."""

    def started(self, agent: str = "two") -> str:
        thread = self.world.driver.thread()
        self._send(conventions.run_start, self._asked(thread, agent), {"topic": "lunch"}).raise_for_status()
        eventually(lambda: self._ids(thread), "a question is asked")
        return thread

    def answer(self, thread: str, value: Any, agent: str = "two") -> httpx.Response:
        return self._send(conventions.run_start, self._asked(thread, agent), value)

    def refused(self, answer: httpx.Response) -> str | None:
        assert answer.status_code == 200, answer.text
        value = answer.json()
        return value["message"] if value["type"] == "error" else None

    def _ids(self, thread: str) -> list[str]:
        tasks = self.world.client.get(f"/threads/{thread}/state").json()["tasks"]
        return [found.get("interrupt_id") or found["id"] for task in tasks for found in task["interrupts"]]


class Respond(RunStart):
    """v2: `input.respond` with the id of the question that the client has seen."""

    def answer(self, thread: str, value: Any, agent: str = "two") -> httpx.Response:
        self.ids = getattr(self, "ids", None) or self._ids(thread)
        return self._send(conventions.respond, self._asked(thread, agent, ids=tuple(self.ids)), value)


class A2a(Create):
    """The server's own A2A route, with a data part that answers."""

    def answer(self, thread: str, value: Any, agent: str = "two") -> httpx.Response:
        runs = self.world.client.get(f"/threads/{thread}/runs").json()
        known = {"assistant": self.world.driver.agent_id(agent), "run_id": runs[0]["run_id"]}
        return self._send(conventions.a2a, self._asked(thread, agent, **known), value)

    def refused(self, answer: httpx.Response) -> str | None:
        error = answer.json().get("error")
        return error["message"] if error else None


CONVENTIONS: dict[str, Callable[[World], Create]] = {
    "runs": lambda world: Create(world),
    "runs/wait": lambda world: Create(world, Mode.WAIT),
    "runs/stream": lambda world: Create(world, Mode.STREAM),
    "run.start": RunStart,
    "input.respond": Respond,
    "a2a": lambda world: A2a(world, Mode.WAIT),
}


@pytest.fixture(params=CONVENTIONS)
def convention(world: World, request: pytest.FixtureRequest) -> Create:
    if world.driver.name == "langgraph-old" and request.param not in ("runs", "runs/wait", "runs/stream"):
        pytest.skip("this server has no commands")
    if world.driver.name != "langgraph" and request.param == "a2a":
        pytest.skip("this server has no A2A route")
    return CONVENTIONS[request.param](world)


def second_gate(world: World, thread: str) -> None:
    """The second question is asked, and nobody has answered it."""
    eventually(lambda: world.values(thread).get("runs") == 1, "the second gate is asked")
    time.sleep(0.5)
    assert world.values(thread)["runs"] == 1


def test_an_answer_is_sent_unchanged_and_its_response_returned(world: World, convention: Create) -> None:
    thread = convention.started()
    answer = convention.answer(thread, "yes")
    assert (answer.status_code, convention.refused(answer)) == (200, None), answer.text
    second_gate(world, thread)
    assert world.values(thread)["answer"] == "yes"
    if convention.mode is Mode.STREAM:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "event: metadata" in answer.text


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_of_two_clicks_one_is_sent_and_the_other_refused(world: World, convention: Create, pause: float) -> None:
    thread = convention.started()
    clicks = [lambda: convention.answer(thread, "click")] * 2
    assert taken(convention, clicks, pause) == 1
    second_gate(world, thread)
    assert world.values(thread)["answer"] == "click"


@pytest.mark.parametrize("first", ["draft", "vendor"])
def test_a_draft_resume_and_a_vendor_resume_exclude_each_other(world: World, convention: Create, first: str) -> None:
    thread = convention.started()
    if isinstance(convention, Respond):
        convention.ids = convention._ids(thread)
    mode = convention.mode
    clicks = [
        lambda: world.client.patch(mode.route, json={"thread_id": thread, "input": "click"}),
        lambda: convention.answer(thread, "click"),
    ]
    assert taken(convention, clicks if first == "draft" else clicks[::-1], 0.01) == 1
    second_gate(world, thread)


def taken(convention: Create, clicks: list[Callable[[], httpx.Response]], pause: float) -> int:
    """Click with a pause between the clicks. Returns how many of the answers were taken."""

    def click(number: int) -> httpx.Response:
        time.sleep(number * pause)
        return clicks[number]()

    with ThreadPoolExecutor(len(clicks)) as pool:
        answers = list(pool.map(click, range(len(clicks))))
    return sum(map(conventions.taken, answers))


def test_an_answer_to_a_finished_thread_is_refused(world: World, convention: Create) -> None:
    if type(convention) is RunStart:
        pytest.skip("`run.start` on a finished thread is a new turn")
    thread = convention.started("ask")
    assert convention.refused(convention.answer(thread, "yes", "ask")) is None
    eventually(lambda: world.values(thread).get("runs") == 1, "the run ends")
    reason = convention.refused(convention.answer(thread, "again", "ask"))
    assert reason is not None
    assert "not interrupted" in reason or "pending" in reason
    assert world.values(thread)["runs"] == 1


def test_an_answer_with_the_checkpoint_of_an_earlier_moment_is_refused(world: World) -> None:
    """The servers fork the thread there, and the answer is lost."""
    thread = world.thread("two")
    earlier = world.client.get(f"/threads/{thread}/state").json()["checkpoint"]["checkpoint_id"]
    Create(world, Mode.WAIT).answer(thread, "yes").raise_for_status()
    second_gate(world, thread)
    body = {"assistant_id": "two", "command": {"resume": "no"}, "checkpoint": {"checkpoint_id": earlier}}
    refused = world.client.post(f"/threads/{thread}/runs/wait", json=body)
    assert refused.status_code == 422
    assert "checkpoint_id" in refused.json()["detail"]


def test_what_is_no_answer_passes(world: World) -> None:
    thread = world.driver.thread()
    path = f"/threads/{thread}/runs/wait"
    assert world.client.post(path, json={"assistant_id": "ask", "input": {"topic": "x"}}).status_code == 200
    assert world.client.post(path, content=b"{").status_code in (400, 422)


def test_a_thread_cron_that_would_answer_is_refused(world: World) -> None:
    thread = world.thread("two")
    body = {"assistant_id": "two", "schedule": "* * * * *", "command": {"resume": "yes"}}
    refused = world.client.post(f"/threads/{thread}/runs/crons", json=body)
    assert refused.status_code == 422
    assert "cron" in refused.json()["detail"]
