"""Answers in the conventions of today's clients, guarded, on the real servers: each reaches the agent once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.core.protocol import Mode
from tests.families.subjects import chosen
from tests.families.vendor_clients import CONVENTIONS, NEW_TURNS, Answer, Convention, Vendor
from tests.servers.apps.py.tap import Tap
from tests.servers.run import running
from tests.support.driver import Driver
from tests.support.matrix import marked
from tests.support.serving import serving
from tests.support.waiting import eventually
from tests.support.world import Place, Same, Thread, World

Click = Callable[[httpx.Client], httpx.Response]
_WORLDS: dict[str, World] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Multiply a test by the conventions of the chosen subjects."""
    if "new_turn" in metafunc.fixturenames:
        kinds = [kind for kind in chosen() if kind.name in NEW_TURNS]
        turns = [(kind, NEW_TURNS[kind.name]) for kind in kinds]
        metafunc.parametrize(("kind", "new_turn"), turns, ids=[kind.name for kind in kinds], scope="session")
    if "convention" in metafunc.fixturenames:
        shows = set(marked(metafunc, "shows"))
        kinds = [kind for kind in chosen() if shows <= kind.shows and kind.name in CONVENTIONS]
        rows = {
            f"{kind.name}-{name}": (kind, convention)
            for kind in kinds
            for name, convention in CONVENTIONS[kind.name].items()
        }
        metafunc.parametrize(("kind", "convention"), list(rows.values()), ids=list(rows), scope="session")


@pytest.fixture(scope="session")
def guarded() -> Iterator[ExitStack]:
    """The shims, each started when it is first used."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def world(kind: type[Driver], guarded: ExitStack) -> World:
    """A client in front of one shim, which guards the vendor resumes of one real server."""
    if kind.name not in _WORLDS:
        server = guarded.enter_context(running(kind.server))
        tap = Tap(ReverseProxy(server))
        shim = ResumeShim(tap, kind.backend, options=kind.options, resume_at=kind.resume_at, vendor_resumes="guard")
        place = Place(guarded.enter_context(serving(shim)), lambda: list(tap.seen), server)
        _WORLDS[kind.name] = guarded.enter_context(World(place, kind))
    return _WORLDS[kind.name]


def asking(world: World, scenario: str, **state: Any) -> tuple[Thread, Vendor]:
    """A thread that asks, and the client that started it."""
    seen: list[httpx.Response] = []

    def note(response: httpx.Response) -> None:
        if response.request.method == "POST":
            response.read()
            seen.append(response)

    world.client.event_hooks = {"response": [note]}
    thread = world.thread(scenario, **state)
    world.client.event_hooks = {"response": []}
    return thread, Vendor(world.client, seen)


def plain(kind: type[Driver]) -> Any:
    """What the client answers: the bare value of a confirmation."""
    return True if kind.name in ("agno", "agno-team", "agno-workflow", "mastra-agent") else kind.yes


def post(client: httpx.Client, answer: Answer) -> httpx.Response:
    """Send an answer, and read the whole response."""
    path, arguments = answer
    return client.post(path, **arguments)


def taken(response: httpx.Response) -> bool:
    """Whether the response is no refusal."""
    media_type = response.headers.get("content-type", "")
    value: Any = response.json() if media_type.startswith("application/json") else {}
    if media_type.startswith("text/event-stream") and '"error":{' in response.text.replace(" ", ""):
        return False
    in_band = isinstance(value, dict) and (("error" in value and "jsonrpc" in value) or value.get("type") == "error")
    return response.is_success and not in_band


def form_of(response: httpx.Response) -> Any:
    """The form of a response: status, media type, and names of a JSON object."""
    media_type = response.headers.get("content-type", "").partition(";")[0]
    value = response.json() if media_type.endswith("json") else None
    return response.status_code, media_type, sorted(value) if isinstance(value, dict) else None


@pytest.mark.shows("ask")
def test_an_answer_reaches_the_agent_and_its_response_the_client(
    world: World, kind: type[Driver], convention: Convention
) -> None:
    thread, vendor = asking(world, "ask")
    response = post(world.client, convention(vendor, thread, plain(kind)))
    assert taken(response), response.text
    assert world.heard(thread) == [Same(kind.yes)]
    world.ends(thread)
    with World(Place(world.place.server, list, world.place.server), kind) as direct:
        unguarded, its_client = asking(direct, "ask")
        without_shim = post(direct.client, convention(its_client, unguarded, plain(kind)))
    assert form_of(response) == form_of(without_shim)


@pytest.mark.shows("two")
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_of_two_clicks_one_is_taken_and_the_next_question_stays_open(
    world: World, kind: type[Driver], convention: Convention, pause: float
) -> None:
    thread, vendor = asking(world, "two")
    answer = convention(vendor, thread, plain(kind))
    one_is_taken(world, [lambda client: post(client, answer)] * 2, pause)
    eventually(lambda: len(world.noted(thread, "asked")) == 2, "the second question is asked")
    time.sleep(0.5)
    assert world.heard(thread) == [Same(kind.yes)]


@pytest.mark.shows("slowask")
@pytest.mark.parametrize("first", ["draft", "vendor"])
def test_a_draft_resume_and_a_vendor_resume_exclude_each_other(
    world: World, kind: type[Driver], convention: Convention, first: str
) -> None:
    thread, vendor = asking(world, "slowask", secs=1.0)
    answer, draft = convention(vendor, thread, plain(kind)), {"thread_id": thread, "input": kind.yes}
    clicks: list[Click] = [
        lambda client: client.patch(Mode.BACKGROUND.route, json=draft),
        lambda client: post(client, answer),
    ]
    one_is_taken(world, clicks if first == "draft" else clicks[::-1], 0.01)
    world.ends(thread)
    assert world.heard(thread) == [Same(kind.yes)]


def one_is_taken(world: World, clicks: list[Click], pause: float) -> None:
    """Click with a pause between the clicks, and assert that one of the answers is taken."""

    def click(number: int) -> httpx.Response:
        time.sleep(number * pause)
        with world.new_client() as client:
            return clicks[number](client)

    with ThreadPoolExecutor(len(clicks)) as pool:
        responses = list(pool.map(click, range(len(clicks))))
    assert sum(map(taken, responses)) == 1, [response.text for response in responses]
    assert all(response.status_code in (200, 202, 409) for response in responses), responses


@pytest.mark.shows("ask")
def test_an_answer_to_a_finished_thread_is_refused(world: World, kind: type[Driver], convention: Convention) -> None:
    thread, vendor = asking(world, "ask")
    answer = convention(vendor, thread, plain(kind))
    assert taken(post(world.client, answer))
    world.ends(thread)
    time.sleep(1.0)  # not a double click
    again = post(world.client, answer)
    assert not taken(again), again.text
    assert len(world.heard(thread)) == 1


def test_a_new_turn_passes_though_the_thread_asks(world: World, kind: type[Driver], new_turn: Convention) -> None:
    thread, vendor = asking(world, "ask")
    again = Thread(thread, uuid.uuid4().hex)
    response = post(world.client, new_turn(vendor, again, None))
    assert taken(response), response.text
    eventually(lambda: world.noted(again, "asked"), "the agent starts anew")
    assert world.noted(thread, "got") == []
    assert world.noted(again, "got") == []
