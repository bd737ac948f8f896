"""LlamaIndex's log of a run as the draft's events, and what a run has given."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.backends.llamaindex.event_log import Log, fields, is_a, read
from ap_resume_shim.core import sse
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.reframer import Ended

CANCELLED = "The run was cancelled."
"""Of which the server says nothing more."""


class Events:
    """The log's new entries, until the run waits again or is over."""

    def __init__(self, emitter: Emitter, log: Log, run_id: str) -> None:
        """`log`: as it stood when the answer was sent."""
        self._decoder, self._emitter, self._log, self._run_id = sse.Decoder(), emitter, log, run_id
        self._ended, self._heard = Ended(), False

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; give the events that they complete."""
        told = b""
        for number, event in read(self._decoder, chunk):
            if not self.over:
                self._log.take(number, event)
                self._heard = self._heard or event["type"] in ("StepStateChanged", "UnhandledEvent")
                told += self._told(event)
        return told

    def finish(self) -> bytes:
        """Nothing is held back."""
        return b""

    @property
    def between_events(self) -> bool:
        """Events are written whole."""
        return True

    @property
    def over(self) -> bool:
        """The log itself ends with a run, not with a question."""
        return self._log.over or (self._log.waits and self._heard)

    def ended(self) -> Ended:
        """By the last event."""
        return self._ended

    def _told(self, event: dict[str, Any]) -> bytes:
        if self._log.over:
            return self._stopped(event)
        if event["type"] == "WorkflowIdleEvent":
            return self._emitter.interrupted([question.interrupt(self._run_id) for question in self._log.asked])
        if event["type"] == "StepStateChanged":
            return self._step(event["value"])
        if is_a(event, "InternalDispatchEvent") or is_a(event, "InputRequiredEvent"):
            return b""
        return self._emitter.custom({"type": event["type"], "value": fields(event)})

    def _step(self, change: dict[str, Any]) -> bytes:
        """A step that has ended, with the class of what it gave: the event itself is not in the log."""
        if change["step_state"] != "not_running":
            return b""
        gave = str(change["output_event_name"] or "").rstrip("'>").rpartition(".")[2]  # "<class 'module.Class'>"
        return self._emitter.update(change["name"], {"event": gave or None})

    def _stopped(self, event: dict[str, Any]) -> bytes:
        error = _error(event)
        if error is not None:
            self._ended = Ended(error=error)
            return self._emitter.error({"message": error})
        self._ended = Ended(values(event))
        return self._emitter.values(self._ended.values)


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
