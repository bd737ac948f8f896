"""The verdict: does this resume answer a question that is pending? Pending interrupts decide first, status second."""

from __future__ import annotations

from typing import Any

from ap_resume_shim.core.dialect import Dialect, Found, GoOn, Input, Verdict
from ap_resume_shim.core.errors import (
    AmbiguousInterrupt,
    InterruptAlreadyAnswered,
    InterruptNotPending,
    MultipleInterrupts,
    ThreadBusy,
    ThreadNotInterrupted,
    UnsupportedInput,
)
from ap_resume_shim.core.protocol import Resume

_NOTHING = object()


def judge(resume: Resume, found: Found, dialect: Dialect) -> Verdict:
    """Decide what is sent, or raise the `ResumeError` that says why nothing is."""
    answer, pin = _answer(resume), resume.body.interrupt_id
    if found.status == "busy":
        raise ThreadBusy(
            f"Thread {resume.thread_id} is running and asks nothing now. Wait until it is interrupted again."
        )
    if found.interrupts:
        return _of_pending(answer, pin, found, partial=dialect.partial)
    if pin is not None and all(interrupt.id != pin for interrupt in found.answered):
        raise _not_pending(pin, found)
    if found.answered:
        if answer is _NOTHING:
            return GoOn()
        raise _already_answered(found)
    if found.breakpoint:
        if answer is _NOTHING:
            return GoOn()
        raise UnsupportedInput(
            "The thread stopped at a breakpoint, which asks nothing: send the resume without `input` to go on."
        )
    raise ThreadNotInterrupted(
        f"Thread {resume.thread_id} is not interrupted (its status is {found.status}): there is nothing to answer. "
        "To start a new run, create one.",
        {"thread_status": found.status},
    )


def _answer(resume: Resume) -> Any:
    """The answer: `input`, else the list of messages, else nothing (which is not null)."""
    body = resume.body
    if body.has_input:
        return body.input
    if body.messages is not None:
        return [message.model_dump(exclude_unset=True) for message in body.messages]
    return _NOTHING


def _of_pending(answer: Any, pin: str | None, found: Found, *, partial: bool) -> Input:
    """Match the answer to the questions. "Go on" answers a single question with null."""
    pending = found.interrupts
    ids = [interrupt.id for interrupt in pending]
    if len(set(ids)) < len(ids):
        raise AmbiguousInterrupt(
            "Pending interrupts share an id, so that an answer cannot be meant for one of them.", pending
        )
    value = None if answer is _NOTHING else answer
    if pin is not None:
        if pin not in ids:
            raise _not_pending(pin, found)
        if len(ids) > 1 and not partial:
            raise _several(found, "All of them have to be answered at once: send an object {interrupt id: answer}.")
        return Input({pin: value})
    if len(pending) == 1:
        return Input({pending[0].id: value})
    if not isinstance(answer, dict) or not answer or not set(answer) <= set(ids):
        raise _several(found, "Send `input` as an object {interrupt id: answer} with ids of these only.")
    if not partial and set(answer) != set(ids):
        raise _several(found, "This backend takes the answers to all of them at once.")
    return Input(dict(answer))


def _several(found: Found, advice: str) -> MultipleInterrupts:
    return MultipleInterrupts(f"{len(found.interrupts)} interrupts are pending. {advice}", found.interrupts)


def _not_pending(pin: str, found: Found) -> InterruptNotPending:
    return InterruptNotPending(
        f"Interrupt {pin} is not, or not any longer, pending. Read the thread, and answer what it asks now.",
        found.interrupts,
    )


def _already_answered(found: Found) -> InterruptAlreadyAnswered:
    return InterruptAlreadyAnswered(
        "The interrupt was answered, and the step failed afterwards. The backend would run the step again with the "
        "first answer, whatever is sent now: send the resume without `input` to retry it.",
        found.answered,
    )
