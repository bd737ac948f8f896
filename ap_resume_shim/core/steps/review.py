"""The step that submits a resume to the operator's policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.steps.step import Returns


@dataclass(frozen=True, slots=True)
class Attempt:
    """The questions that a resume answers, by the thread's current state."""

    agent_id: str | None = None
    """The thread's agent, if the lookup reports it."""
    questions: tuple[Interrupt, ...] = ()
    """Empty if the resume answers none at this moment: the thread may be busy, or the answer may be a retry."""
    answers: Mapping[str | None, Any] = field(default_factory=dict)
    """Answers by interrupt id. On a backend without ids, the only answer has the key None."""


@dataclass(frozen=True, slots=True)
class Review(Returns[None]):
    """Submit an attempt to the operator's policy: the `authorize` hook decides, and the audit file records it.

    Raises `PolicyRefused` and `PolicyUnavailable`.
    """

    attempt: Attempt
