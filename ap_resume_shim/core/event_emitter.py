"""Writes the draft's stream events, for reframers of backends whose own events differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ap_resume_shim.core import sse
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import StreamMode


class Emitter:
    """Encodes events in the stream modes that the client requested; returns b"" for an event of another mode.

    - `values`: the whole state, once it is known.
    - `messages`: a message of the agent, or a chunk of one, with its metadata.
    - `updates`: a finished step, by its name, with its output.
    - `custom`: any other event of the backend.
    - `error`: always sent.

    Questions are encoded as LangGraph's servers encode them: under `__interrupt__`, in `values` and `updates`.
    """

    def __init__(self, modes: Iterable[StreamMode]) -> None:
        self._modes = frozenset(modes)

    def values(self, values: Any) -> bytes:
        """Encode the whole state."""
        return self._event("values", values)

    def message(self, role: str, content: Any, **metadata: Any) -> bytes:
        """Encode a message, or the next chunk of one, with its metadata, such as `id` and the step's name."""
        return self._event("messages", [{"role": role, "content": content}, metadata])

    def update(self, step: str, value: Any) -> bytes:
        """Encode the output of a finished step."""
        return self._event("updates", {step: value})

    def custom(self, value: Any) -> bytes:
        """Encode any other event of the backend."""
        return self._event("custom", value)

    def interrupted(self, interrupts: Iterable[Interrupt]) -> bytes:
        """Encode the questions at which the run was interrupted."""
        payload = {"__interrupt__": [interrupt.as_json() for interrupt in interrupts]}
        return self._event("values", payload) + self._event("updates", payload)

    def error(self, error: Any) -> bytes:
        """Encode an error of the agent or of the backend."""
        return sse.encode("error", error)

    def _event(self, name: StreamMode, value: Any) -> bytes:
        return sse.encode(name, value) if name in self._modes else b""
