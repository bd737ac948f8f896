"""An A2A agent's events: as the draft has them for the client, and as the ledger remembers them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ap_resume_shim.backends.a2a.bindings import OldRpc, told, unwrapped
from ap_resume_shim.backends.a2a.task import Json, Task, message, text_of
from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import Note
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Headers, Response
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.steps import Entry


class Reframed:
    """A `Reframer`: messages as they are said, updates for what was made, values when the task is at rest.

    It ends there, since agents may hold a stream open that has told a question.
    """

    between_events = True

    def __init__(self, emitter: Emitter, before: Task, answer: Json) -> None:
        """`before`: the task as it asked; `answer`: the message that it is sent."""
        self._emit, self._answered = emitter, before.question.id
        self._task = before.answered_by(answer)
        self._decoder, self._unread = sse.Decoder(), b""
        self._made: dict[str, str] = {}
        self._error: Any = None
        self.over = False

    def feed(self, chunk: bytes) -> bytes:
        """The draft's events."""
        events = self._decoder.feed(chunk)
        self._unread = (self._unread + chunk)[sum(len(event.raw) for event in events) :]
        return b"".join(self._event(event) for event in events if not self.over and event.data is not None)

    def finish(self) -> bytes:
        """JSON-RPC tells an agent that failed at once in no event, but in a body of its own."""
        if self.over:
            return b""
        body = Response(200, (), self._unread).json
        return self._failed(body["error"]) if isinstance(body, dict) and "error" in body else self._rest()

    def ended(self) -> Ended:
        """What the events have told."""
        error = self._error if self._error is not None else self._task.error
        return Ended(self._task.values, error)

    def _event(self, event: sse.Event) -> bytes:
        value = event.json
        if event.name == "metadata":
            return event.raw  # the shim's own
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


class Seen:
    """Whoever sends a message by JSON-RPC 0.3, or reads a task, tells which context it is in."""

    def __init__(self) -> None:
        self._decoder, self._body = sse.Decoder(), b""
        self._looks = self._streams = False
        self._noted: set[tuple[str, str]] = set()

    def request(self, body: bytes) -> None:
        """Other methods tell nothing."""
        try:
            value = strictjson.read(body)
        except ValueError:
            return
        method = value.get("method") if isinstance(value, dict) else None
        self._looks = method in OldRpc.methods.values()

    def head(self, status: int, headers: Headers) -> Iterable[Note]:
        """An answer, or the first of many."""
        media = next((value for name, value in headers if name.lower() == "content-type"), "")
        self._streams = media.startswith("text/event-stream")
        return ()

    def feed(self, chunk: bytes) -> Iterator[Note]:
        """A whole answer may have come before the server says that it is whole."""
        if not self._looks:
            return
        if self._streams:
            for event in self._decoder.feed(chunk):
                yield from self._note(event.json)
        else:
            self._body += chunk
            if chunk.endswith(b"}"):
                yield from self._note(Response(200, (), self._body).json)

    def end(self, *, complete: bool) -> Iterator[Note]:
        """Bodies may end with white space."""
        if self._looks and not self._streams:
            yield from self._note(Response(200, (), self._body).json)

    def _note(self, value: Any) -> Iterator[Note]:
        kind, body = told(unwrapped(value)) if isinstance(value, dict) else ("", {})
        context, task = body.get("contextId"), body.get("id" if kind == "task" else "taskId")
        if isinstance(context, str) and isinstance(task, str) and (context, task) not in self._noted:
            self._noted.add((context, task))
            yield context, Entry({"task": task})
