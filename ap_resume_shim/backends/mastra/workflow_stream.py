"""A workflow's stream, which is records of JSON with 0x1E between them under `text/plain`, as the draft's events."""

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
    """Bytes in, in any split; complete records out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """Take the next bytes."""
        *whole, self._rest = (self._rest + chunk).split(_BETWEEN)
        if len(self._rest) > MAX_EVENT:
            raise UpstreamError(f"The backend's stream holds a record of more than {MAX_EVENT} bytes.")
        return [record for record in map(_read, whole) if isinstance(record, dict)]


def refusal_in(record: dict[str, Any]) -> str | None:
    """Why the server did not resume the run: the last record of a run that failed in no step."""
    if record.get("type") != "workflow-finish":
        return None
    text = (_payload(record).get("metadata") or {}).get("errorMessage")
    return text if isinstance(text, str) else None


class WorkflowStream(EventReframer):
    """Each step that ends is an update, and what belongs to no step of the draft is custom.

    Its last record calls a run a success whose other questions are still open, so that these are kept in mind here.
    """

    def __init__(self, emitter: Emitter, left: Iterable[StepQuestion], schemas: Mapping[str, Any]) -> None:
        """`left`: the questions that this resume leaves as they are; `schemas`: of the answers, by step."""
        super().__init__(emitter)
        self._records, self._schemas = Records(), schemas
        self._open: dict[str, list[Interrupt]] = {}
        for question in left:
            self._open.setdefault(question.step, []).append(question.interrupt)
        self._item: dict[str, int] = {}
        self._error: Any = None

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; give the events that they complete."""
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
        """A workflow within the workflow asks what its own step has asked; a `foreach`, what it had asked before."""
        name = str(step.get("id"))
        if name in self._open or any(other.startswith(f"{name}.") for other in self._open):
            return
        value = without_meta(step.get("suspendPayload"))
        question = StepQuestion((name,), value, step.get("suspendedAt"), self._item.get(name), self._schemas.get(name))
        self._open[name] = [question.interrupt]

    def _finish(self, payload: dict[str, Any]) -> bytes:
        told = (payload.get("metadata") or {}).get("errorMessage")
        error = self._error if told is None else {"message": told}
        result = payload.get("finalWorkflowResult")
        self._ended = outcome({"status": payload.get("workflowStatus"), "error": error, "result": result})
        if self._ended.error is not None:
            return self._emit.error(self._ended.error)
        if self._open:
            return self._emit.interrupted(asked for step in self._open.values() for asked in step)
        return self._emit.values({} if result is None else result)


def _read(record: bytes) -> Any:
    try:
        return strictjson.read(record)
    except ValueError:
        return None


def _payload(record: dict[str, Any]) -> dict[str, Any]:
    payload = record.get("payload")
    return payload if isinstance(payload, dict) else {}
