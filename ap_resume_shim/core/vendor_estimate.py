"""The verdict that a vendor resume would have had, if it had been guarded: an estimate, made while it passes.

The lookup runs beside the original request, so that it may show the thread after the answer. A question that is still
shown on a busy thread counts as pending, since servers show it until the answered step has run.
"""

from __future__ import annotations

from dataclasses import replace

from ap_resume_shim.core.dialect import C, Dialect
from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.redirection import stay
from ap_resume_shim.core.shape_errors import recognising
from ap_resume_shim.core.steps import Steps, guard
from ap_resume_shim.core.vendor_resume import VendorResume
from ap_resume_shim.core.verdict import judge

WOULD_ACCEPT = "accepted"
NEW_TURN = "new_turn"


def estimate(vendor: VendorResume, resume: Resume, dialect: Dialect[C]) -> Steps[str]:
    """Return `accepted`, `new_turn`, or the code of the error that would refuse the vendor resume."""
    dialect = recognising(dialect)
    try:
        if (yield from guard.repeated()) or (yield from guard.rival()) is not None:
            return "resume_in_progress"
        found = yield from dialect.inspect_thread(resume)
        if found.status == "busy" and found.interrupts:
            found = replace(found, status="interrupted")
        if vendor.refused is not None:
            raise vendor.refused
        addressed = vendor.addressed(resume, found)
        if addressed is None or (vendor.when == "if_interrupted" and not found.interrupts):
            return NEW_TURN
        verdict = judge(addressed, found, dialect, (yield from guard.known_ids()))
        stay(addressed, found, dialect)
        if vendor.convention.checks_value:
            dialect.check(addressed, found, verdict)
    except ResumeError as error:
        return error.code
    return WOULD_ACCEPT
