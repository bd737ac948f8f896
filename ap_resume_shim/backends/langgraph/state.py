"""Reads the questions of a LangGraph thread from its state, and adds those that only the thread's row lists.

The state decides about each task that it lists. A question that only a summary lists (the thread's row, or the parent
task of a subgraph) counts only if a run wrote the state below it (`metadata.source` is `loop`): a fork, a state update
or a deleted run leaves the summary unchanged.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_schema import violations
from ap_resume_shim.core.json_values import HEX32

INTERRUPT_ID = HEX32
"""The form of the ids of `interrupt()`; a `NodeInterrupt`, and a `GraphInterrupt` raised by hand, have other ids."""

EDITED = "was edited or forked after its last step, and has no question now"
UNANSWERABLE = (
    "stopped at a question without a usable id (a `NodeInterrupt`, or a `GraphInterrupt` raised by hand), which no "
    "answer can reach"
)


class Questions:
    """The questions in a state with its subgraphs (`?subgraphs=true`), grouped by their outcome."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.done: list[Interrupt] = []
        """Answered, and their step has ended."""
        self.answered: list[Interrupt] = []
        """Answered, and their step failed."""
        self.errors: list[Any] = []
        self._open: list[Interrupt] = []
        self._unwritten_done: list[Interrupt] = []
        self._refused: dict[str | None, str] = {}
        self._tasks: set[Any] = set()
        self._listed: set[str | None] = set()
        self._has_next = bool(state.get("next"))
        self._asked_at = state.get("created_at")
        source = (state.get("metadata") or {}).get("source")
        self._from_run = source == "loop"
        self.edited = source in ("update", "fork")
        tasks = state.get("tasks") or ()
        unfinished = Counter(task.get("name") for task in tasks if task.get("result") is None)
        self._unwritten = {
            name for name, count in Counter(state.get("next") or ()).items() if count == unfinished[name]
        }
        for task in tasks:
            self._read(task)

    def _read(self, task: Mapping[str, Any]) -> None:
        self._tasks.add(task.get("id"))
        own = interrupts_of(task.get("interrupts"), self._asked_at)
        inner = task.get("state")
        if isinstance(inner, dict) and "tasks" in inner:
            below = Questions(inner)
            self._add(below)
            if not below._from_run:  # the parent's task is older than the subgraph's state
                return
            own = tuple(interrupt for interrupt in own if interrupt.id not in below._listed)
        self._listed.update(interrupt.id for interrupt in own)
        error = task.get("error")
        if error is not None:
            self.errors.append(error)
            self.answered.extend(own)
            self._refused.update({interrupt.id: str(error) for interrupt in own if task.get("name") in self._unwritten})
        elif task.get("result") is not None:
            self.done.extend(own)
            if not task["result"]:
                self._unwritten_done.extend(own)
        else:
            self._open.extend(own)

    def _add(self, below: Questions) -> None:
        for mine, its in (
            (self.done, below.done),
            (self.answered, below.answered),
            (self.errors, below.errors),
            (self._open, below._open),
        ):
            mine.extend(its)
        self._refused.update(below._refused)
        self._tasks |= below._tasks
        self._listed |= below._listed
        self._from_run = self._from_run and below._from_run
        self.edited = self.edited or below.edited

    def fill_in(self, row: Mapping[str, Any]) -> None:
        """Add the questions of tasks that only the row lists. `row` is `{task id: interrupts}`.

        Such a task exists if another client's `command.goto` started it in parallel to a pending question.
        """
        if self._from_run:
            missing = (
                interrupt for task, raw in row.items() if task not in self._tasks for interrupt in interrupts_of(raw)
            )
            self._open.extend(interrupt for interrupt in missing if interrupt.id not in self._listed)

    def reopen_asked_again(self) -> None:
        """Mark questions as pending that an older server lists below a task that seems to have ended.

        It does so for a step that asked again: the result is empty, and no step follows. Only for a thread that waits.
        """
        if self._from_run and not self._open and not self._has_next and not self.errors:
            self._open.extend(self._unwritten_done)
            self.done = [interrupt for interrupt in self.done if interrupt not in self._open]

    def reopen(self, interrupt: Interrupt) -> None:
        """Mark a question as pending again, whose answer the server refused and did not save."""
        self.answered.remove(interrupt)
        self._open.append(interrupt)

    @property
    def open(self) -> tuple[Interrupt, ...]:
        """Questions without an answer."""
        return tuple(self._open)

    @property
    def pending(self) -> tuple[Interrupt, ...]:
        """The questions of `open` that an answer can reach."""
        return tuple(interrupt for interrupt in self._open if INTERRUPT_ID.fullmatch(interrupt.id or ""))

    @property
    def stopped(self) -> str | None:
        """The reason why a thread that has not ended has no question to answer; None for any other thread."""
        if self.pending or self.answered:
            return None
        if self._open:
            return UNANSWERABLE
        return EDITED if self.edited and self._has_next and not self.errors else None

    @property
    def refusals(self) -> tuple[tuple[Interrupt, str], ...]:
        """Typed questions whose step failed and will run again, with the error. Their answer may have been refused."""
        typed = (interrupt for interrupt in self.answered if interrupt.response_schema is not None)
        return tuple((interrupt, self._refused[interrupt.id]) for interrupt in typed if interrupt.id in self._refused)


def interrupts_of(raw: Iterable[Mapping[str, Any]] | None, asked_at: str | None = None) -> tuple[Interrupt, ...]:
    """Convert a list of `{id, value, response_schema?}` to interrupts; `asked_at` is the time of their checkpoint."""
    return tuple(
        Interrupt(item.get("id"), item.get("value"), item.get("response_schema"), asked_at=asked_at)
        for item in raw or ()
    )


def names_of(interrupts: Iterable[Interrupt]) -> frozenset[str]:
    """Return names that identify the questions, with or without an id."""
    return frozenset(interrupt.name for interrupt in interrupts)


def was_refused(interrupt: Interrupt, error: str, run: Mapping[str, Any]) -> bool:
    """True if `interrupt()` certainly refused the run's answer, so that no answer was saved.

    `interrupt()` validates an answer before it saves it, and raises a `pydantic.ValidationError` (since langgraph
    1.2.12). The error has to name the schema's type, and the answer has to violate the schema.
    """
    schema = interrupt.response_schema
    raised = re.match(r"\d+ validation errors? for (.+)", error)
    resume = ((run.get("kwargs") or {}).get("command") or {}).get("resume")
    if raised is None or resume is None or schema.get("title", raised[1]) != raised[1]:
        return False
    by_id = isinstance(resume, dict) and bool(resume) and all(INTERRUPT_ID.fullmatch(key) for key in resume)
    if by_id and interrupt.id not in resume:
        return False
    return bool(violations(schema, resume[interrupt.id] if by_id else resume))
