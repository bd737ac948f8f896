"""Derives the state of a LlamaIndex run from its log of events.

`WorkflowIdleEvent` is the last entry while the run waits. A step that starts after it was started by an event from
outside. Questions and answers have no ids, but the log shows which step asked, and which step was started.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core import sse
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.interrupt import Interrupt

QUESTION_ID = re.compile(r"[A-Za-z0-9_-]{10}:\d+")
"""The form of a question's id: the id of its run, and its number in the run's log."""
LogEntry = tuple[int, dict[str, Any]]
"""The number of an event in the log, and the event."""
_NUMBER = re.compile("[0-9]+")


def read(event: sse.Event) -> LogEntry:
    """Read a log entry from the SSE event that carries it. Raises `UpstreamUnrecognised` for anything else."""
    value, number = event.json, event.id or ""
    if not isinstance(value, dict) or not isinstance(value.get("value"), dict) or not _NUMBER.fullmatch(number):
        raise UpstreamUnrecognised("The run's log contains an entry that the shim does not know.")
    return int(number), value


def is_a(event: dict[str, Any], kind: str) -> bool:
    """True if the event's class, or one of its base classes, is `kind`."""
    return kind == event["type"] or kind in (event.get("types") or ())


def fields(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event's fields, including those in `_data`, which its class does not declare."""
    value: dict[str, Any] = event["value"]
    return {name: item for name, item in value.items() if name != "_data"} | (value.get("_data") or {})


def id_of(run_id: str, number: int) -> str:
    """Return the id of a question. It includes the run, because each run of a handler numbers its log from 0."""
    return f"{run_id}:{number}"


@dataclass(frozen=True, slots=True)
class LlamaIndexQuestion:
    """An `InputRequiredEvent`; or, with an empty `kind`, the pause of a run that waits without a question."""

    number: int
    kind: str = ""
    value: Any = None
    step: str | None = None
    """The step that asked, if the log shows it."""

    def interrupt(self, run_id: str) -> Interrupt:
        """Return the question as an `Interrupt`."""
        return Interrupt(id_of(run_id, self.number), {"type": self.kind, "value": self.value} if self.kind else None)


class Log:
    """The state of a run, from the log entries that were added so far, in their order."""

    def __init__(self, answers: Callable[[str], str | None]) -> None:
        """`answers` returns the class of the event that answers a class of questions, or None if it is unknown."""
        self.last = -1
        """The number of the newest entry."""
        self.unhandled = -1
        """The number of the newest entry about an event that no step accepted."""
        self.over = False
        self.kinds: set[str] = set()
        """The classes of all questions, answered ones too."""
        self.numbers: list[int] = []
        """The numbers of all questions."""
        self._answers = answers
        self._open: list[LlamaIndexQuestion] = []
        self._idle: int | None = None
        self._running: dict[tuple[str, str], int] = {}
        self._stopped: str | None = None

    @property
    def waits(self) -> bool:
        """True if the run continues only after an event from outside."""
        return self._idle is not None and not self.over

    @property
    def open_questions(self) -> list[LlamaIndexQuestion]:
        """The open questions; for a run that waits without a question, its pause."""
        return self._open or ([] if self._idle is None else [LlamaIndexQuestion(self._idle)])

    def add(self, number: int, event: dict[str, Any]) -> None:
        """Add the next entry."""
        self.last = number
        if is_a(event, "InputRequiredEvent"):
            self._ask(number, event)
        elif event["type"] == "StepStateChanged":
            self._step(number, event["value"])
        else:
            self._stopped = None
            self.over = self.over or is_a(event, "StopEvent")
            if event["type"] == "WorkflowIdleEvent" and self._idle is None:
                self._idle = number
            if event["type"] == "UnhandledEvent":
                self.unhandled = number

    def _step(self, number: int, change: dict[str, Any]) -> None:
        step, worker = change["name"], (change["name"], change["worker_id"])
        if change["step_state"] == "not_running":
            self._running.pop(worker, None)
            self._stopped = step
            return
        if self._idle is not None:
            self._remove_answered(step, change["input_event_name"])
        self._idle = self._stopped = None
        self._running.setdefault(worker, number)

    def _ask(self, number: int, event: dict[str, Any]) -> None:
        """Add a question.

        A step that returns a question, or waits with one, stops before the question is logged. A step that writes a
        question to the stream continues. With the answer it runs again from its beginning, and may write the same
        questions again. Of the questions that it writes in one execution, it waits for the answer to the last.
        """
        step = self._stopped
        if step is None and len(self._running) == 1:
            (((step, _), since),) = self._running.items()
            self._open = [question for question in self._open if question.step != step or question.number < since]
        self.kinds.add(event["type"])
        self.numbers.append(number)
        self._open.append(LlamaIndexQuestion(number, event["type"], fields(event), step))

    def _remove_answered(self, step: str, event: str) -> None:
        """Remove the question that was answered, after an event from outside started a step.

        The step is the one that asked and waited, or one that accepts such events.
        """
        answered = [question for question in self._open if question.step == step]
        if not answered:
            answered = [question for question in self._open if self._answers(question.kind) in (None, event)]
        if len(answered) == 1:
            self._open.remove(answered[0])
