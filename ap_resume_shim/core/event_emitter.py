"""The draft's stream events, for backends that have others: what a reframer writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ap_resume_shim.core import sse
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import StreamMode


class Emitter:
    """Writes events in the modes that the client asked for; what belongs to another mode is nothing, b"".

    - `values`: the whole state, when it is known.
    - `messages`: what an agent says, as it says it: a message, or a part of one, and what is known about it.
    - `updates`: a step that has ended, by its name, with what it gave.
    - `custom`: whatever else the backend tells.
    - `error`: always.

    Questions are told as LangGraph's servers tell them: under `__interrupt__`, in `values` and `updates`.
    """

    def __init__(self, modes: Iterable[StreamMode]) -> None:
        self._modes = frozenset(modes)

    def values(self, values: Any) -> bytes:
        """The whole state."""
        return self._event("values", values)

    def message(self, role: str, content: Any, **about: Any) -> bytes:
        """A message, or the next part of one; `about` is what is known of it: `id`, the step that says it."""
        return self._event("messages", [{"role": role, "content": content}, about])

    def update(self, step: str, value: Any) -> bytes:
        """A step has ended."""
        return self._event("updates", {step: value})

    def custom(self, value: Any) -> bytes:
        """Whatever else the backend tells."""
        return self._event("custom", value)

    def interrupted(self, interrupts: Iterable[Interrupt]) -> bytes:
        """The run has stopped at questions."""
        asked = {"__interrupt__": [interrupt.as_json() for interrupt in interrupts]}
        return self._event("values", asked) + self._event("updates", asked)

    def error(self, error: Any) -> bytes:
        """The agent, or the backend, has failed."""
        return sse.encode("error", error)

    def _event(self, name: StreamMode, value: Any) -> bytes:
        return sse.encode(name, value) if name in self._modes else b""
