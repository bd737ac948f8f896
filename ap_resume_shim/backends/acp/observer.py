"""Observes ACP traffic: the ledger stores the runs of a session, which the server does not list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ap_resume_shim.core.dialect import ThreadEntry
from ap_resume_shim.core.observers import JsonObserver
from ap_resume_shim.core.steps import Entry


class AcpObserver(JsonObserver):
    """Returns an entry when a run starts, and when it has ended."""

    def __init__(self, *, resumed: bool) -> None:
        super().__init__()
        self._known = resumed
        """True if the ledger has the run."""

    def _entries_in(self, value: dict[str, Any]) -> Iterator[ThreadEntry]:
        run = value.get("run", value)  # from an event, or the body itself
        if not isinstance(run, dict) or not {"run_id", "session_id"} <= set(run):
            return
        over = run.get("status") in ("completed", "failed", "cancelled")
        if over and self._known:
            yield str(run["session_id"]), Entry({"run_id": run["run_id"], "over": True})
        elif not over and not self._known:
            self._known = True
            yield str(run["session_id"]), Entry({"run_id": run["run_id"]})


def runs_in_ledger(entries: Iterable[Entry]) -> dict[str, bool]:
    """Return the runs in the ledger, newest first, with True for those that are over. Skips unreadable entries."""
    over: dict[str, bool] = {}
    for entry in entries:
        match entry.facts:
            case {"run_id": str(run_id), "over": bool(ended)}:
                over.setdefault(run_id, ended)
            case {"run_id": str(run_id)}:
                over.setdefault(run_id, False)
    return over
