"""ACP's events as the draft's."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.backends.acp import messages as wire
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.reframer import Ended, EventReframer


class AcpStream(EventReframer):
    """What the agent says goes to `messages` and `updates`, the run at its end to `values`."""

    def __init__(self, emitter: Emitter, agent: str) -> None:
        super().__init__(emitter)
        self._agent = agent

    def _reframe_object(self, event: dict[str, Any]) -> bytes:
        """Each event has its own name for what it is about."""
        match event:
            case {"type": "message.part", "part": part}:
                return self._emit.message(f"agent/{self._agent}", wire.content_of([part]))
            case {"type": "message.completed", "message": message}:
                return self._emit.update(self._agent, {"messages": [wire.message_of(message)]})
            case {"type": "generic", "generic": told}:
                return self._emit.custom(told)
            case {"type": "error", "error": error}:
                self._ended = Ended(error=error)
                return self._emit.error(error)
            case {"type": "run.awaiting" | "run.completed" | "run.failed" | "run.cancelled", "run": run}:
                return self._stop(run)
        return b""

    def _stop(self, run: dict[str, Any]) -> bytes:
        self.over, self._ended = True, wire.ended(run)
        told = self._emit.values(self._ended.values)
        if wire.status_of(run) == "interrupted":
            return told + self._emit.interrupted([wire.question(run)])
        return told if self._ended.error is None else told + self._emit.error(self._ended.error)
