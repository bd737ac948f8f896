"""The verdict: does this resume answer a pending question? Pending interrupts decide first, the status second."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from typing import Any

from ap_resume_shim.core.dialect import Answers, C, Continue, Decision, Dialect, Found
from ap_resume_shim.core.errors import (
    AmbiguousInterrupt,
    InterruptAlreadyAnswered,
    InterruptNotPending,
    InvalidRequest,
    MultipleInterrupts,
    ThreadBusy,
    ThreadNotInterrupted,
    UnsupportedInput,
)
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_values import HEX32, UUID
from ap_resume_shim.core.protocol import Resume

NOTHING = object()
"""Stands for the answer of a resume without one."""
_GENERATED = (HEX32, UUID)
"""Forms of ids that servers generate. If a pending interrupt's id has one of them, every key of that form is an id."""


def judge(resume: Resume, found: Found[C], dialect: Dialect[C], remembered: Set[str] = frozenset()) -> Decision:
    """Return the decision: the answers to send, or `Continue`.

    `remembered` are interrupt ids of this thread that the guard has stored. Raises the `ResumeError` that explains the
    refusal.
    """
    answer = answer_of(resume)
    if found.status == "busy":
        raise ThreadBusy(
            f"Thread {resume.thread_id} is running, and no question is pending. Wait until it is interrupted again."
        )
    by_id = addressed(resume, found, dialect, remembered)
    if by_id is not None:
        _check_pending(set(by_id), found, dialect, resume.now)
    if found.interrupts:
        if answer is NOTHING:
            _refuse_unknown(resume, dialect)
        return _match_answers(by_id, answer, found, now=resume.now, partial=dialect.partial)
    if found.answered:
        if answer is NOTHING:
            return Continue()
        raise _already_answered(found, dialect)
    if found.breakpoint:
        if answer is NOTHING:
            return Continue()
        raise UnsupportedInput(f"The thread {found.stopped}: send the resume without `input` to continue.")
    raise ThreadNotInterrupted(
        f"Thread {resume.thread_id} is not interrupted (its status is {found.status}): there is nothing to answer. "
        "To start a new run, create one.",
        {"thread_status": found.status},
    )


def addressed(
    resume: Resume, found: Found[C], dialect: Dialect[C], remembered: Set[str] = frozenset()
) -> dict[str | None, Any] | None:
    """Return the answers by interrupt id, if the resume names them by a pin or by the keys of `input`; else None.

    An object is keyed if every key is an interrupt id of this thread: pending, in its history, remembered by the guard,
    or of the form that only the backend's ids have (declared by the dialect, or generated ids as the pending ones are).
    Raises `InterruptNotPending` for an object that mixes ids of the thread with other keys.
    """
    answer, pin = answer_of(resume), resume.body.interrupt_id
    if pin is not None:
        keyed = isinstance(answer, dict) and list(answer) == [pin]
        return {pin: answer[pin] if keyed else None if answer is NOTHING else answer}
    if not resume.body.has_input or not isinstance(answer, dict) or not answer:
        return None
    known = {interrupt.id for interrupt in (*found.interrupts, *found.answered)} | found.past_ids | remembered
    forms = [form for form in _GENERATED if any(form.fullmatch(interrupt.id or "") for interrupt in found.interrupts)]
    if dialect.interrupt_id_form is not None:
        forms.append(dialect.interrupt_id_form)
    if all(key in known or any(form.fullmatch(key) for form in forms) for key in answer):
        return dict(answer)
    if known.isdisjoint(answer):
        return None
    raise InterruptNotPending(
        "`input` has interrupt ids of this thread and other keys. Send an object whose keys are all pending interrupt "
        "ids, or pin the answer with `interrupt_id` to send the object itself.",
        found.interrupts,
    )


def answer_of(resume: Resume) -> Any:
    """Return the answer: `input`, else the list of messages, else `NOTHING` (which is not null)."""
    body = resume.body
    if body.has_input:
        return body.input
    if body.messages is not None:
        return [message.model_dump(exclude_unset=True) for message in body.messages]
    return NOTHING


def _refuse_unknown(resume: Resume, dialect: Dialect[C]) -> None:
    """Refuse an unknown field if a question is pending and has no answer: the field may be a misspelt answer."""
    unknown = sorted(set(resume.body.extra) - dialect.vocabulary)
    if unknown:
        raise InvalidRequest(
            f"A question is pending, `input` is missing, and `{unknown[0]}` is not a field of a resume. "
            "Send the answer in `input`; to answer with null, send `input: null`.",
            {"field": unknown[0]},
        )


def _check_pending(ids: set[str | None], found: Found[C], dialect: Dialect[C], now: str) -> None:
    """Refuse ids that are not pending; an answer that was committed before its step failed has its own error."""
    pending = {interrupt.id for interrupt in found.interrupts if not _is_expired(interrupt, now)}
    answered = {interrupt.id for interrupt in found.answered}
    not_pending = ids - pending
    if not not_pending or (not_pending <= answered and not found.interrupts):
        return
    if not_pending <= answered:
        raise _already_answered(found, dialect)
    names = ", ".join(sorted(map(str, not_pending)))
    raise InterruptNotPending(
        f"Interrupt {names} is not pending, or no longer pending. Read the thread, and answer what it asks now.",
        found.interrupts,
    )


def _is_expired(interrupt: Interrupt, now: str) -> bool:
    """True if the question has expired; a question with an unreadable time never expires."""
    if interrupt.expires_at is None:
        return False
    try:
        return datetime.fromisoformat(interrupt.expires_at) <= datetime.fromisoformat(now)
    except (ValueError, TypeError):
        return False


def _match_answers(
    by_id: dict[str | None, Any] | None, answer: Any, found: Found[C], *, now: str, partial: bool
) -> Answers:
    """Match the answer to the questions. Without an answer, a single question is answered with null."""
    pending = found.interrupts
    ids = [interrupt.id for interrupt in pending]
    if len(set(ids)) < len(ids):
        raise AmbiguousInterrupt(
            "Pending interrupts share an id, so that an answer cannot be meant for one of them.", pending
        )
    if by_id is None:
        if len(pending) > 1:
            raise _several_pending(found, "Send `input` as an object {interrupt id: answer} with ids of these only.")
        if _is_expired(pending[0], now):
            raise InterruptNotPending(
                f"Interrupt {pending[0].id} expired at {pending[0].expires_at}. Read the thread, and answer what it "
                "asks now.",
                pending,
            )
        return Answers({pending[0].id: None if answer is NOTHING else answer})
    if not partial and set(by_id) != set(ids):
        raise _several_pending(
            found, "This backend accepts only the answers to all of them at once: send {interrupt id: answer}."
        )
    return Answers(by_id)


def _several_pending(found: Found[C], advice: str) -> MultipleInterrupts:
    return MultipleInterrupts(f"{len(found.interrupts)} interrupts are pending. {advice}", found.interrupts)


def _already_answered(found: Found[C], dialect: Dialect[C]) -> InterruptAlreadyAnswered:
    message = (
        "The interrupt was answered, and a step failed afterwards. The backend would run the step again with the "
        "first answer, whatever is sent now: send the resume without `input` to retry it."
    )
    return InterruptAlreadyAnswered(
        f"{message} {dialect.way_out}".rstrip(),
        found.answered,
    )
