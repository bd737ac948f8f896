"""Lists the threads that may wait, with the request of a profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core.dialect_helpers import Rule, read_lookup
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.json_pointer import MISSING, point
from ap_resume_shim.core.listing import Batch, Candidate
from ap_resume_shim.core.steps import Ask, Steps
from ap_resume_shim.profiles.lookup import about_the_thread, with_headers
from ap_resume_shim.profiles.schema import ListTable, Profile
from ap_resume_shim.profiles.template import fill, fill_path


@dataclass(frozen=True, slots=True)
class ListedThreads:
    """The list of a profile, which is one search."""

    profile: Profile
    table: ListTable
    rules: tuple[Rule, ...]
    agent_id: str | None
    name = "threads"
    per_search = 1

    @property
    def per_candidate(self) -> int:
        """The number of lookups about a thread."""
        return len(about_the_thread(self.profile) & set(self.profile.lookup))

    def search(self, offset: int, room: int) -> Steps[Batch]:
        """Send the request. Raises `UpstreamUnrecognised` if its response has no list of threads with ids."""
        method, _, path = self.table.request.partition(" ")
        names = {"limit": room, "offset": offset, **({} if self.agent_id is None else {"agent_id": self.agent_id})}
        body = None if self.table.json_ is None else Request.post("", fill(self.table.json_, names)).body
        target = fill_path(path, {"agent_id": "", **names})
        (answer,) = yield from Ask((with_headers(self.profile, Request(method, target, body)),))
        rows = point(read_lookup(answer, self.rules), self.table.threads)
        if not isinstance(rows, list):
            raise UpstreamUnrecognised(f"The profile {self.profile.name!r} finds no list of threads in the response.")
        candidates = [Candidate(_text(row, self.table.thread_id), _optional(row, self.table.agent_id)) for row in rows]
        pages = "offset" in self.table.request or "$offset" in str(self.table.json_)
        return Batch(candidates[:room], offset + room if pages and len(rows) >= room else None)


def _text(row: Any, pointer: str) -> str:
    value = point(row, pointer)
    if not isinstance(value, str):
        raise UpstreamUnrecognised("A thread in the list has no id.")
    return value


def _optional(row: Any, pointer: str) -> str | None:
    value = point(row, pointer)
    return None if value is MISSING or not isinstance(value, str) else value
