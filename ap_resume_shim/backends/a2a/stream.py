"""Converts the event stream of an A2A agent to the draft's events."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.backends.a2a.bindings import kind_and_content, unwrapped
from ap_resume_shim.backends.a2a.task import Json, Task, message, text_of
from ap_resume_shim.core import sse
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.reframer import Ended, EventReframer


class A2aStream(EventReframer):
    """Sends messages as they arrive, an update for each artifact, and the values when the task stops.

    The stream ends when the task stops, since an agent may keep it open after a question.
    """

    def __init__(self, emitter: Emitter, before: Task, answer: Json) -> None:
        """`before` is the task with its question; `answer` is the message that is sent to it."""
        super().__init__(emitter)
        self._answered = before.question.id
        self._task = before.answered_by(answer)
        self._pending_artifacts: dict[str, str] = {}
        self._error: Any = None

    def finish(self) -> bytes:
        """Send the final events. If an agent fails at once, JSON-RPC sends a JSON body instead of events."""
        if self.over:
            return b""
        body = Response(200, (), self._decoder.rest).json
        return self._fail(body["error"]) if isinstance(body, dict) and "error" in body else self._send_rest()

    def ended(self) -> Ended:
        """Return the task's values and error, as collected from the events."""
        error = self._error if self._error is not None else self._task.error
        return Ended(self._task.values, error)

    def _reframe(self, event: sse.Event) -> bytes:
        value = event.json
        if not isinstance(value, dict):
            return b""
        if event.name == "error" or "error" in value:
            return self._fail(value.get("error", value))
        kind, body = kind_and_content(unwrapped(value))
        match kind:
            case "task":
                self._task = Task(body)
                return self._send_rest() if self._is_at_rest else b""
            case "status":
                return self._status(body)
            case "artifact":
                return self._artifact(body)
            case "message":
                self._add("history", body)
                return self._send_message(body) + self._send_rest()
        return b""

    def _status(self, update: Json) -> bytes:
        before, now = self._task.value.get("status") or {}, update.get("status") or {}
        if before.get("message"):
            self._add("history", before["message"])
        self._task = Task({**self._task.value, "status": now})
        output = self._send_message(now["message"]) if now.get("message") else b""
        return output + self._emit.custom({"status": now}) + (self._send_rest() if self._is_at_rest else b"")

    def _artifact(self, update: Json) -> bytes:
        artifact = update.get("artifact") or {}
        key, name = str(artifact.get("artifactId")), str(artifact.get("name") or artifact.get("artifactId"))
        known = {str(item.get("artifactId")): item for item in self._task.value.get("artifacts") or ()}
        if update.get("append") and key in known:
            artifact = {**known[key], "parts": [*known[key].get("parts", ()), *artifact.get("parts", ())]}
        self._task = Task({**self._task.value, "artifacts": list({**known, key: artifact}.values())})
        self._pending_artifacts[key] = name
        text = text_of(update.get("artifact") or {})
        output = self._emit.message("assistant", text, id=key, artifact=name) if text else b""
        return output + (self._artifact_update(key) if update.get("lastChunk") else b"")

    def _artifact_update(self, key: str) -> bytes:
        artifacts = {str(item.get("artifactId")): item for item in self._task.value.get("artifacts") or ()}
        return self._emit.update(self._pending_artifacts.pop(key), artifacts[key])

    def _send_rest(self) -> bytes:
        """End the stream: send the remaining artifacts, the values, and the error or the question."""
        self.over = True
        artifacts = b"".join([self._artifact_update(key) for key in list(self._pending_artifacts)])
        values = self._emit.values(self._task.values)
        if self._task.error is not None:
            return artifacts + values + self._emit.error(self._task.error)
        return artifacts + values + (self._emit.interrupted([self._task.question]) if self._task.waits else b"")

    def _fail(self, error: Any) -> bytes:
        self.over, self._error = True, error
        return self._emit.error(error)

    def _send_message(self, value: Json) -> bytes:
        converted = message(value)
        return self._emit.message(converted["role"], converted["content"], id=converted["id"])

    def _add(self, where: str, item: Json) -> None:
        self._task = Task({**self._task.value, where: [*(self._task.value.get(where) or ()), item]})

    @property
    def _is_at_rest(self) -> bool:
        """True if the task stopped.

        A server may first send the task as it was, with the question that has been answered.
        """
        return not self._task.works and not (self._task.waits and self._task.question.id == self._answered)
