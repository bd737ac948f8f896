"""From the first lookup to the claim: judge the resume by the thread's current state, and hold the thread.

A busy or held thread gets time to settle, since servers announce an interrupt before they store it, and a hold may end
without a resume. A resume belongs to the moment it arrived: it never answers a question that came later.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Generic

from ap_resume_shim.core.dialect import Answers, C, Decision, Dialect, Found
from ap_resume_shim.core.errors import Conflict, ResumeInProgress, ThreadBusy
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.redirection import stay
from ap_resume_shim.core.reviewing import Reviewer
from ap_resume_shim.core.steps import MarkIdle, Pause, RepeatClaim, Steps, guard
from ap_resume_shim.core.steps.guard import UncommittedResume
from ap_resume_shim.core.typed_answers import check_answers
from ap_resume_shim.core.verdict import addressed, judge

_OVERTAKEN = "Another resume of this thread came first. Read the thread before you answer again."
_RUNNING = "A resume of this thread is still running. Wait for its question before you answer again."
_HELD = "Another resume of this thread is in progress. Read the thread before you answer again."


def claim(
    resume: Resume,
    dialect: Dialect[C],
    settings: FlowSettings,
    found: Found[C],
    *,
    checks_value: bool = True,
    reviewer: Reviewer[C] | None = None,
) -> Steps[tuple[Found[C], Decision]]:
    """Hold the thread for an answer that fits its state. Returns the thread as found and the verdict.

    `checks_value` is False for an answer that is sent in the client's own form. `reviewer` submits the verdict to the
    operator's policy. Waits at most `settings.settle` seconds while the thread is busy or another resume holds it.
    Raises the `ResumeError` that explains the refusal.
    """
    case = _Claim(resume, dialect, settings, found, checks_value=checks_value)
    uncommitted = UncommittedResume()
    if dialect.commit == "late":
        uncommitted = yield from guard.uncommitted()
    remembered: frozenset[str] = frozenset()
    if isinstance(resume.body.input, dict) and resume.body.input:
        remembered = yield from guard.known_ids()
    waited, holds = 0.0, False
    if settings.refresh_after_review:  # the thread may have changed while the hook decided
        found = yield from dialect.refresh_thread(resume, found, full=True)
    while True:
        found = case.as_busy_while_uncommitted(found, uncommitted)
        if found.status != "busy" and not found.moving:
            yield from MarkIdle()
        try:
            verdict = yield from case.judge(found, remembered)
            if reviewer is not None:
                yield from reviewer.at_claim(found, verdict)
            attempt = guard.claim(found.names(verdict), found.ids)
            rival = yield from attempt
            if rival is None:
                return found, verdict
            if rival == "holding" and waited < settings.settle:
                rival, seconds = yield from RepeatClaim(attempt, settings.settle - waited)
                waited = round(waited + seconds, 6)
            refusal: Conflict = ResumeInProgress(_HELD)
            holds = rival is None  # the thread may have changed since the lookup: look it up again
        except Conflict as conflict:
            if holds:
                yield from guard.mark_rejected()
                holds = False
            if ids := found.ids:
                yield from guard.remember(ids)
            rival = yield from guard.rival()
            if rival is None and not isinstance(conflict, ThreadBusy):
                raise
            refusal = conflict if rival is None else ResumeInProgress(_HELD)
        if rival == "accepted":
            raise ResumeInProgress(_OVERTAKEN)
        if not holds:
            if waited >= settings.settle:
                if rival is None and (yield from guard.had_run_in_flight()):
                    raise ResumeInProgress(_RUNNING)
                raise refusal
            yield from Pause(settings.settle_step)
            waited = round(waited + settings.settle_step, 6)
        found = yield from dialect.refresh_thread(resume, found, full=True)


class _Claim(Generic[C]):
    """The parts of a claim that stay the same while the resume waits for its thread."""

    def __init__(
        self, resume: Resume, dialect: Dialect[C], settings: FlowSettings, first: Found[C], *, checks_value: bool
    ) -> None:
        self._resume, self._dialect, self._settings, self._first = resume, dialect, settings, first
        self._checks_value = checks_value

    def judge(self, found: Found[C], remembered: frozenset[str]) -> Steps[Decision]:
        """Return the verdict on the current state.

        Runs every check that can refuse the resume before the thread is held.
        """
        verdict = judge(self._resume, found, self._dialect, remembered)
        named = addressed(self._resume, found, self._dialect, remembered) is not None
        if not (yield from self._was_pending(found, named=named)):
            raise ResumeInProgress(
                "The thread was running when this resume arrived, and asked its question later. "
                "Read the question before you answer it."
            )
        stay(self._resume, found, self._dialect)
        if not self._checks_value:
            return verdict
        self._dialect.check(self._resume, found, verdict)
        if self._settings.typed_answers and isinstance(verdict, Answers):
            check_answers(verdict, found)
        return verdict

    def _was_pending(self, now: Found[C], *, named: bool) -> Steps[bool]:
        """Return True if the pending questions are those that were pending when the resume arrived.

        If the first lookup showed no question, or a busy thread, the resume may be meant for an earlier question.
        Unless it names its question, it is allowed only if no accepted resume is still running.
        """
        first = self._first
        at_rest = first.status != "busy" and not first.moving
        if at_rest and now is first:
            return True
        visible = {interrupt.name for interrupt in first.interrupts if at_rest or interrupt.id is not None}
        if visible and not (now.interrupts and {interrupt.name for interrupt in now.interrupts} <= visible):
            return False
        if at_rest or named:
            return True
        return not (yield from guard.had_run_in_flight())

    def as_busy_while_uncommitted(self, found: Found[C], last: UncommittedResume) -> Found[C]:
        """Return `found` as busy if it still shows a question that the last accepted resume answered."""
        names = {interrupt.name for interrupt in found.interrupts}
        if last.age >= self._settings.commit_timeout or names.isdisjoint(last.names):
            return found
        return replace(found, status="busy")
