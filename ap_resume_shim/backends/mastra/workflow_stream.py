"""Converts a workflow's stream to the draft's events. It is `text/plain`: JSON records, separated by the byte 0x1E."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ap_resume_shim.backends.mastra.messages import plain
from ap_resume_shim.backends.mastra.workflow_steps import StepQuestion, outcome, without_meta
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import UpstreamError
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.reframer import EventReframer
from ap_resume_shim.core.sse import MAX_EVENT

_BETWEEN = b"\x1e"


class Records:
    """Decoder for the records: takes bytes in any chunks, and returns complete records."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """Add the next bytes. Return the records that they complete. Raises `UpstreamError` for an oversized record."""
        *whole, self._rest = (self._rest + chunk).split(_BETWEEN)
        if len(self._rest) > MAX_EVENT:
            raise UpstreamError(f"The backend's stream contains a record of more than {MAX_EVENT} bytes.")
        return [record for record in map(_read, whole) if isinstance(record, dict)]


def refusal_in(record: dict[str, Any]) -> str | None:
    """Return why the server did not resume the run: the error in the last record of a run that failed in no step."""
    if record.get("type") != "workflow-finish":
        return None
    text = (_payload(record).get("metadata") or {}).get("errorMessage")
    return text if isinstance(text, str) else None


class WorkflowStream(EventReframer):
    """Sends an update for each step that ends, and records without a counterpart in the draft as custom.

    The last record reports success even if other questions are open, so this class stores the open questions.
    """

    def __init__(self, emitter: Emitter, left: Iterable[StepQuestion], schemas: Mapping[str, Any]) -> None:
        """`left` are the questions that this resume does not answer; `schemas` are the answers' schemas, by step."""
        super().__init__(emitter)
        self._records, self._schemas = Records(), schemas
        self._open: dict[str, list[Interrupt]] = {}
        for question in left:
            self._open.setdefault(question.step, []).append(question.interrupt)
        self._item: dict[str, int] = {}
        self._error: Any = None

    def feed(self, chunk: bytes) -> bytes:
        """Add the next bytes. Return the events that they complete."""
        return b"".join(map(self._reframe_object, self._records.feed(chunk)))

    def _reframe_object(self, record: dict[str, Any]) -> bytes:
        payload = _payload(record)
        match record.get("type"):
            case "workflow-start":
                return b""
            case "workflow-step-result":
                return self._result(payload)
            case "workflow-step-suspended":
                self._ask(payload)
                return b""
            case "workflow-finish":
                return self._finish(payload)
            case "workflow-step-progress" if payload.get("iterationStatus") == "suspended":
                self._item.setdefault(str(payload.get("id")), payload.get("currentIndex", 0))
        return self._emit.custom(plain(record))

    def _result(self, step: dict[str, Any]) -> bytes:
        if step.get("status") == "failed":
            self._error = plain(step.get("error"))
            return b""
        return self._emit.update(str(step.get("id")), step.get("output"))

    def _ask(self, step: dict[str, Any]) -> None:
        """Add a question. Skip the repetition of one by a nested workflow (its step's) or a `foreach` (its first)."""
        name = str(step.get("id"))
        if name in self._open or any(other.startswith(f"{name}.") for other in self._open):
            return
        value = without_meta(step.get("suspendPayload"))
        question = StepQuestion((name,), value, step.get("suspendedAt"), self._item.get(name), self._schemas.get(name))
        self._open[name] = [question.interrupt]

    def _finish(self, payload: dict[str, Any]) -> bytes:
        message = (payload.get("metadata") or {}).get("errorMessage")
        error = self._error if message is None else {"message": message}
        result = payload.get("finalWorkflowResult")
        self._ended = outcome({"status": payload.get("workflowStatus"), "error": error, "result": result})
        if self._ended.error is not None:
            return self._emit.error(self._ended.error)
        if self._open:
            return self._emit.interrupted(interrupt for step in self._open.values() for interrupt in step)
        return self._emit.values({} if result is None else result)


def _read(record: bytes) -> Any:
    try:
        return strictjson.read(record)
    except ValueError:
        return None


def _payload(record: dict[str, Any]) -> dict[str, Any]:
    payload = record.get("payload")
    return payload if isinstance(payload, dict) else {}
