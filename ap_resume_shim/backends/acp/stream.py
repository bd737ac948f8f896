"""Converts ACP's events to the draft's events."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.backends.acp import messages as wire
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.reframer import Ended, EventReframer


class AcpStream(EventReframer):
    """Sends parts of messages as `messages`, complete messages as `updates`, and the run at its end as `values`."""

    def __init__(self, emitter: Emitter, agent: str) -> None:
        super().__init__(emitter)
        self._agent = agent

    def _reframe_object(self, event: dict[str, Any]) -> bytes:
        """Convert an event; each type has its content in another field."""
        match event:
            case {"type": "message.part", "part": part}:
                return self._emit.message(f"agent/{self._agent}", wire.content_of([part]))
            case {"type": "message.completed", "message": message}:
                return self._emit.update(self._agent, {"messages": [wire.message_of(message)]})
            case {"type": "generic", "generic": payload}:
                return self._emit.custom(payload)
            case {"type": "error", "error": error}:
                self._ended = Ended(error=error)
                return self._emit.error(error)
            case {"type": "run.awaiting" | "run.completed" | "run.failed" | "run.cancelled", "run": run}:
                return self._stop(run)
        return b""

    def _stop(self, run: dict[str, Any]) -> bytes:
        self.over, self._ended = True, wire.ended(run)
        output = self._emit.values(self._ended.values)
        if wire.status_of(run) == "interrupted":
            return output + self._emit.interrupted([wire.question(run)])
        return output if self._ended.error is None else output + self._emit.error(self._ended.error)
