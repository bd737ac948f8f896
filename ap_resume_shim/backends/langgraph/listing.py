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
from ap_resume_shim.core.listing import Batch, Candidate
from ap_resume_shim.core.steps import Ask, Steps

_FIELDS = ["thread_id", "status", "interrupts", "metadata", "updated_at"]
"""The fields of idle threads that are read; older servers send all fields."""
_NEWEST = 100
"""Number of threads that are searched, beginning with the newest, by a status that seldom means a question."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """All threads with the status `interrupted`, oldest first."""

    agent_id: str | None
    name = "interrupted"
    per_search = per_candidate = 1

    def search(self, offset: int, room: int) -> Steps[Batch]:
        """Read the next rows."""
        rows = yield from _search(self.name, self.agent_id, offset=offset, limit=room, sort_order="asc")
        return _batch(rows, offset, room)


@dataclass(frozen=True, slots=True)
class Failed:
    """The newest threads with the status `error`."""

    agent_id: str | None
    per_candidate: int
    """The number of requests that read one of them."""
    name = "error"
    per_search = 1

    def search(self, offset: int, room: int) -> Steps[Batch]:
        """Read the next rows."""
        limit = min(room, _NEWEST - offset)
        if limit < 1:
            return Batch((), None)
        rows = yield from _search(self.name, self.agent_id, offset=offset, limit=limit, sort_order="desc")
        return _batch(rows, offset, room)


@dataclass(frozen=True, slots=True)
class Idle:
    """Those of the newest idle threads whose row lists a question."""

    agent_id: str | None
    name = "idle"
    per_search = 1
    per_candidate = 2

    def search(self, offset: int, room: int) -> Steps[Batch]:
        """Read all rows that are left, and return the first ones that list a question."""
        limit = max(1, _NEWEST - offset)
        rows = yield from _search(
            self.name, self.agent_id, offset=offset, limit=limit, sort_order="desc", select=_FIELDS
        )
        asking = [(at, row) for at, row in enumerate(rows) if _may_ask(row)]
        candidates = [Candidate(row["thread_id"], row) for _, row in asking[:room]]
        return Batch(candidates, offset + asking[room][0] if len(asking) > room else None)


def _batch(rows: list[Any], offset: int, room: int) -> Batch:
    """Return a batch with all rows of a search; fewer than `room` are the last ones."""
    return Batch([Candidate(row["thread_id"], row) for row in rows], None if len(rows) < room else offset + room)


def _search(status: str, agent_id: str | None, **more: Any) -> Steps[list[dict[str, Any]]]:
    body = {"status": status, "sort_by": "updated_at", **more}
    if agent_id is not None:
        body["metadata"] = {"assistant_id" if is_uuid(agent_id) else "graph_id": agent_id}
    (answer,) = yield from Ask((Request.post("/threads/search", body),))
    rows: list[dict[str, Any]] = read_lookup(answer)
    return rows


def _may_ask(row: dict[str, Any]) -> bool:
    """True if a row lists a question, or has no list: the JavaScript server drops it when a resume is cancelled."""
    interrupts = row.get("interrupts")
    return interrupts is None or any(interrupts.values())
