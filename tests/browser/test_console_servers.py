"""The console in a real browser, served by a sidecar in front of real servers: each kind of question is answered."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.browser.devtools import Page, browser
from tests.servers.run import running
from tests.support.calling import CLIENT
from tests.support.sidecar import sidecar
from tests.support.waiting import eventually

Act = Callable[[Page], None]


@dataclass(frozen=True)
class Place:
    """The URLs of a sidecar with the console, and of the server behind it."""

    url: str
    server: str

    def open(self, page: Page, thread: str) -> None:
        """Open the question of a thread."""
        page.open(f"{self.url}/-/console#thread={thread}")
        page.wait("document.querySelector('#rows .row') !== null")
        page.click("", "#rows")
        page.wait("!document.querySelector('#detail form').inert")


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser() as page:
        page.resize(1440, 900)
        yield page


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    tab.errors.clear()
    yield tab
    assert tab.errors == []


def place(backend: str) -> Iterator[Place]:
    options = ("--backend", backend, "--port", "0", "--console")
    with running(backend) as server, sidecar("--upstream", server, *options) as shim:
        yield Place(shim.url, server)


@pytest.fixture(scope="module")
def langgraph() -> Iterator[Place]:
    yield from place("langgraph")


@pytest.fixture(scope="module")
def agno() -> Iterator[Place]:
    yield from place("agno")


def click(name: str) -> Act:
    return lambda page: page.click(name, "#detail form")


def fill(button: str, **fields: str) -> Act:
    """Fill in fields, and click on a button."""

    def act(page: Page) -> None:
        for label, value in fields.items():
            page.fill(label.replace("_", " "), value)
        page.click(button, "#detail form")

    return act


def both(first: Act, second: Act) -> Act:
    def act(page: Page) -> None:
        first(page)
        second(page)

    return act


# --- LangGraph


def asking(place: Place, graph: str, state: dict[str, Any]) -> str:
    """A thread of LangGraph that waits."""
    thread = str(CLIENT.post(f"{place.server}/threads", json={}).json()["thread_id"])
    body = {"assistant_id": graph, "input": state}
    CLIENT.post(f"{place.server}/threads/{thread}/runs/wait", json=body).raise_for_status()
    return thread


def values(place: Place, thread: str) -> dict[str, Any]:
    found: dict[str, Any] = CLIENT.get(f"{place.server}/threads/{thread}/state").json()["values"]
    return found


PAYMENT = both(click("pay"), fill("Send answer", Amount="10.5"))
EDITED = both(click("Edit"), fill("Send the edited call", to="bob@example.org"))


@pytest.mark.parametrize(
    ("kind", "act", "got"),
    [
        ("text", fill("Send answer", Answer="Ann"), "Ann"),
        ("confirm", click("Yes"), True),
        ("confirm", click("No"), False),
        ("choice", click("blue"), "blue"),
        ("form", PAYMENT, {"decision": "pay", "amount": 10.5, "note": None}),
        ("any", fill("Send answer", Answer_as_JSON='{"steps": [1, 2.0]}'), {"steps": [1, 2.0]}),
        ("inbox", click("Approve"), [{"type": "accept", "args": None}]),
        ("inbox", EDITED, [{"type": "edit", "args": {"action": "send", "args": {"to": "bob@example.org"}}}]),
        (
            "inbox",
            both(click("Respond"), fill("Send the reply", Reply="Later.")),
            [{"type": "response", "args": "Later."}],
        ),
    ],
)
def test_each_kind_is_answered_on_langgraph(page: Page, langgraph: Place, kind: str, act: Act, got: Any) -> None:
    thread = asking(langgraph, "kinds", {"kind": kind})
    langgraph.open(page, thread)
    act(page)
    page.sees("Finished", "#detail")
    page.sees("ask", ".events")
    assert values(langgraph, thread)["got"] == got


MESSAGES = {"messages": [{"role": "user", "content": "go"}]}


def tools(place: Place, thread: str) -> list[str]:
    """What the tools returned, or why they did not run."""
    return [message["content"] for message in values(place, thread)["messages"] if message["type"] == "tool"]


def test_two_tool_calls_are_decided_together_on_langgraph(page: Page, langgraph: Place) -> None:
    thread = asking(langgraph, "batched", MESSAGES)
    langgraph.open(page, thread)
    page.click("Edit", ".action:nth-of-type(1)")
    page.fill("to", "bob@example.org")
    page.click("Reject", ".action:nth-of-type(2)")
    page.fill("Reason", "Too dear.")
    page.click("Send 2 decisions")
    page.sees("Finished", "#detail")
    page.sees("sent to bob@example.org", "#detail")
    results = "\n".join(tools(langgraph, thread))
    assert "sent to bob@example.org" in results
    assert "Too dear." in results
    assert "paid" not in results


def test_tool_calls_are_decided_one_after_the_other_on_langgraph(page: Page, langgraph: Place) -> None:
    thread = asking(langgraph, "per_call", MESSAGES)
    langgraph.open(page, thread)
    page.click("Approve", "#detail form")
    page.sees("Asks again", "#detail")
    page.click("Answer", ".follow")
    page.wait("!document.querySelector('#detail form').inert")
    page.click("Approve", "#detail form")
    page.sees("Finished", "#detail")
    assert sorted(tools(langgraph, thread)) == ["paid 5", "sent to a@example.org"]


def test_a_double_click_answers_once_on_langgraph(page: Page, langgraph: Place) -> None:
    thread = asking(langgraph, "two", {"topic": "lunch"})
    langgraph.open(page, thread)
    page.fill("Answer", "yes")
    page.click("Send answer", times=2)
    page.sees("Asks again", "#detail")
    page.sees("really lunch?", ".follow")
    assert values(langgraph, thread) == {"topic": "lunch", "answer": "yes", "runs": 1}


def test_a_question_that_was_answered_elsewhere_says_so_on_langgraph(page: Page, langgraph: Place) -> None:
    thread = asking(langgraph, "kinds", {"kind": "confirm"})
    langgraph.open(page, thread)
    body = {"thread_id": thread, "input": True}
    CLIENT.patch(f"{langgraph.url}/runs/resume/wait", json=body).raise_for_status()
    page.click("No", "#detail form")
    page.sees("No longer pending.", "#detail")
    assert values(langgraph, thread)["got"] is True


def test_the_steps_of_the_run_are_shown_as_they_come_on_langgraph(page: Page, langgraph: Place) -> None:
    thread = asking(langgraph, "steps", {})
    langgraph.open(page, thread)
    page.fill("Answer", "yes")
    page.click("Send answer")
    page.sees("step1", ".events")
    assert "step5" not in page.text(".events")
    page.sees("Running", "#detail")
    page.sees("Finished", "#detail")
    page.sees("step5", ".events")


def test_pending_questions_are_listed_oldest_first_on_langgraph(page: Page, langgraph: Place) -> None:
    asking(langgraph, "ask", {"topic": "the first topic"})
    asking(langgraph, "ask", {"topic": "the second topic"})
    page.open(f"{langgraph.url}/-/console")
    page.sees("the second topic", "#rows")
    rows = page.text("#rows")
    assert rows.index("the first topic") < rows.index("the second topic")


# --- Agno


def agno_thread(place: Place, kind: str, scenario: str) -> tuple[str, str]:
    """A session that waits, and the name under which the server notes what it gets."""
    thread, ref = str(uuid.uuid4()), str(uuid.uuid4())
    component = scenario if kind == "workflows" else "helper"
    message = json.dumps({"scenario": scenario, "ref": ref, "secs": 0})
    form = {"message": message, "session_id": thread, "stream": "false", "background": "true"}
    CLIENT.post(f"{place.server}/{kind}/{component}/runs", data=form).raise_for_status()

    def waits() -> bool:
        runs = CLIENT.get(f"{place.server}/sessions/{thread}/runs")
        return runs.is_success and any(run["status"] == "PAUSED" for run in runs.json())

    eventually(waits, f"{scenario} asks")
    return thread, ref


def got(place: Place, ref: str) -> Any:
    """What the agent received."""

    def noted() -> list[Any]:
        events = CLIENT.get(f"{place.server}/__witness").json()
        return [each["value"] for each in events if (each["ref"], each["event"]) == (ref, "got")]

    (value,) = eventually(noted, "the agent receives an answer")
    return value


@pytest.mark.parametrize(
    ("kind", "scenario", "act", "answer"),
    [
        ("agents", "ask", click("Approve"), True),
        (
            "agents",
            "ask",
            both(click("Reject"), fill("Reject the call", Reason="Not today.")),
            {"confirmed": False, "confirmation_note": "Not today."},
        ),
        ("agents", "ask-input", fill("Send answer", n="3"), {"n": 3}),
        ("agents", "ask-external", fill("Send answer", Answer="the result"), "the result"),
        ("agents", "ask-feedback", click("red"), {"Which?": ["red"]}),
        ("workflows", "ask", click("Yes"), True),
        ("workflows", "ask", click("No"), False),
        ("workflows", "ask-choice", click("left"), ["left"]),
        ("workflows", "ask-review", both(click("Edit"), fill("Send the edited call", Value="better")), "better"),
    ],
)
def test_each_kind_is_answered_on_agno(
    page: Page, agno: Place, kind: str, scenario: str, act: Act, answer: Any
) -> None:
    thread, ref = agno_thread(agno, kind, scenario)
    agno.open(page, thread)
    act(page)
    page.sees("Finished", "#detail")
    expected = {"confirmed": True, "edited_output": "better"} if scenario == "ask-review" else answer
    assert got(agno, ref) == expected


def test_two_tool_calls_of_a_run_are_answered_together_on_agno(page: Page, agno: Place) -> None:
    thread, ref = agno_thread(agno, "agents", "par")
    agno.open(page, thread)
    page.click("Approve", "#detail form")
    page.sees("Not sent yet.", "#detail")
    page.click("Next question of this thread", "#detail")
    page.wait("!document.querySelector('#detail form').inert")
    page.click("Approve", "#detail form")
    page.sees("Finished", "#detail")
    events = CLIENT.get(f"{agno.server}/__witness").json()
    assert [each["value"] for each in events if (each["ref"], each["event"]) == (ref, "got")] == [True, True]


def test_a_wrong_value_is_not_sent_to_agno(page: Page, agno: Place) -> None:
    thread, ref = agno_thread(agno, "workflows", "ask-form")
    agno.open(page, thread)
    page.fill("n", "three")
    page.click("Send answer")
    page.sees("This has to be a number", "#detail")
    page.fill("n", "3")
    page.click("blue", "#detail form")
    page.click("Send answer")
    page.sees("Finished", "#detail")
    assert got(agno, ref) == {"n": 3, "colour": "blue"}
