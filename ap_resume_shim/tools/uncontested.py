"""The other parts of a dry run: the guard of a thread without other resumes, and the client."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.core.steps import (
    AwaitCommit,
    CallGuard,
    Drain,
    EndStream,
    MarkAccepted,
    MarkIdle,
    Now,
    Pause,
    Poll,
    SendChunk,
    SendReply,
    StartStream,
    Step,
)
from ap_resume_shim.guard import MemoryGuard, ResumeKey


class Uncontested:
    """Returns the results of steps that do not depend on the backend."""

    def __init__(self) -> None:
        self._session = MemoryGuard().begin(ResumeKey("thread"))

    def answer(self, step: Step) -> Any:
        """Return the result of a step. Raises `TypeError` for a step that only a backend can answer."""
        match step:
            case CallGuard():
                try:
                    step.on(self._session).send(None)
                except StopIteration as ended:
                    return ended.value
                raise AssertionError("the guard in memory never waits")
            case Pause() | Poll() | MarkAccepted() | AwaitCommit() | MarkIdle():
                return None
            case Now():
                return "2026-01-01T00:00:00+00:00"
            case Drain() | SendReply() | StartStream() | SendChunk() | EndStream():
                return None
            case _:
                raise TypeError(f"This dry run has no answer to {step!r}.")
