"""Lists the sessions of AgentOS, which cannot be searched by the status of their runs: each of them is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core.dialect_helpers import read_lookup
from ap_resume_shim.core.http import Request, segment
from ap_resume_shim.core.listing import Batch, Candidate, Listing, Page, collect
from ap_resume_shim.core.steps import Ask, Steps

_BLOCK = 100
"""Number of sessions that one request lists. It is always the same, since the server counts in pages."""
_NOTES = (
    "AgentOS shows the sessions of all users to each of them, unless it runs with `authorization` and "
    "`user_isolation`.",
    "AgentOS lists sessions, whether they wait or not, the one that changed last first: a page may have no question.",
)


def list_waiting(page: Page, db: str) -> Steps[Listing]:
    """List sessions of agents, then of teams, then of workflows; `db` is the query for the database."""
    return collect(page, [_Sessions(kind, page.agent_id, db) for kind in ("agent", "team", "workflow")], notes=_NOTES)


@dataclass(frozen=True, slots=True)
class _Sessions:
    """The sessions of one kind."""

    name: str
    component: str | None
    db: str
    per_search = 1
    per_candidate = 2
    """The list of runs, and the paused run."""

    def search(self, offset: int, room: int) -> Steps[Batch]:
        """Read the block with the next sessions."""
        query = [f"type={self.name}", f"limit={_BLOCK}", f"page={offset // _BLOCK + 1}"]
        query += ["sort_by=updated_at", "sort_order=desc"]
        query += [] if self.component is None else [f"component_id={segment(self.component)}"]
        (answer,) = yield from Ask((Request.get("/sessions?" + "&".join(filter(None, (*query, self.db)))),))
        rows: list[dict[str, Any]] = read_lookup(answer)["data"]
        taken = rows[offset % _BLOCK :][:room]
        end = offset % _BLOCK + len(taken)
        over = end >= len(rows) and len(rows) < _BLOCK
        return Batch([Candidate(row["session_id"]) for row in taken], None if over else offset + len(taken))
