"""Answers in the conventions of today's clients, guarded: each reaches the agent once, and answers its own question."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.core.protocol import Mode
from tests.e2e.drivers import eventually
from tests.e2e.placements import Place, real_server, sidecar
from tests.e2e.world import World
from tests.support.serving import serving

BACKENDS = ("langgraph", "langgraph-old", "langgraph-js", "aegra")
Answer = dict[str, Any]


@contextmanager
def _guarded(placement: str, backend: str) -> Iterator[str]:
    with real_server(backend) as upstream:
        if placement == "sidecar":
            with sidecar(upstream, "--vendor-resumes", "guard") as url:
                yield url
        else:
            with serving(ResumeShim(ReverseProxy(upstream), vendor_resumes="guard")) as url:
                yield url


@pytest.fixture(scope="session")
def guarded() -> Iterator[dict[tuple[str, str], str]]:
    with ExitStack() as stack:

        class Guarded(dict[tuple[str, str], str]):
            def __missing__(self, spot: tuple[str, str]) -> str:
                self[spot] = stack.enter_context(_guarded(*spot))
                return self[spot]

        yield Guarded()


@pytest.fixture
def world(spot: tuple[str, str], guarded: dict[tuple[str, str], str]) -> Iterator[World]:
    placement, backend = spot
    if placement not in ("wrapped", "sidecar") or backend not in BACKENDS:
        pytest.skip("the other placements share this code")
    with World(Place(guarded[spot], list), placement, backend) as made:
        yield made


def create_run(world: World, thread: str, mode: Mode, value: Any, agent: str = "two") -> httpx.Response:
    """Answer as langgraph-sdk does."""
    body = {"assistant_id": agent, "command": {"resume": value}}
    return world.client.post(f"/threads/{thread}/runs{mode.value}", json=body)


def test_an_answer_is_sent_unchanged_and_its_response_returned(world: World, mode: Mode) -> None:
    thread = world.interrupted("two")
    answer = create_run(world, thread, mode, "yes")
    assert answer.status_code == 200, answer.text
    eventually(lambda: world.driver.status(thread) == "interrupted", "the second gate is asked")
    assert world.values(thread)["answer"] == "yes"
    if mode is Mode.STREAM:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "event: metadata" in answer.text


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_of_two_clicks_one_is_sent_and_the_other_refused(world: World, mode: Mode, pause: float) -> None:
    thread = world.interrupted("two")

    def click(number: int) -> httpx.Response:
        time.sleep(number * pause)
        return create_run(world, thread, mode, "click")

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(click, range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 409], [a.text for a in answers]
    eventually(lambda: world.driver.status(thread) == "interrupted", "the second gate is asked")
    assert world.values(thread)["answer"] == "click"
    assert world.values(thread)["runs"] == 1


@pytest.mark.parametrize("first", ["draft", "vendor"])
def test_a_draft_resume_and_a_vendor_resume_exclude_each_other(world: World, mode: Mode, first: str) -> None:
    thread = world.interrupted("two")

    def click(kind: str) -> httpx.Response:
        if kind == first:
            time.sleep(0.01)
        if kind == "draft":
            return world.client.patch(mode.route, json={"thread_id": thread, "input": "click"})
        return create_run(world, thread, mode, "click")

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(click, ("draft", "vendor")))
    assert sorted(answer.status_code for answer in answers) == [200, 409], [a.text for a in answers]
    eventually(lambda: world.driver.status(thread) == "interrupted", "the second gate is asked")
    assert world.values(thread)["runs"] == 1


def test_an_answer_to_a_finished_thread_is_refused(world: World, mode: Mode) -> None:
    thread = world.interrupted("ask")
    assert create_run(world, thread, Mode.WAIT, "yes", "ask").status_code == 200
    late = create_run(world, thread, mode, "yes", "ask")
    assert late.status_code == 409
    assert "not interrupted" in late.json()["detail"]
    assert world.values(thread)["runs"] == 1


def test_what_is_no_answer_passes(world: World) -> None:
    thread = world.driver.thread()
    path = f"/threads/{thread}/runs/wait"
    assert world.client.post(path, json={"assistant_id": "ask", "input": {"topic": "x"}}).status_code == 200
    assert world.client.post(path, content=b"{").status_code in (400, 422)
