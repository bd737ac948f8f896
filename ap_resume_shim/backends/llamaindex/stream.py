"""Converts the log of a LlamaIndex run to the draft's events, and collects the run's values."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.backends.llamaindex.event_log import Log, fields, is_a, read
from ap_resume_shim.core import sse
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.reframer import Ended, EventReframer

CANCELLED = "The run was cancelled."
"""The error of a cancelled run; the server gives no reason."""


class LlamaIndexStream(EventReframer):
    """Sends the log's new entries, until the run waits again or is over."""

    def __init__(self, emitter: Emitter, log: Log, run_id: str) -> None:
        """`log` is the log as it was when the answer was sent."""
        super().__init__(emitter)
        self._log, self._run_id, self._received = log, run_id, False
        self.over = log.over

    def _reframe(self, event: sse.Event) -> bytes:
        number, value = read(event)
        self._log.add(number, value)
        self._received = self._received or value["type"] in ("StepStateChanged", "UnhandledEvent")
        self.over = self._log.over or (self._log.waits and self._received)  # the log does not end with a question
        return self._reframe_object(value)

    def _reframe_object(self, event: dict[str, Any]) -> bytes:
        if self._log.over:
            return self._stopped(event)
        if event["type"] == "WorkflowIdleEvent":
            return self._emit.interrupted([question.interrupt(self._run_id) for question in self._log.open_questions])
        if event["type"] == "StepStateChanged":
            return self._step(event["value"])
        if is_a(event, "InternalDispatchEvent") or is_a(event, "InputRequiredEvent"):
            return b""
        return self._emit.custom({"type": event["type"], "value": fields(event)})

    def _step(self, change: dict[str, Any]) -> bytes:
        """Send an update for a step that has ended, with the class of its output; the log omits the event itself."""
        if change["step_state"] != "not_running":
            return b""
        output = str(change["output_event_name"] or "").rstrip("'>").rpartition(".")[2]  # "<class 'module.Class'>"
        return self._emit.update(change["name"], {"event": output or None})

    def _stopped(self, event: dict[str, Any]) -> bytes:
        error = _error(event)
        if error is not None:
            self._ended = Ended(error=error)
            return self._emit.error({"message": error})
        self._ended = Ended(values(event))
        return self._emit.values(self._ended.values)


def values(event: dict[str, Any]) -> dict[str, Any]:
    """Return the values in the last event of a run: the result of a `StopEvent`, or the fields of a subclass."""
    event_fields = fields(event)
    if event["type"] != "StopEvent":
        return event_fields
    result = event_fields.get("result")
    return result if isinstance(result, dict) else {"result": result}


def _error(event: dict[str, Any]) -> str | None:
    """Return the error in the last event, with the text that the handler has; None if the run did not fail."""
    match event["type"]:
        case "WorkflowFailedEvent":
            return str(event["value"]["exception"]["exception_message"])
        case "WorkflowTimedOutEvent":
            return f"Workflow timed out after {event['value']['timeout']}s"
        case "WorkflowCancelledEvent":
            return CANCELLED
    return None
