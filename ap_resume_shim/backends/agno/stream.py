"""Converts AgentOS's events to the draft's events.

A run's stream contains the events of the runs below it as well (a team's members, the agents of a workflow's steps).
They are passed on, but only the run's own events show how it ends.
"""

from __future__ import annotations

from typing import Any

from ap_resume_shim.backends.agno.questions import questions_of
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.reframer import Ended, EventReframer

_ENDS = {
    "RunCompleted": "completed",
    "WorkflowCompleted": "completed",
    "RunPaused": "paused",
    "WorkflowPaused": "paused",
    "RunError": "failed",
    "WorkflowError": "failed",
    "RunCancelled": "failed",
    "WorkflowCancelled": "failed",
    "error": "failed",
}
_FRAMES = frozenset({"catch_up", "subscribed", "replay", "WorkflowRunOutput"})
"""Events that are dropped: those of a joined stream, and the run itself, which older clients expect after a pause."""


class AgnoStream(EventReframer):
    """Converts the events of one run; its last event shows how it ended."""

    def __init__(self, emitter: Emitter, run_id: str, now: str) -> None:
        super().__init__(emitter)
        self._run_id, self._now = run_id, now
        self._last: dict[str, Any] = {}
        """The last event that showed how the run ended; a joined stream repeats earlier pauses."""

    def finish(self) -> bytes:
        """Send the values, the questions, or an error if the stream ended before the run."""
        if self._outcome == "completed":
            return self._emit.values(_values(self._last))
        if self._outcome == "paused":
            return self._emit.interrupted(question.interrupt for question in questions_of(self._last, self._now))
        return b"" if self._outcome == "failed" else self._emit.error(_SILENT)

    def ended(self) -> Ended:
        """Return the run's values or error; a paused run has no values yet."""
        if self._outcome == "completed":
            return Ended(_values(self._last))
        if self._outcome == "paused":
            return Ended()
        return Ended(error=_error(self._last) if self._outcome == "failed" else _SILENT)

    @property
    def _outcome(self) -> str | None:
        return _ENDS.get(plain_name(self._last))

    def _reframe_object(self, event: dict[str, Any]) -> bytes:
        name = plain_name(event)
        if name in _ENDS and event.get("run_id") in (None, self._run_id):
            return self._end(event)
        if name in _FRAMES:
            return b""
        if name == "RunContent":
            return self._send_content(event)
        if name == "ToolCallCompleted":
            tool = event.get("tool") or {}
            return self._emit.update(str(tool.get("tool_name")), tool.get("result"))
        if name == "StepCompleted":
            return self._emit.update(str(event.get("step_name")), event.get("content"))
        return self._emit.custom(event)

    def _end(self, event: dict[str, Any]) -> bytes:
        """Store the end of the run. A workflow repeats its failure, or reports success after it; both are dropped."""
        if self._outcome == "failed":
            return b""
        self._last = event
        if self._outcome == "completed":
            return self._emit.update(str(_component(event)), _values(event))
        return self._emit.error(_error(event)) if self._outcome == "failed" else b""

    def _send_content(self, event: dict[str, Any]) -> bytes:
        """Send a part of a message; the event of a tool call has no content."""
        content = event.get("content")
        if content in (None, ""):
            return b""
        return self._emit.message("assistant", content, id=event.get("run_id"), name=_component(event))


def plain_name(event: dict[str, Any]) -> str:
    """Return an event's name without the prefix of a team's events."""
    return str(event.get("event", "")).removeprefix("Team")


def text_of(event: dict[str, Any]) -> str:
    """Return the text of a failure event."""
    return str(event.get("error") or event.get("content") or event.get("reason") or "The run was cancelled.")


def _error(event: dict[str, Any]) -> dict[str, Any]:
    kind = "cancelled" if plain_name(event).endswith("Cancelled") else event.get("error_type")
    return {"message": text_of(event), **({"type": kind} if kind else {})}


def _values(event: dict[str, Any]) -> dict[str, Any]:
    state = event.get("session_state")
    return {"content": event.get("content"), **({"session_state": state} if state else {})}


def _component(event: dict[str, Any]) -> Any:
    return event.get("agent_id") or event.get("team_id") or event.get("workflow_id")


_SILENT = {"message": "AgentOS ended the stream before it reported how the run ended: read its log."}
