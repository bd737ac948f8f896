"""The contract, as short as it can be: which question may hear an answer, and with which code an answer is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Event:
    """What came of a question: it was asked, its answer was taken by the server, and heard by the agent.

    An agent may fail after it heard an answer; with `moved`, it stands elsewhere, and its questions are gone.
    """

    at: float
    kind: Literal["asked", "taken", "heard", "failed", "moved"]
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
    sent: float = 0.0
    looked: float = float("inf")
    """When the first request that it led to met the thread."""
    has_looked: bool = False
    status: int = 0
    code: str | None = None
    replayed: bool = False

    def __str__(self) -> str:
        what = self.value if self.named is None else f"{self.named}{' and other keys' * self.mixed}"
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
            case "moved":
                asked.clear()
    return asked


def refusals(answer: Answer, pending: set[str], failed: set[str]) -> set[str | None]:
    """The codes with which an answer may be refused by a thread at rest; None stands for acceptance."""
    if answer.mixed:
        return {"interrupt_not_pending"}
    if answer.named is not None:
        if set(answer.named) <= pending:
            return {None}
        return {"interrupt_not_pending"} | ({"interrupt_already_answered"} if set(answer.named) & failed else set())
    if pending:
        return {None if len(pending) == 1 else "multiple_interrupts"}
    return {"interrupt_already_answered"} if failed else {"thread_not_interrupted", "unsupported_input"}


def violations(answers: Sequence[Answer], events: Sequence[Event]) -> list[str]:
    """Every accepted answer is heard once, by its question alone; a refused one is heard by none."""
    heard = [_pair(event.question, event.value) for event in events if event.kind == "heard"]
    failed = {_pair(event.question, event.value) for event in events if event.kind == "failed"}
    heard += failed.difference(heard)  # a step that is retried hears its answer again
    taken = {answer.mark for answer in answers if answer.accepted}
    found = []
    for answer in answers:
        if not answer.accepted and answer.mark in taken:
            continue  # a retry of it with the same Idempotency-Key
        expected = answer.named or dict.fromkeys(open_questions(events, answer.looked), answer.value)
        right = sorted(_pair(*each) for each in expected.items()) if answer.accepted else []
        by_it = sorted(pair for pair in heard if answer.mark in pair[1])
        if by_it != right or (answer.accepted and answer.named is None and len(expected) != 1):
            found.append(f"{answer}\n  should be heard as {right}, and was as {by_it}")
        heard = [pair for pair in heard if pair not in by_it]
    return found + [f"nobody gave this answer: {pair}" for pair in heard]


def _pair(question: str, value: Any) -> tuple[str, str]:
    return question, json.dumps(value)
