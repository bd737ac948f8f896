"""An A2A agent's events: as the draft has them for the client."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.backends.a2a.bindings import told, unwrapped
from ap_resume_shim.backends.a2a.task import Json, Task, message, text_of
from ap_resume_shim.core import sse
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.reframer import Ended, EventReframer


class A2aStream(EventReframer):
    """Messages as they are said, updates for what was made, values when the task is at rest.

    It ends there, since agents may hold a stream open that has told a question.
    """

    def __init__(self, emitter: Emitter, before: Task, answer: Json) -> None:
        """`before`: the task as it asked; `answer`: the message that it is sent."""
        super().__init__(emitter)
        self._answered = before.question.id
        self._task = before.answered_by(answer)
        self._made: dict[str, str] = {}
        self._error: Any = None

    def finish(self) -> bytes:
        """JSON-RPC tells an agent that failed at once in no event, but in a body of its own."""
        if self.over:
            return b""
        body = Response(200, (), self._decoder.rest).json
        return self._failed(body["error"]) if isinstance(body, dict) and "error" in body else self._rest()

    def ended(self) -> Ended:
        """What the events have told."""
        error = self._error if self._error is not None else self._task.error
        return Ended(self._task.values, error)

    def _reframe(self, event: sse.Event) -> bytes:
        value = event.json
        if not isinstance(value, dict):
            return b""
        if event.name == "error" or "error" in value:
            return self._failed(value.get("error", value))
        kind, body = told(unwrapped(value))
        match kind:
            case "task":
                self._task = Task(body)
                return self._rest() if self._is_at_rest else b""
            case "status":
                return self._status(body)
            case "artifact":
                return self._artifact(body)
            case "message":
                self._add("history", body)
                return self._say(body) + self._rest()
        return b""

    def _status(self, update: Json) -> bytes:
        before, now = self._task.value.get("status") or {}, update.get("status") or {}
        if before.get("message"):
            self._add("history", before["message"])
        self._task = Task({**self._task.value, "status": now})
        said = self._say(now["message"]) if now.get("message") else b""
        return said + self._emit.custom({"status": now}) + (self._rest() if self._is_at_rest else b"")

    def _artifact(self, update: Json) -> bytes:
        artifact = update.get("artifact") or {}
        key, name = str(artifact.get("artifactId")), str(artifact.get("name") or artifact.get("artifactId"))
        there = {str(item.get("artifactId")): item for item in self._task.value.get("artifacts") or ()}
        if update.get("append") and key in there:
            artifact = {**there[key], "parts": [*there[key].get("parts", ()), *artifact.get("parts", ())]}
        self._task = Task({**self._task.value, "artifacts": list({**there, key: artifact}.values())})
        self._made[key] = name
        text = text_of(update.get("artifact") or {})
        said = self._emit.message("assistant", text, id=key, artifact=name) if text else b""
        return said + (self._made_of(key) if update.get("lastChunk") else b"")

    def _made_of(self, key: str) -> bytes:
        artifacts = {str(item.get("artifactId")): item for item in self._task.value.get("artifacts") or ()}
        return self._emit.update(self._made.pop(key), artifacts[key])

    def _rest(self) -> bytes:
        """The task is at rest: all that is left to tell."""
        self.over = True
        made = b"".join([self._made_of(key) for key in list(self._made)])
        values = self._emit.values(self._task.values)
        if self._task.error is not None:
            return made + values + self._emit.error(self._task.error)
        return made + values + (self._emit.interrupted([self._task.question]) if self._task.waits else b"")

    def _failed(self, error: Any) -> bytes:
        self.over, self._error = True, error
        return self._emit.error(error)

    def _say(self, said: Json) -> bytes:
        spoken = message(said)
        return self._emit.message(spoken["role"], spoken["content"], id=spoken["id"])

    def _add(self, where: str, item: Json) -> None:
        self._task = Task({**self._task.value, where: [*(self._task.value.get(where) or ()), item]})

    @property
    def _is_at_rest(self) -> bool:
        """Servers may tell the task as it was first, with the question that was answered."""
        return not self._task.works and not (self._task.waits and self._task.question.id == self._answered)
