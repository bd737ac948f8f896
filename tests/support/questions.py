"""Reads `/-/questions` as a client does, and counts the requests that a page costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core.listing import MOST_REQUESTS
from ap_resume_shim.core.questions import fill
from tests.support.waiting import eventually
from tests.support.world import World

PATH = "/-/questions"
FIELDS = {
    "thread_id",
    "agent_id",
    "interrupt_id",
    "kind",
    "value",
    "response_schema",
    "prompt",
    "actions",
    "options",
    "multiple",
    "form",
    "answer",
    "asked_at",
    "expires_at",
    "resume",
}
"""The fields of a question, on every backend."""
MOST_PAGES = 100


@dataclass
class List:
    """All pages of a list."""

    listed: bool
    questions: list[dict[str, Any]]
    notes: list[str]
    costs: list[int]
    """The number of requests that each page sent to the server."""

    def of(self, thread: str) -> list[dict[str, Any]]:
        """The questions of one thread. A page repeats some of the page before if others are asked meanwhile."""
        of = [question for question in self.questions if question["thread_id"] == thread]
        return [question for index, question in enumerate(of) if question not in of[:index]]


def read_list(world: World, headers: dict[str, str] | None = None, **query: Any) -> List:
    """Read the list from its first page to its last. Asserts that no page costs too many requests."""
    whole = List(True, [], [], [])
    while len(whole.costs) < MOST_PAGES:
        before = len(world.place.seen())
        response = world.client.get(PATH, params=query, headers=headers).raise_for_status()
        assert response.headers["cache-control"] == "no-store"
        page = response.json()
        whole.costs.append(len(world.place.seen()) - before)
        whole.listed = page["listed"]
        whole.questions += page["questions"]
        whole.notes = page["notes"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert max(whole.costs) <= MOST_REQUESTS, whole.costs
    assert all(question.keys() == FIELDS for question in whole.questions)
    return whole


def find(world: World, thread: str, headers: dict[str, str] | None = None, **query: Any) -> list[dict[str, Any]]:
    """Return the questions of a thread in the list, once they are there.

    A page skips threads if others are answered meanwhile, as other tests do on the same server.
    """
    return eventually(lambda: read_list(world, headers, **query).of(thread), f"thread {thread} is listed")


def read_thread(world: World, thread: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Read the questions of a thread."""
    page: dict[str, Any] = world.client.get(f"{PATH}/{thread}", headers=headers).raise_for_status().json()
    return page


def answer(world: World, question: dict[str, Any], value: Any) -> Any:
    """Answer a question with the request in it, in the mode wait; return the response."""
    resume = question["resume"]
    body = {**resume["body"], "input": fill(resume["body"]["input"], {"value": value, "decision": value})}
    return world.client.request(resume["method"], resume["path"] + "/wait", json=body)
