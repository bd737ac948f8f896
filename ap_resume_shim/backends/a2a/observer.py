"""Observes JSON-RPC 0.3 traffic, which cannot list tasks: the ledger stores the tasks of each context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ap_resume_shim.backends.a2a.bindings import OldRpc, kind_and_content, unwrapped
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import ThreadEntry
from ap_resume_shim.core.observers import JsonObserver
from ap_resume_shim.core.steps import Entry


class A2aObserver(JsonObserver):
    """Returns an entry with task and context for each response to a method of JSON-RPC 0.3."""

    def __init__(self) -> None:
        super().__init__()
        self._noted: set[tuple[str, str]] = set()

    def request(self, body: bytes) -> None:
        """Read the method; responses to other methods are ignored."""
        try:
            value = strictjson.read(body)
        except ValueError:
            value = None
        self._reads = isinstance(value, dict) and value.get("method") in OldRpc.methods.values()

    def _entries_in(self, value: dict[str, Any]) -> Iterator[ThreadEntry]:
        kind, body = kind_and_content(unwrapped(value))
        context, task = body.get("contextId"), body.get("id" if kind == "task" else "taskId")
        if isinstance(context, str) and isinstance(task, str) and (context, task) not in self._noted:
            self._noted.add((context, task))
            yield context, Entry({"task": task})
