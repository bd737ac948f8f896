"""ADK's stream, whose events are those of the session, as the draft's."""

from __future__ import annotations

from ap_resume_shim.backends.adk.session import (
    AdkQuestion,
    Session,
    SessionEvent,
    error_of,
    message_of,
    questions_of,
    values_of,
)
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.reframer import EventReframer


class AdkStream(EventReframer):
    """It goes on from the session as it was found, so that it can tell the whole state.

    The stream ends by itself; a client that leaves it earlier aborts the run.
    """

    def __init__(self, emitter: Emitter, session: Session, pending: dict[str, AdkQuestion]) -> None:
        """`pending`: the questions that this run leaves as they are."""
        super().__init__(emitter)
        self._state, self._events, self._open = dict(session.state), list(session.events), dict(pending)
        self._asked = session.asked.copy()
        self._spoken = False
        """Whether the message that comes next has been told in parts."""

    def finish(self) -> bytes:
        """What the run has come to, if it has not failed."""
        if self._ended.error is not None:
            return b""
        told = self._emit.values(values_of(self._state, self._events))
        if self._open:
            told += self._emit.interrupted(question.interrupt for question in self._open.values())
        return told

    def _reframe_object(self, event: SessionEvent) -> bytes:
        if "author" not in event:  # a failure, which an event has told before where it was the agent's
            return self._fail({"message": event.get("error")}) if "error" in event else b""
        told = self._said(event)
        if event.get("partial"):
            return told
        self._events.append(event)
        self._state |= (event.get("actions") or {}).get("stateDelta") or {}
        self._open |= questions_of(event, self._asked)
        error = error_of(event)
        told += self._emit.update(str(event["author"]), event)
        return told if error is None else told + self._fail(error)

    def _said(self, event: SessionEvent) -> bytes:
        """A message; after its parts it comes once more, whole."""
        message, told_before = message_of(event), self._spoken
        self._spoken = bool(event.get("partial"))
        if message is None or (told_before and not self._spoken):
            return b""
        return self._emit.message(message.pop("role"), message.pop("content"), **message)
