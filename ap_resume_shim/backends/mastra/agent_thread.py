"""Reads a thread of an agent's memory: waiting tool calls and messages.

A resumed run stays in the list of suspended runs until it ends, so that list does not show whether a run waits. The
messages do: the server removes the mark of a waiting tool call before the tool runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ap_resume_shim.backends.mastra.messages import plain
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.interrupt import Interrupt

QUESTION_ID = re.compile(r".+:[0-9a-f]{12}", re.DOTALL)
"""The form of the id of a question for a value: its tool call, and a digest of the question's contents."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of a waiting tool call in a message."""

    call: str
    approval: bool
    schema: Any = None


@dataclass(frozen=True, slots=True)
class AgentQuestion:
    """A tool call of a waiting run."""

    agent: str
    run: str
    call: str
    approval: bool
    value: Any
    schema: Any = None
    asked_at: str | None = None

    @property
    def interrupt(self) -> Interrupt:
        """The question as an `Interrupt`."""
        interrupt = interrupt_of(self.call, self.value, self.schema, approval=self.approval)
        return replace(interrupt, asked_at=self.asked_at)


def interrupt_of(call: str, value: Any, schema: Any = None, *, approval: bool) -> Interrupt:
    """Return the question of a tool call.

    A call is approved once, but may ask for several values: the id of such a question has a digest of its contents.
    """
    if approval:
        return Interrupt(call, value)
    canonical = json.dumps(value, sort_keys=True)  # storages may reorder the keys
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    return Interrupt(f"{call}:{digest}", value, schema)


def question_of(tool: dict[str, Any], *, approval: bool) -> Any:
    """Return the contents of a question: name and arguments of a call to approve, or the tool's `suspendPayload`."""
    if approval:
        return {"toolName": tool.get("toolName"), "args": tool.get("args")}
    return tool.get("suspendPayload")


def marks_of(messages: Iterable[dict[str, Any]]) -> dict[str, Mark]:
    """Return the marks of waiting calls, by call id.

    A mark stays after a null answer, so a mark of a call that has its result (`state`) is ignored.
    """
    return {mark.call: mark for message in messages for mark in _marks(message)}


def calls_of(messages: Iterable[dict[str, Any]]) -> frozenset[str]:
    """Return the ids of all tool calls: each may have asked for an approval."""
    calls = (part.get("toolInvocation") or {} for message in messages for part in _parts(message))
    return frozenset(str(call["toolCallId"]) for call in calls if call.get("toolCallId"))


def error_in(messages: list[dict[str, Any]]) -> Any:
    """Return the error of the last run: the last part of the last message, if that is an error."""
    parts = _parts(messages[-1]) if messages else []
    return plain(parts[-1].get("error")) if parts and parts[-1].get("type") == "error" else None


def draft_messages(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Convert messages to the draft's format. The content is the server's list of parts."""
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


def schema_of(mark: dict[str, Any]) -> Any:
    """Return the schema of the answer, which is a JSON text within the JSON; None if it is unreadable."""
    try:
        return strictjson.read(mark.get("resumeSchema") or "null")
    except (TypeError, ValueError):
        return None


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts or () if isinstance(part, dict)]
