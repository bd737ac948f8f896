"""Submits a resume to the operator's policy, whenever the questions that it answers become known or change."""

from __future__ import annotations

from typing import Generic

from ap_resume_shim.core.dialect import Answers, C, Continue, Decision, Dialect, Found
from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import Attempt, Review, Steps
from ap_resume_shim.core.verdict import judge

_Subject = tuple[tuple[Interrupt, ...], Decision | None]


class Reviewer(Generic[C]):
    """The reviews of one resume."""

    def __init__(self, resume: Resume, dialect: Dialect[C]) -> None:
        self._resume, self._dialect = resume, dialect
        self._reviewed: _Subject | None = None

    def at_arrival(self, found: Found[C], *, always: bool = True) -> Steps[None]:
        """Submit the resume after the first lookup, before anything that is stored for it is read.

        Without `always`, only a resume that answers a question is submitted.
        """
        decision: Decision | None = None
        try:
            decision = judge(self._resume, found, self._dialect)
        except ResumeError:  # the claim judges again, with all that is known, and refuses
            pass
        if always or decision is not None:
            yield from self._submit(found, (_questions(found, decision), decision))

    def at_claim(self, found: Found[C], decision: Decision) -> Steps[None]:
        """Submit the resume again if it answers other questions than those of the last review."""
        subject = _questions(found, decision), decision
        if subject != self._reviewed:
            yield from self._submit(found, subject)

    def _submit(self, found: Found[C], subject: _Subject) -> Steps[None]:
        questions, decision = self._reviewed = subject
        answers = decision.by_id if isinstance(decision, Answers) else {}
        yield from Review(Attempt(found.agent_id, questions, answers))


def _questions(found: Found[C], decision: Decision | None) -> tuple[Interrupt, ...]:
    """Return the questions that the decision answers, or retries with the answer that is committed already."""
    if isinstance(decision, Continue):
        return found.answered
    return () if decision is None else tuple(each for each in found.interrupts if each.id in decision.by_id)
