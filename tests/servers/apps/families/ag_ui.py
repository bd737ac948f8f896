"""What the agents behind AG-UI have in common: a scenario that comes as JSON text in the first message."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

from .witness import EVENTS, note


@dataclass(frozen=True)
class Task:
    """What the test wants to see."""

    scenario: str
    ref: str
    secs: float = 0.0

    @classmethod
    def read(cls, text: str) -> Self:
        """From the first message of a thread; of a thread that has none, nothing is wanted."""
        return cls(**json.loads(text or '{"scenario": "none", "ref": ""}'))

    def asks(self, question: str) -> None:
        """Note it once: these servers run a step again from its beginning when the answer is there."""
        event = {"ref": self.ref, "event": "asked", "value": question}
        if event not in EVENTS:
            EVENTS.append(event)

    def got(self, answer: Any) -> None:
        note(self.ref, "got", answer)

    @property
    def has_answer(self) -> bool:
        return any((event["ref"], event["event"]) == (self.ref, "got") for event in EVENTS)

    def ended(self) -> None:
        note(self.ref, "ended")

    def fail(self) -> None:
        note(self.ref, "failed")
        raise RuntimeError("the agent fails, as it was told")
