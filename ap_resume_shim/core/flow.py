"""The resume flow: look up the thread, judge, hold, forward once, respond.

Every backend uses this one sequence. It reads top to bottom in the order of the contract; a test drives it with
`next()` and `send()`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from ap_resume_shim.core.acceptance import Case, accepted
from ap_resume_shim.core.claiming import claim
from ap_resume_shim.core.dialect import C, Dialect, Found, Started
from ap_resume_shim.core.errors import (
    AnswerLost,
    HoldLapsed,
    IdempotencyKeyReused,
    InvalidRequest,
    PolicyUnavailable,
    ResumeError,
    ResumeInProgress,
    ShuttingDown,
    UnsupportedField,
    UpstreamFailure,
    UpstreamUnreachable,
)
from ap_resume_shim.core.field_names import tokens
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.redirection import stay
from ap_resume_shim.core.responses import REPLAYED, cancel_run, rejoin_stream, respond
from ap_resume_shim.core.reviewing import Reviewer
from ap_resume_shim.core.shape_errors import recognising
from ap_resume_shim.core.steps import ClientGone, Flow, Pause, Send, SendReply, Steps, guard
from ap_resume_shim.core.steps.guard import KeyRecord

T = TypeVar("T")


def resume_flow(resume: Resume, dialect: Dialect[C], settings: FlowSettings) -> Flow:
    """Find the interrupt; refuse, or resume exactly once; respond in the client's mode. Raises `ResumeError`."""
    dialect = recognising(dialect)
    resume = admit(resume, dialect, lenient=settings.lenient)
    # A caller who cannot read the thread is refused here, before the guard recalls a stored response.
    found = yield from unsent(dialect.inspect_thread(resume))
    reviewer = Reviewer(resume, dialect) if settings.review else None
    if reviewer is not None:
        yield from reviewer.at_arrival(found)
    stored = yield from guard.recall()
    if stored is not None:
        yield from _replay(Case(resume, dialect, settings, found), stored)
        return
    if (yield from guard.repeated()):
        raise ResumeInProgress(
            "The same resume arrived a moment ago, most likely by a double click: this one was not sent. "
            "Read the thread before you answer again."
        )
    case, request = yield from unsent(_prepare(resume, dialect, settings, found, reviewer))
    response = yield from _forward(case, request)
    try:
        yield from respond(case, response)
    except ResumeError as failure:
        failure.metadata.setdefault("resume_state", "consumed")
        raise


def _prepare(
    resume: Resume, dialect: Dialect[C], settings: FlowSettings, found: Found[C], reviewer: Reviewer[C] | None
) -> Steps[tuple[Case[C], Request]]:
    """Run every step between the first lookup and the send. Returns the case and the request that resumes."""
    found, verdict = yield from claim(resume, dialect, settings, found, reviewer=reviewer)
    resume = stay(resume, found, dialect)
    found, verdict = yield from dialect.prepare(resume, found, verdict)
    return Case(resume, dialect, settings, found, found.names(verdict)), dialect.resume(resume, found, verdict)


def unsent(steps: Steps[T]) -> Steps[T]:
    """Run steps that precede the send: a failure of the backend gets the `resume_state` `not_sent`."""
    try:
        return (yield from steps)
    except UpstreamFailure as failure:
        failure.metadata.setdefault("resume_state", "not_sent")
        raise


def admit(resume: Resume, dialect: Dialect[C], *, lenient: bool) -> Resume:
    """Refuse fields that the backend cannot honour; with `lenient`, drop them and list them in `Resume.ignored`.

    Raises `InvalidRequest` or `UnsupportedField`.
    """
    body = resume.body
    if body.has_input and body.messages is not None and not dialect.carries_both:
        raise InvalidRequest("`input` and `messages` are two answers: send only one of them.")
    for name in sorted(dialect.reserved & set(body.extra)):
        raise UnsupportedField(f"`{name}` is set by the shim itself on this backend: leave it out.", {"field": name})
    unsupported = {name for name in dialect.unsupported if getattr(body, name) not in (None, _DEFAULTS.get(name))}
    for name in sorted(unsupported):
        if not lenient:
            raise UnsupportedField(
                f"The {dialect.name} backend cannot honour `{name}`. Leave it out, or let the operator set "
                "lenient=True, which drops it and lists it in AP-Resume-Ignored.",
                {"field": name},
            )
        resume.ignored.append(name)
    forwarded = dialect.forwarded(resume)
    resume.ignored[:] = tokens([*resume.ignored, *(name for name in body.extra if name not in forwarded)])
    dropped = {name: _DEFAULTS.get(name) for name in unsupported}
    return resume if not unsupported else resume.with_body(body.model_copy(update=dropped))


_DEFAULTS = {"on_completion": "keep", "stream_mode": "values"}


def _replay(case: Case[C], stored: KeyRecord) -> Flow:
    """Replay the response of the first resume with this `Idempotency-Key`. The backend receives no answer."""
    if stored.fingerprint != case.resume.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used before, with another body. Send a new key with a new answer."
        )
    if stored.reply is not None:
        yield from SendReply(replace(stored.reply, headers=(*stored.reply.headers, REPLAYED)))
        return
    if case.resume.mode is Mode.STREAM and stored.run_id is not None:
        joined = yield from rejoin_stream(case, Started(stored.run_id, context=case.found.context))
        if joined:
            return
    run = {} if stored.run_id is None else {"run_id": stored.run_id}
    if stored.live:
        raise ResumeInProgress(
            "A resume with this Idempotency-Key is in progress: retry later, with the same key and body.", run
        )
    if stored.accepted and run:
        raise AnswerLost(
            "A resume with this Idempotency-Key was accepted, but its response cannot be replayed. "
            "Read the run, or the thread, for the result.",
            {**run, "resume_state": "consumed"},
        )
    raise AnswerLost(
        "A resume with this Idempotency-Key failed, and it is unknown whether the backend accepted it. "
        "Read the thread before you answer again, with a new key.",
        {"resume_state": "unknown"},
    )


def _forward(case: Case[C], request: Request) -> Steps[Response | None]:
    """Send the resume once. On failure, set `metadata.resume_state`."""
    try:
        response = yield from _send(Send(request, case.grace), case.settings)
    except (UpstreamUnreachable, HoldLapsed, ShuttingDown, PolicyUnavailable) as failure:
        failure.metadata["resume_state"] = "not_sent"
        yield from guard.mark_rejected()
        raise
    except ClientGone:
        try:  # while the thread is held: once it is released, its newest run may belong to another resume
            yield from cancel_run(case, None)
        except ResumeError as failure:
            failure.metadata["resume_state"] = "unknown"
            yield from accepted(case)
            raise
        yield from accepted(case)
        raise
    except Exception as failure:  # an app in the same process may raise anything, even after it took the resume
        if isinstance(failure, ResumeError):
            failure.metadata["resume_state"] = "unknown"
        yield from accepted(case)
        raise
    if response is None or response.ok:
        return response
    refusal = case.dialect.refusal(response)
    if isinstance(refusal, UpstreamFailure):
        refusal.metadata["resume_state"] = "unknown"
        yield from accepted(case)
    else:
        yield from guard.mark_rejected()
    raise refusal


def _send(step: Send, settings: FlowSettings) -> Steps[Response | None]:
    """Send the resume; retry once if no connection could be made, since no byte was sent then."""
    try:
        return (yield from step)
    except UpstreamUnreachable as failure:
        try:
            yield from Pause(settings.connect_again)
        except ClientGone:
            raise failure from None
        return (yield from step)
