"""ADK's stream, whose events are those of the session, as the draft's."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.backends.adk.session import Event, Question, Session, error_of, message_of, questions_of, values_of
from ap_resume_shim.core import sse
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.reframer import Ended


class Events:
    """A `Reframer`. It goes on from the session as it was found, so that it can tell the whole state."""

    over = False
    """The stream ends by itself. Who leaves it earlier aborts the run."""
    between_events = True
    """Events are written whole."""

    def __init__(self, emitter: Emitter, session: Session, pending: dict[str, Question]) -> None:
        """`pending`: the questions that this run leaves as they are."""
        self._decoder, self._emitter = sse.Decoder(), emitter
        self._state, self._events, self._open = dict(session.state), list(session.events), dict(pending)
        self._asked = session.asked.copy()
        self._error: Any = None
        self._spoken = False
        """Whether the message that comes next has been told in parts."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; give the events that they complete."""
        return b"".join(self._told(event.json) for event in self._decoder.feed(chunk) if event.data is not None)

    def finish(self) -> bytes:
        """What the run has come to, if it has not failed."""
        if self._error is not None:
            return b""
        told = self._emitter.values(values_of(self._state, self._events))
        if self._open:
            told += self._emitter.interrupted(question.interrupt for question in self._open.values())
        return told

    def ended(self) -> Ended:
        """The session tells the values."""
        return Ended(error=self._error)

    def _told(self, event: Any) -> bytes:
        if not isinstance(event, dict):
            return b""
        if "author" not in event:  # a failure, which an event has told before where it was the agent's
            return self._failed({"message": event.get("error")}) if "error" in event else b""
        told = self._said(event)
        if event.get("partial"):
            return told
        self._events.append(event)
        self._state |= (event.get("actions") or {}).get("stateDelta") or {}
        self._open |= questions_of(event, self._asked)
        error = error_of(event)
        told += self._emitter.update(str(event["author"]), event)
        return told if error is None else told + self._failed(error)

    def _said(self, event: Event) -> bytes:
        """A message; after its parts it comes once more, whole."""
        message, told_before = message_of(event), self._spoken
        self._spoken = bool(event.get("partial"))
        if message is None or (told_before and not self._spoken):
            return b""
        return self._emitter.message(message.pop("role"), message.pop("content"), **message)

    def _failed(self, error: dict[str, Any]) -> bytes:
        if self._error is not None:
            return b""
        self._error = error
        return self._emitter.error(error)
