"""A LlamaIndex run, by its log of events.

`WorkflowIdleEvent` is the last entry when the run waits, and a step that starts after it was woken up by an event from
outside. Neither a question nor an answer has an id there: the log tells which step asked, and which step woke up.
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
"""The id of a question: its run's, and its number in the run's log."""
LogEntry = tuple[int, dict[str, Any]]
"""The number of an event in the log, and the event."""
_NUMBER = re.compile("[0-9]+")


def read(event: sse.Event) -> LogEntry:
    """An entry, from the event that carries it. Raises `UpstreamUnrecognised`."""
    value, number = event.json, event.id or ""
    if not isinstance(value, dict) or not isinstance(value.get("value"), dict) or not _NUMBER.fullmatch(number):
        raise UpstreamUnrecognised("The run's log holds something that the shim does not know.")
    return int(number), value


def is_a(event: dict[str, Any], kind: str) -> bool:
    """By its class, or one that it descends from."""
    return kind == event["type"] or kind in (event.get("types") or ())


def fields(event: dict[str, Any]) -> dict[str, Any]:
    """An event's fields; those that its class does not declare stand apart."""
    value: dict[str, Any] = event["value"]
    return {name: item for name, item in value.items() if name != "_data"} | (value.get("_data") or {})


def id_of(run_id: str, number: int) -> str:
    """The id of a question. A handler's next run counts from 0 again: so the run belongs to it."""
    return f"{run_id}:{number}"


@dataclass(frozen=True, slots=True)
class LlamaIndexQuestion:
    """An event that asks; or, of no kind, the silence of a run that waits and has asked nothing."""

    number: int
    kind: str = ""
    value: Any = None
    step: str | None = None
    """The step that asked, where the log tells."""

    def interrupt(self, run_id: str) -> Interrupt:
        """As the client sees it."""
        return Interrupt(id_of(run_id, self.number), {"type": self.kind, "value": self.value} if self.kind else None)


class Log:
    """What the entries tell, taken in their order."""

    def __init__(self, answers: Callable[[str], str | None]) -> None:
        """`answers`: the class of the event that answers a class of questions, where that is known."""
        self.last = -1
        """The number of the newest entry."""
        self.unhandled = -1
        """The number of the newest entry about an event that nothing took."""
        self.over = False
        self.kinds: set[str] = set()
        """The classes of all questions, answered ones too."""
        self.numbers: list[int] = []
        """Their numbers."""
        self._answers = answers
        self._open: list[LlamaIndexQuestion] = []
        self._idle: int | None = None
        self._running: dict[tuple[str, str], int] = {}
        self._stopped: str | None = None

    @property
    def waits(self) -> bool:
        """Whether nothing goes on before an event comes from outside."""
        return self._idle is not None and not self.over

    @property
    def asked(self) -> list[LlamaIndexQuestion]:
        """The questions that are open; of a run that waits without any, its silence."""
        return self._open or ([] if self._idle is None else [LlamaIndexQuestion(self._idle)])

    def take(self, number: int, event: dict[str, Any]) -> None:
        """The next entry."""
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
            self._wake(step, change["input_event_name"])
        self._idle = self._stopped = None
        self._running.setdefault(worker, number)

    def _ask(self, number: int, event: dict[str, Any]) -> None:
        """A step that ends or waits with a question stops first. One that writes a question goes on.

        And with the answer it runs again from its beginning, where it may write the same questions again: of what it
        writes in one go, it waits for the answer to the last.
        """
        step = self._stopped
        if step is None and len(self._running) == 1:
            (((step, _), since),) = self._running.items()
            self._open = [asked for asked in self._open if asked.step != step or asked.number < since]
        self.kinds.add(event["type"])
        self.numbers.append(number)
        self._open.append(LlamaIndexQuestion(number, event["type"], fields(event), step))

    def _wake(self, step: str, event: str) -> None:
        """An event from outside woke a step up: the one that asked and waited, or one that takes such events."""
        answered = [asked for asked in self._open if asked.step == step]
        if not answered:
            answered = [asked for asked in self._open if self._answers(asked.kind) in (None, event)]
        if len(answered) == 1:
            self._open.remove(answered[0])
