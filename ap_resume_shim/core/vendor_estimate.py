"""The verdict that a vendor resume would have had, if it had been guarded: an estimate, made while it passes.

The lookup runs concurrently with the original request, so it may show the thread after the answer. A question that is
still shown on a busy thread counts as pending, since servers show it until the answered step has run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ap_resume_shim.core.dialect import Answers, C, Dialect
from ap_resume_shim.core.errors import (
    InterruptAlreadyAnswered,
    InterruptNotPending,
    MultipleInterrupts,
    ResumeError,
    ResumeInProgress,
    ThreadBusy,
    ThreadNotInterrupted,
)
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.redirection import stay
from ap_resume_shim.core.shape_errors import recognising
from ap_resume_shim.core.steps import Steps, guard
from ap_resume_shim.core.typed_answers import check_answers
from ap_resume_shim.core.vendor_flow import NEW_TURN, look_up
from ap_resume_shim.core.vendor_resume import VendorResume
from ap_resume_shim.core.verdict import judge

WOULD_ACCEPT = "accepted"
MAY_RESULT_FROM_ANSWER = frozenset(
    error.code
    for error in (
        ThreadNotInterrupted,
        ThreadBusy,
        InterruptNotPending,
        InterruptAlreadyAnswered,
        MultipleInterrupts,
    )
)
"""Verdicts on states that the answer itself may have caused, if the lookup shows the thread after it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated verdict."""

    verdict: str
    """`accepted`, `new_turn`, or the code of the error that would refuse the vendor resume."""
    run_id: str | None = None
    """The thread's newest run, if the lookup reports it."""


def estimate(
    vendor: VendorResume, resume: Resume, dialect: Dialect[C], *, typed_answers: bool = True
) -> Steps[Estimate]:
    """Estimate the verdict on a vendor resume.

    `typed_answers`: check the answer against the schema of its question. Raises `ResumeError` if the lookup fails.
    """
    dialect, run_id = recognising(dialect), None
    try:
        if (yield from guard.repeated()) or (yield from guard.rival()) is not None:
            return Estimate(ResumeInProgress.code)
        found = yield from look_up(vendor, resume, dialect)
        run_id = found.run_id
        if found.status == "busy" and found.interrupts:
            found = replace(found, status="interrupted")
        if vendor.refused is not None:
            raise vendor.refused
        addressed = vendor.addressed(resume, found)
        if addressed is None or (vendor.when == "if_interrupted" and not found.interrupts):
            return Estimate(NEW_TURN, run_id)
        verdict = judge(addressed, found, dialect, (yield from guard.known_ids()))
        stay(addressed, found, dialect)
        if vendor.convention.checks_value:
            dialect.check(addressed, found, verdict)
            if typed_answers and isinstance(verdict, Answers):
                check_answers(verdict, found)
    except ResumeError as error:
        if error.http_status >= 500:
            raise
        return Estimate(error.code, run_id)
    return Estimate(WOULD_ACCEPT, run_id)
