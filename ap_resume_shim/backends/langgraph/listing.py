"""Lists the threads that may wait, on LangGraph's servers and Aegra: searches by status.

A status is a hint. Threads whose question is gone stay `interrupted`; a thread whose typed answer was refused is
`error`, and one whose resume was cancelled is `idle`, although both can be answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core.dialect_helpers import read_lookup
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.json_values import is_uuid
from ap_resume_shim.core.listing import MOST_REQUESTS, Candidate, Listing, Page
from ap_resume_shim.core.steps import Ask, Steps

_FIELDS = ("thread_id", "status", "interrupts", "metadata", "updated_at")
"""The fields of idle threads that are read; older servers send all fields."""
_NEWEST = 100
"""Number of threads that are searched, beginning with the newest, by a status that seldom means a question."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search for threads with one status."""

    status: str
    requests: int
    """The number of requests that read one of the threads."""
    oldest_first: bool = False
    """True for a search of all threads; else of the newest alone."""
    only_rows_that_ask: bool = False
    """True if only threads whose row lists a question are candidates."""

    def request(self, agent_id: str | None, offset: int, room: int) -> Request:
        """Return the request for at most `room` candidates."""
        limit = room if self.oldest_first else min(room, _NEWEST - offset)
        body: dict[str, Any] = {"status": self.status, "limit": limit, "offset": offset, "sort_by": "updated_at"}
        body["sort_order"] = "asc" if self.oldest_first else "desc"
        if self.only_rows_that_ask:
            body |= {"limit": _NEWEST - offset, "select": list(_FIELDS)}
        if agent_id is not None:
            body["metadata"] = {"assistant_id" if is_uuid(agent_id) else "graph_id": agent_id}
        return Request.post("/threads/search", body)


INTERRUPTED = Search("interrupted", 1, oldest_first=True)


def list_waiting(page: Page, searches: tuple[Search, ...]) -> Steps[Listing]:
    """Search with one status after the other, until the page is full or has used its requests."""
    number, offset = page.place(int, int) or (0, 0)
    candidates: list[Candidate] = []
    left = MOST_REQUESTS
    while number < len(searches):
        search = searches[number]
        room = min(page.limit - len(candidates), (left - 1) // search.requests)
        if room < 1:
            return Listing(tuple(candidates), [number, offset])
        request = search.request(page.agent_id, offset, room)
        (answer,) = yield from Ask((request,))
        rows: list[dict[str, Any]] = read_lookup(answer)
        taken = [(at, row) for at, row in enumerate(rows) if not search.only_rows_that_ask or _may_ask(row)]
        candidates += (Candidate(row["thread_id"], row) for _, row in taken[:room])
        left -= 1 + search.requests * len(taken[:room])
        offset += taken[room][0] if len(taken) > room else len(rows)
        is_last = len(taken) <= room and len(rows) < request.json["limit"]
        if is_last or (not search.oldest_first and offset >= _NEWEST):
            number, offset = number + 1, 0
    return Listing(tuple(candidates))


def _may_ask(row: dict[str, Any]) -> bool:
    """True if a row lists a question. LangGraph's JavaScript server lists null after a cancelled resume."""
    interrupts = row.get("interrupts", {})
    return interrupts is None or any(interrupts.values())
