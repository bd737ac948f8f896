"""ACP's events as the draft's."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.backends.acp import messages as wire
from ap_resume_shim.core import sse
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.reframer import Ended


class Events:
    """A `Reframer`: what the agent says goes to `messages` and `updates`, the run at its end to `values`."""

    def __init__(self, emitter: Emitter, agent: str) -> None:
        self._decoder, self._emitter, self._agent = sse.Decoder(), emitter, agent
        self._ended, self._over = Ended(), False

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; give the events that they complete."""
        return b"".join(self._reframe(event.json) for event in self._decoder.feed(chunk))

    def finish(self) -> bytes:
        """Nothing is held back."""
        return b""

    @property
    def between_events(self) -> bool:
        """Events are written whole."""
        return True

    @property
    def over(self) -> bool:
        """Whether the run asks again, or is over."""
        return self._over

    def ended(self) -> Ended:
        """By the event that was the last."""
        return self._ended

    def _reframe(self, event: Any) -> bytes:
        """Each event has its own name for what it is about."""
        match event:
            case {"type": "message.part", "part": part}:
                return self._emitter.message(f"agent/{self._agent}", wire.content_of([part]))
            case {"type": "message.completed", "message": message}:
                return self._emitter.update(self._agent, {"messages": [wire.message_of(message)]})
            case {"type": "generic", "generic": told}:
                return self._emitter.custom(told)
            case {"type": "error", "error": error}:
                self._ended = Ended(error=error)
                return self._emitter.error(error)
            case {"type": "run.awaiting" | "run.completed" | "run.failed" | "run.cancelled", "run": run}:
                return self._stop(run)
        return b""

    def _stop(self, run: dict[str, Any]) -> bytes:
        self._over, self._ended = True, wire.ended(run)
        told = self._emitter.values(self._ended.values)
        if wire.status_of(run) == "interrupted":
            return told + self._emitter.interrupted([wire.question(run)])
        return told if self._ended.error is None else told + self._emitter.error(self._ended.error)
