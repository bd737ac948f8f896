"""AgentOS's events, as the draft's.

A run's stream has the events of those below it as well, of a team's members and the agents of a workflow's steps: what
they say and do is passed on, but how the run ends is told by its own events alone.
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
"""Of the stream of a run that goes on already; and the run itself, which older clients wait for after a pause."""


class AgnoStream(EventReframer):
    """The events of one run, which tell by the last of them how it ended."""

    def __init__(self, emitter: Emitter, run_id: str, now: str) -> None:
        super().__init__(emitter)
        self._run_id, self._now = run_id, now
        self._last: dict[str, Any] = {}
        """The event that told last how the run ended: a run that is joined tells its earlier questions, too."""

    def finish(self) -> bytes:
        """What the run has come to."""
        if self._how == "completed":
            return self._emit.values(_values(self._last))
        if self._how == "paused":
            return self._emit.interrupted(question.interrupt for question in questions_of(self._last, self._now))
        return b"" if self._how == "failed" else self._emit.error(_SILENT)

    def ended(self) -> Ended:
        """A run that is paused has no values yet."""
        if self._how == "completed":
            return Ended(_values(self._last))
        if self._how == "paused":
            return Ended()
        return Ended(error=_error(self._last) if self._how == "failed" else _SILENT)

    @property
    def _how(self) -> str | None:
        return _ENDS.get(plain_name(self._last))

    def _reframe_object(self, event: dict[str, Any]) -> bytes:
        name = plain_name(event)
        if name in _ENDS and event.get("run_id") in (None, self._run_id):
            return self._end(event)
        if name in _FRAMES:
            return b""
        if name == "RunContent":
            return self._said(event)
        if name == "ToolCallCompleted":
            tool = event.get("tool") or {}
            return self._emit.update(str(tool.get("tool_name")), tool.get("result"))
        if name == "StepCompleted":
            return self._emit.update(str(event.get("step_name")), event.get("content"))
        return self._emit.custom(event)

    def _end(self, event: dict[str, Any]) -> bytes:
        """After a failure, a workflow tells it again, or that it has completed."""
        if self._how == "failed":
            return b""
        self._last = event
        if self._how == "completed":
            return self._emit.update(str(_who(event)), _values(event))
        return self._emit.error(_error(event)) if self._how == "failed" else b""

    def _said(self, event: dict[str, Any]) -> bytes:
        """A message comes word by word; a call of a tool is one without any."""
        content = event.get("content")
        if content in (None, ""):
            return b""
        return self._emit.message("assistant", content, id=event.get("run_id"), name=_who(event))


def plain_name(event: dict[str, Any]) -> str:
    """An event's name; a team's are those of an agent with a prefix."""
    return str(event.get("event", "")).removeprefix("Team")


def text_of(event: dict[str, Any]) -> str:
    """What an event of a failure says."""
    return str(event.get("error") or event.get("content") or event.get("reason") or "The run was cancelled.")


def _error(event: dict[str, Any]) -> dict[str, Any]:
    kind = "cancelled" if plain_name(event).endswith("Cancelled") else event.get("error_type")
    return {"message": text_of(event), **({"type": kind} if kind else {})}


def _values(event: dict[str, Any]) -> dict[str, Any]:
    state = event.get("session_state")
    return {"content": event.get("content"), **({"session_state": state} if state else {})}


def _who(event: dict[str, Any]) -> Any:
    return event.get("agent_id") or event.get("team_id") or event.get("workflow_id")


_SILENT = {"message": "AgentOS ended the stream, and did not say how the run ended: look into its log."}
