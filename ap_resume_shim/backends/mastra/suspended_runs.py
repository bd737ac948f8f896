"""The suspended runs of Mastra's agents, as the server lists them: those of one thread, or of all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.backends.mastra import messages as wire
from ap_resume_shim.core.dialect_helpers import error_text
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.listing import Batch, Candidate
from ap_resume_shim.core.steps import Ask, Steps

_BLOCK = 100
"""Number of runs that one request lists. It is always the same, since the server counts in pages."""

AgentRun = tuple[str, dict[str, Any]]
"""A suspended run, after the name of its agent."""


def runs_of(agents: Iterable[str], answers: Iterable[Response]) -> list[AgentRun]:
    """Return the suspended runs in the responses for these agents."""
    return [(name, run) for name, answer in zip(agents, answers, strict=True) for run in _runs(answer)]


def listed_calls(runs: Iterable[AgentRun]) -> set[Any]:
    """Return the ids of the waiting calls in the suspended runs."""
    return {call.get("toolCallId") for _, run in runs for call in run["toolCalls"]}


def _runs(answer: Response) -> list[dict[str, Any]]:
    """Return the suspended runs in a response; an agent without memory has none."""
    if answer.status == 403 and "no memory configured" in error_text(answer):
        return []
    runs: list[dict[str, Any]] = wire.read(answer)["runs"]
    return runs


@dataclass(frozen=True, slots=True)
class Suspended:
    """The threads with suspended runs of one agent, as a part of a list."""

    name: str
    prefix: str
    per_search = per_candidate = 1

    def search(self, offset: int, room: int) -> Steps[Batch]:
        """Read the block with the next runs, and return the threads of the first ones."""
        path = f"{self.prefix}/agents/{segment(self.name)}/suspended-runs?perPage={_BLOCK}&page={offset // _BLOCK}"
        (answer,) = yield from Ask((Request.get(path),))
        runs = _runs(answer)
        left = runs[offset % _BLOCK :]
        threads: dict[str, list[AgentRun]] = {}
        taken = 0
        for run in left:
            thread_id = run.get("threadId")
            if thread_id not in threads and len(threads) == room:
                break
            if thread_id:  # a run without memory belongs to no thread
                threads.setdefault(thread_id, []).append((self.name, run))
            taken += 1
        over = taken == len(left) and len(runs) < _BLOCK
        candidates = [Candidate(thread_id, its) for thread_id, its in threads.items()]
        return Batch(candidates, None if over else offset + taken)
