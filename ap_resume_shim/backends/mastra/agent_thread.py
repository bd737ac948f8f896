"""A thread of an agent's memory: what its messages tell of the tool calls that wait, and what was said.

The list of suspended runs does not tell whether a run that waited has been resumed: it is in that list until it ends.
The messages do: the mark of a tool call that waits is taken away before the tool runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.backends.mastra.messages import plain
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.interrupt import Interrupt

QUESTION_ID = re.compile(r".+:[0-9a-f]{12}", re.DOTALL)
"""The id of a question that asks for a value: its tool call, and a digest of what it asks."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A tool call that waits, as its message has it."""

    call: str
    approval: bool
    schema: Any = None


@dataclass(frozen=True, slots=True)
class AgentQuestion:
    """A tool call of a run that waits."""

    agent: str
    run: str
    call: str
    approval: bool
    value: Any
    schema: Any = None

    @property
    def interrupt(self) -> Interrupt:
        """As the client sees it."""
        return asked(self.call, self.value, self.schema, approval=self.approval)


def asked(call: str, value: Any, schema: Any = None, *, approval: bool) -> Interrupt:
    """The question. A call is approved once, but may ask for values again and again: what it asks tells them apart."""
    if approval:
        return Interrupt(call, value)
    written = json.dumps(value, sort_keys=True)  # storages may keep the keys in another order
    digest = hashlib.sha256(written.encode()).hexdigest()[:12]
    return Interrupt(f"{call}:{digest}", value, schema)


def question_of(tool: dict[str, Any], *, approval: bool) -> Any:
    """What a call asks: whether it may run, told by its name and arguments, or what its tool says."""
    if approval:
        return {"toolName": tool.get("toolName"), "args": tool.get("args")}
    return tool.get("suspendPayload")


def marks_of(messages: Iterable[dict[str, Any]]) -> dict[str, Mark]:
    """The calls that wait. A mark stays where the answer was null: not at a call that has its result (`state`)."""
    return {mark.call: mark for message in messages for mark in _marks(message)}


def calls_of(messages: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The ids of all tool calls: each may have asked whether it may run."""
    calls = (part.get("toolInvocation") or {} for message in messages for part in _parts(message))
    return frozenset(str(call["toolCallId"]) for call in calls if call.get("toolCallId"))


def error_in(messages: list[dict[str, Any]]) -> Any:
    """Why the last run failed, where it did: the last part of the last message."""
    parts = _parts(messages[-1]) if messages else []
    return plain(parts[-1].get("error")) if parts and parts[-1].get("type") == "error" else None


def said(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages as the draft has them: role and content, which are the server's own parts."""
    return [{"id": message.get("id"), "role": message.get("role"), "content": _parts(message)} for message in messages]


def _marks(message: dict[str, Any]) -> Iterator[Mark]:
    content = message.get("content")
    metadata = (content.get("metadata") if isinstance(content, dict) else None) or {}
    calls = (part.get("toolInvocation") or {} for part in _parts(message))
    waiting = {call.get("toolCallId") for call in calls if call.get("state") != "result"}
    for kind, approval in (("pendingToolApprovals", True), ("suspendedTools", False)):
        for call, mark in (metadata.get(kind) or {}).items():
            if call in waiting:
                yield Mark(call, approval, schema_of(mark))


def schema_of(told: dict[str, Any]) -> Any:
    """The schema of the answer, which is written as JSON in JSON."""
    try:
        return strictjson.read(told.get("resumeSchema") or "null")
    except (TypeError, ValueError):
        return None


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts or () if isinstance(part, dict)]
