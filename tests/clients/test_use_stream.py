"""`useStream` in a real browser: an answer works; of two clicks one is taken, and the other's page shows why not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.chromium import Pages, pages
from tests.clients.client import WHY
from tests.clients.place import Place, guarding, guarding_url
from tests.clients.program import bundle
from tests.servers.process import free_port
from tests.support.calling import CLIENT
from tests.support.faults import Fault, faulty, limit_data_once
from tests.support.waiting import eventually

RAISES = {1: "HTTPError: HTTP 409: ", 2: "ProtocolError: "}
"""The error of each version of the hook: that of `@langchain/langgraph-sdk/react`, and that of `@langchain/react`."""
LANGGRAPH = ("--backend", "langgraph")
ANSWERS = re.compile(rb"POST /threads/[^/]+/commands ")


@pytest.fixture(scope="module")
def browser() -> Iterator[Pages]:
    with pages(bundle("use_stream.mjs")) as served:
        yield served


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with guarding("langgraph", *LANGGRAPH, "--duplicate-window", "20") as made:  # a browser may be slow
        yield made


@pytest.fixture(params=[1, 2])
def version(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


def answer(browser: Pages, url: str, version: int, **given: Any) -> Any:
    """Open the page in a sidecar's client, click, and return its thread and what its tabs show."""
    scenario = 'const { answer } = await import("/module.js"); return answer(GIVEN);'
    return browser.run(scenario, GIVEN={"url": url, "version": version, **given})


def alert_of(outcome: Any) -> str:
    """The error in the only tab that shows one."""
    (alert,) = [tab["alert"] for tab in outcome["tabs"] if tab["alert"] is not None]
    return str(alert)


def asking(place: Place, **given: Any) -> str:
    """A thread that asks."""
    thread = str(CLIENT.post(f"{place.server}/threads", json={}).json()["thread_id"])
    body = {"assistant_id": "two", "input": {"topic": "lunch", **given}}
    CLIENT.post(f"{place.server}/threads/{thread}/runs/wait", json=body).raise_for_status()
    return thread


def first_gate(place: Place, thread: str) -> None:
    """Assert that the graph has received one answer, and waits for the next one."""
    eventually(lambda: place.values(thread).get("runs") == 1, "the first question is answered")
    time.sleep(0.3)
    assert place.values(thread).items() >= {"topic": "lunch", "answer": "yes", "runs": 1}.items()


def test_an_answer_works(browser: Pages, place: Place, version: int) -> None:
    outcome = answer(browser, place.url, version, graph="ask", refused=False)
    (tab,) = outcome["tabs"]
    assert (tab["alert"], tab["reported"]) == (None, [])
    first_gate(place, outcome["thread"])


@pytest.mark.parametrize(("tabs", "pause"), [(1, 0), (2, 0), (2, 50)])
def test_of_two_clicks_one_is_taken_and_the_page_of_the_other_shows_why(
    browser: Pages, place: Place, version: int, tabs: int, pause: int
) -> None:
    """In one tab, the hook may clear the error of one click for the other before the page shows it."""
    outcome = answer(browser, place.url, version, graph="two", tabs=tabs, clicks=2, pause=pause)
    (reported,) = [text for tab in outcome["tabs"] for text in tab["reported"]]
    assert tabs == 1 or alert_of(outcome) == reported
    assert reported.startswith(RAISES[version])
    assert any(why in reported for why in WHY)
    first_gate(place, outcome["thread"])


def test_a_second_click_that_the_hook_sends_after_the_first_run_is_refused(browser: Pages, place: Place) -> None:
    """Only the first version of the hook queues it. The agent has worked longer than the window, and asks again."""
    thread = asking(place, secs=7)
    with guarding_url(place.server, *LANGGRAPH, "--duplicate-window", "5") as shorter:
        outcome = answer(browser, shorter.url, 1, graph="two", thread=thread, clicks=2)
    (reported,) = outcome["tabs"][0]["reported"]
    assert "double click" in reported
    first_gate(place, thread)


def test_an_answer_is_sent_once_while_the_store_is_away(browser: Pages, place: Place, version: int) -> None:
    thread = asking(place)
    with guarding_url(place.server, *LANGGRAPH, "--guard", f"redis://127.0.0.1:{free_port()}/0") as without_store:
        outcome = answer(browser, without_store.url, version, graph="two", thread=thread, taken=False)
        without_store.received(1)
    assert alert_of(outcome).startswith(RAISES[version])
    assert "store" in alert_of(outcome)
    assert "runs" not in place.values(thread)


def test_an_answer_whose_response_is_lost_is_sent_again_and_refused(browser: Pages, place: Place) -> None:
    """Only the second version of the hook sends it again. The first one cancels its run instead."""
    thread, sent = asking(place), place.answers()
    with faulty(place.url, Fault(limit_data_once, "from"), ANSWERS) as network:
        outcome = answer(browser, network.url, 2, graph="two", thread=thread, taken=False)
    assert alert_of(outcome).startswith(RAISES[2])  # the reason depends on how far the agent is by then
    place.received(sent + 2)
    first_gate(place, thread)
