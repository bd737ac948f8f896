"""`/-/questions` of a sidecar in front of LangGraph's servers and Aegra: what is listed, to whom, and at what cost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from unittest.mock import patch

import httpx
import pytest

from ap_resume_shim import ReverseProxy
from ap_resume_shim.core.protocol import Mode
from tests.e2e.drivers import DRIVERS
from tests.e2e.placements import place
from tests.servers.apps.py.tap import Tap
from tests.servers.launch import USERS
from tests.servers.run import start
from tests.support.matrix import chosen
from tests.support.questions import FIELDS, PATH, answer, find, read_list, read_thread
from tests.support.serving import serving
from tests.support.sidecar import sidecar
from tests.support.waiting import eventually
from tests.support.world import Place, World

BACKENDS = chosen("AP_TEST_BACKENDS", ("langgraph", "agent-protocol"))
GRAPHS = [name for name in BACKENDS if name != "agent-protocol"]
ALICE, BOB, NOBODY = ({"authorization": f"Bearer {name}"} for name in ("alice", "bob", "mallory"))
MANY = int(os.environ.get("AP_TEST_MANY_THREADS", "45"))
"""Number of waiting threads for the test of the costs."""


@pytest.fixture(scope="module")
def worlds() -> Iterator[dict[str, World]]:
    """A client in front of a sidecar, for each backend."""
    with ExitStack() as stack:
        yield _Worlds(stack)


class _Worlds(dict[str, World]):
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __missing__(self, backend: str) -> World:
        where = self._stack.enter_context(place("sidecar", backend))
        self[backend] = self._stack.enter_context(World(where, DRIVERS[backend]))
        return self[backend]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_question_is_listed_until_it_is_answered_by_its_own_request(worlds: dict[str, World], backend: str) -> None:
    world = worlds[backend]
    thread = world.thread("ask")
    (question,) = find(world, thread)
    shown = read_thread(world, thread)
    assert (shown["status"], shown["notes"]) == ("interrupted", [])
    assert shown["questions"] == [question]
    assert question.keys() == FIELDS
    assert (question["kind"], question["asked_at"] is None) == ("text", backend == "agent-protocol")
    response = answer(world, question, "yes")
    assert response.status_code == 200, response.text
    assert read_list(world).of(thread) == read_thread(world, thread)["questions"] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_both_questions_of_a_thread_are_listed(worlds: dict[str, World], backend: str) -> None:
    world = worlds[backend]
    thread = world.thread("par")
    assert sorted(question["prompt"] for question in find(world, thread)) == ["a?", "b?"]


@pytest.mark.parametrize("backend", GRAPHS)
def test_a_list_of_one_agent_has_no_question_of_another(worlds: dict[str, World], backend: str) -> None:
    world = worlds[backend]
    asked, other = world.thread("ask"), world.thread("par")
    for agent in ("ask", world.driver.agent_id("ask")):
        assert find(world, asked, agent=agent)
        assert not read_list(world, agent=agent).of(other)


@pytest.mark.parametrize("backend", GRAPHS)
def test_a_question_that_an_edited_state_no_longer_has_is_not_listed(worlds: dict[str, World], backend: str) -> None:
    world = worlds[backend]
    thread = world.thread("ask")
    world.client.post(f"/threads/{thread}/state", json={"values": {"topic": "edited"}}).raise_for_status()
    assert read_list(world).of(thread) == read_thread(world, thread)["questions"] == []


@pytest.mark.parametrize("backend", [name for name in GRAPHS if name != "aegra"])
def test_a_question_is_listed_again_after_its_resume_was_cancelled(worlds: dict[str, World], backend: str) -> None:
    world = worlds[backend]
    thread = world.thread("slowask", secs=60)
    resume = {"thread_id": thread, "input": "yes"}
    run = world.client.patch(Mode.BACKGROUND.route, json=resume).raise_for_status().json()["run_id"]
    eventually(lambda: world.driver.status(thread) == "busy", "the agent works")
    assert read_list(world).of(thread) == []
    world.driver.cancel(thread, run)
    eventually(lambda: world.driver.status(thread) != "busy", "the run is cancelled")
    (question,) = find(world, thread)
    assert [question] == read_thread(world, thread)["questions"]


@pytest.mark.parametrize("backend", [name for name in GRAPHS if name == "langgraph"])
def test_a_typed_question_whose_answer_was_refused_is_listed(worlds: dict[str, World], backend: str) -> None:
    world = worlds[backend]
    thread = world.thread("typed")
    (question,) = find(world, thread)
    assert question["kind"] == "form"
    command = {"resume": {question["interrupt_id"]: {"decision": "neither"}}}
    world.client.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "typed", "command": command})
    eventually(lambda: world.driver.status(thread) == "error", "the answer is refused")
    assert [each["interrupt_id"] for each in find(world, thread)] == [question["interrupt_id"]]
    assert answer(world, question, {"decision": "pay"}).status_code == 200


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_page_of_many_waiting_threads_costs_at_most_21_requests(worlds: dict[str, World], backend: str) -> None:
    world = worlds[backend]
    with ThreadPoolExecutor(10) as pool:
        threads = set(pool.map(lambda _: world.thread("ask"), range(MANY)))
    before = len(world.place.seen())
    page = world.client.get(PATH).raise_for_status().json()
    assert len(world.place.seen()) - before <= 21
    assert page["next"] is not None
    eventually(lambda: threads <= {each["thread_id"] for each in read_list(world).questions}, "all are listed")


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_unknown_thread_and_a_bad_cursor_are_refused(worlds: dict[str, World], backend: str) -> None:
    client = worlds[backend].client
    unknown = client.get(f"{PATH}/{worlds[backend].driver.unknown()}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "thread_not_found")
    bad = client.get(PATH, params={"cursor": "bm90IG91cnM"})
    assert (bad.status_code, bad.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("backend", [name for name in GRAPHS if name in ("langgraph", "aegra")])
def test_questions_of_another_user_do_not_appear(backend: str) -> None:
    """On a server that authenticates its users."""
    with (
        patch.dict(os.environ, {USERS: "yes"}),
        start(backend) as server,
        serving(tap := Tap(ReverseProxy(server.url))) as upstream,
        sidecar("--upstream", upstream, "--port", "0") as shim,
        World(Place(shim.url, lambda: list(tap.seen)), DRIVERS[backend]) as world,
    ):
        threads = {}
        for name, headers in (("alice", ALICE), ("bob", BOB)):
            world.client.headers.update(headers)
            threads[name] = world.thread("ask")
        del world.client.headers["authorization"]
        for headers, mine, other in ((ALICE, "alice", "bob"), (BOB, "bob", "alice")):
            assert {each["thread_id"] for each in read_list(world, headers).questions} == {threads[mine]}
            assert read_thread(world, threads[mine], headers)["questions"]
            theirs = world.client.get(f"{PATH}/{threads[other]}", headers=headers)
            assert (theirs.status_code, theirs.json()["code"]) == (404, "thread_not_found")
        for headers in (NOBODY, {}):
            for path in (PATH, f"{PATH}/{threads['alice']}"):
                assert _refused(world.client.get(path, headers=headers)) == (401, "unauthorized")


def _refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]
