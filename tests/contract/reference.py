"""The contract, as short as it can be: which question may hear an answer, and with which code an answer is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Event:
    """What came of a question: it was asked, its answer was taken by the server, and heard by the agent.

    An agent may fail after it heard an answer. With `moved` it stands elsewhere, and its questions are gone; `halted`
    says that it asks none until it goes on.
    """

    at: float
    kind: Literal["asked", "taken", "heard", "failed", "moved", "halted"]
    question: str = ""
    value: Any = None


@dataclass
class Answer:
    """One request of a client, and what came of it."""

    mark: str
    """A text in each of its values, which no other answer has."""
    value: Any = None
    """Its value, where it names no question."""
    named: dict[str, Any] | None = None
    """Its values by question, where it names them by a pin or by its keys."""
    mixed: bool = False
    """Whether it has keys beside the ids of questions."""
    goes_on: bool = False
    """Whether it has no value: a stopped thread goes on."""
    sent: float = 0.0
    looked: float = float("inf")
    """When the first request that it led to met the thread."""
    has_looked: bool = False
    status: int = 0
    code: str | None = None
    replayed: bool = False

    def __str__(self) -> str:
        what = (
            "go on"
            if self.goes_on
            else self.value
            if self.named is None
            else f"{self.named}{' and other keys' * self.mixed}"
        )
        came = f"{self.status} {self.code or ''}{' replayed' * self.replayed}"
        return f"{what}, sent {self.sent:.6f}, looked {self.looked:.6f}: {came}"

    @property
    def accepted(self) -> bool:
        return self.status == 200 and not self.replayed


def open_questions(events: Iterable[Event], moment: float = float("inf")) -> set[str]:
    """The questions that were asked before a moment, and not answered by then."""
    asked: set[str] = set()
    for event in events:
        if event.at > moment:
            break
        match event.kind:
            case "asked":
                asked.add(event.question)
            case "taken" | "heard" | "failed":
                asked.discard(event.question)
            case "moved" | "halted":
                asked.clear()
    return asked


def stopped(events: Iterable[Event]) -> set[str]:
    """Where a thread at rest stands without a question: names of steps that failed, or "halted"."""
    steps: set[str] = set()
    for event in events:
        match event.kind:
            case "failed" | "halted":
                steps.add(event.question or "halted")
            case "heard":
                steps.discard(event.question)
            case "moved" | "asked":
                steps.discard("halted")
        if event.kind in ("moved", "halted"):
            steps &= {"halted"}
    return steps


def refusals(answer: Answer, events: Sequence[Event]) -> set[str | None]:
    """The codes with which an answer may be refused by a thread at rest; None stands for acceptance."""
    pending, steps = open_questions(events), stopped(events)
    if answer.mixed:
        return {"interrupt_not_pending"}
    if answer.named is not None:
        failed = ["interrupt_already_answered"] if steps & set(answer.named) else []
        return {None} if set(answer.named) <= pending else {"interrupt_not_pending", *failed}
    if pending:
        return {None if len(pending) == 1 else "multiple_interrupts"}
    if not steps:
        return {"thread_not_interrupted"}
    return {None} if answer.goes_on else {"unsupported_input" if "halted" in steps else "interrupt_already_answered"}


def violations(answers: Sequence[Answer], events: Sequence[Event]) -> list[str]:
    """Every accepted answer is heard once, by its question alone; a refused one is heard by none."""
    heard = _heard(events)
    taken = {answer.mark for answer in answers if answer.accepted}
    found = []
    for answer in answers:
        if answer.goes_on or (answer.mark in taken and not answer.accepted):
            continue  # without a value, or a retry with the same Idempotency-Key
        expected = answer.named or dict.fromkeys(open_questions(events, answer.looked), answer.value)
        right = sorted(_pair(*each) for each in expected.items()) if answer.accepted else []
        by_it = sorted(pair for pair in heard if answer.mark in pair[1])
        if by_it != right or (answer.accepted and answer.named is None and len(expected) != 1):
            found.append(f"{answer}\n  should be heard as {right}, and was as {by_it}")
        heard = [pair for pair in heard if pair not in by_it]
    return found + [f"nobody gave this answer: {pair}" for pair in heard]


def _heard(events: Iterable[Event]) -> list[tuple[str, str]]:
    """What each question heard. Steps that run again after a failure hear their own answers again."""
    heard: list[tuple[str, str]] = []
    again: set[tuple[str, str]] = set()
    for event in events:
        if event.kind in ("heard", "failed"):
            pair = _pair(event.question, event.value)
            heard += [] if pair in again else [pair]
        if event.kind == "failed":
            again |= set(heard)
    return heard


def _pair(question: str, value: Any) -> tuple[str, str]:
    return question, json.dumps(value)
