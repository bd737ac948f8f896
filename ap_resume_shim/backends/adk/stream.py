"""Converts ADK's stream, which consists of the session's events, to the draft's events."""

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
    """Starts with the session as the lookup found it, so that `values` contains the whole state.

    The server ends the stream; a client that disconnects earlier aborts the run.
    """

    def __init__(self, emitter: Emitter, session: Session, pending: dict[str, AdkQuestion]) -> None:
        """`pending` are the questions that this run does not answer."""
        super().__init__(emitter)
        self._state, self._events, self._open = dict(session.state), list(session.events), dict(pending)
        self._times_asked = session.times_asked.copy()
        self._sent_parts = False
        """True if the next complete message was already sent in parts."""

    def finish(self) -> bytes:
        """Send the values and the open questions, unless the run failed."""
        if self._ended.error is not None:
            return b""
        output = self._emit.values(values_of(self._state, self._events))
        if self._open:
            output += self._emit.interrupted(question.interrupt for question in self._open.values())
        return output

    def _reframe_object(self, event: SessionEvent) -> bytes:
        if "author" not in event:  # an error; if it is the agent's, an event preceded it
            return self._fail({"message": event.get("error")}) if "error" in event else b""
        output = self._message(event)
        if event.get("partial"):
            return output
        self._events.append(event)
        self._state |= (event.get("actions") or {}).get("stateDelta") or {}
        self._open |= questions_of(event, self._times_asked)
        error = error_of(event)
        output += self._emit.update(str(event["author"]), event)
        return output if error is None else output + self._fail(error)

    def _message(self, event: SessionEvent) -> bytes:
        """Send the event's message, unless it repeats the parts that were sent."""
        message, sent_before = message_of(event), self._sent_parts
        self._sent_parts = bool(event.get("partial"))
        if message is None or (sent_before and not self._sent_parts):
            return b""
        return self._emit.message(message.pop("role"), message.pop("content"), **message)
