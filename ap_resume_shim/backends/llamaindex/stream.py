"""LlamaIndex's log of a run as the draft's events, and what a run has given."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.backends.llamaindex.event_log import Log, fields, is_a, read
from ap_resume_shim.core import sse
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.reframer import Ended, EventReframer

CANCELLED = "The run was cancelled."
"""Of which the server says nothing more."""


class LlamaIndexStream(EventReframer):
    """The log's new entries, until the run waits again or is over."""

    def __init__(self, emitter: Emitter, log: Log, run_id: str) -> None:
        """`log`: as it stood when the answer was sent."""
        super().__init__(emitter)
        self._log, self._run_id, self._heard = log, run_id, False
        self.over = log.over

    def _reframe(self, event: sse.Event) -> bytes:
        number, value = read(event)
        self._log.take(number, value)
        self._heard = self._heard or value["type"] in ("StepStateChanged", "UnhandledEvent")
        self.over = self._log.over or (self._log.waits and self._heard)  # the log does not end with a question
        return self._reframe_object(value)

    def _reframe_object(self, event: dict[str, Any]) -> bytes:
        if self._log.over:
            return self._stopped(event)
        if event["type"] == "WorkflowIdleEvent":
            return self._emit.interrupted([question.interrupt(self._run_id) for question in self._log.asked])
        if event["type"] == "StepStateChanged":
            return self._step(event["value"])
        if is_a(event, "InternalDispatchEvent") or is_a(event, "InputRequiredEvent"):
            return b""
        return self._emit.custom({"type": event["type"], "value": fields(event)})

    def _step(self, change: dict[str, Any]) -> bytes:
        """A step that has ended, with the class of what it gave: the event itself is not in the log."""
        if change["step_state"] != "not_running":
            return b""
        gave = str(change["output_event_name"] or "").rstrip("'>").rpartition(".")[2]  # "<class 'module.Class'>"
        return self._emit.update(change["name"], {"event": gave or None})

    def _stopped(self, event: dict[str, Any]) -> bytes:
        error = _error(event)
        if error is not None:
            self._ended = Ended(error=error)
            return self._emit.error({"message": error})
        self._ended = Ended(values(event))
        return self._emit.values(self._ended.values)


def values(event: dict[str, Any]) -> dict[str, Any]:
    """What the last event of a run holds: the framework's own is put around any value, others have fields."""
    given = fields(event)
    if event["type"] != "StopEvent":
        return given
    result = given.get("result")
    return result if isinstance(result, dict) else {"result": result}


def _error(event: dict[str, Any]) -> str | None:
    """In the words that the handler has for it."""
    match event["type"]:
        case "WorkflowFailedEvent":
            return str(event["value"]["exception"]["exception_message"])
        case "WorkflowTimedOutEvent":
            return f"Workflow timed out after {event['value']['timeout']}s"
        case "WorkflowCancelledEvent":
            return CANCELLED
    return None
