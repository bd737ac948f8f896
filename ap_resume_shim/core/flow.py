"""The resume flow: look, judge, hold, forward once, answer.

The one order of things for every backend. Reads top to bottom as the contract does; a test drives it with `next()`
and `send()`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, assert_never

from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Dialect, Ended, Found, Lookup, Started, Verdict
from ap_resume_shim.core.errors import (
    AnswerLost,
    Conflict,
    HoldLapsed,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    ResumeError,
    ResumeInProgress,
    ThreadBusy,
    UnsupportedField,
    UpstreamError,
    UpstreamFailure,
    UpstreamUnreachable,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.exchange import (
    Accepted,
    Answer,
    Ask,
    Claim,
    ClientGone,
    Flow,
    Headers,
    Join,
    Kept,
    Known,
    Overtaken,
    Pause,
    ReadBody,
    ReadEvents,
    Recall,
    Repeated,
    Reply,
    Request,
    Response,
    Send,
    Settings,
    Settled,
    Step,
    StreamReply,
    Unsettled,
    Untaken,
)
from ap_resume_shim.core.protocol import Mode, Resume, Run, RunStatus, wait_response
from ap_resume_shim.core.verdict import judge


def resume_flow(resume: Resume, dialect: Dialect, settings: Settings) -> Flow:
    """Find the interrupt; refuse, or resume exactly once; answer in the form that was asked for."""
    resume = admit(resume, dialect, lenient=settings.lenient)
    found = yield from dialect.lookup(resume)  # refuses whoever may not read the thread, before anything is recalled
    kept: Kept | None = yield Recall()
    if kept is not None:
        yield from _answer_again(resume, dialect, settings, kept)
        return
    if (yield Repeated()):
        raise ResumeInProgress(
            "The same resume came a moment ago, most likely a double click: this one was not sent. "
            "Read the thread before you answer again."
        )
    found, verdict = yield from _decide(resume, dialect, settings, found)
    dialect.check(resume, found, verdict)
    yield Claim()
    found, verdict = yield from dialect.prepare(resume, found, verdict)
    response = yield from _forward(resume, dialect, settings, found, verdict)
    try:
        match resume.mode:
            case Mode.BACKGROUND:
                yield from _background(resume, dialect, settings, found, response)
            case Mode.WAIT:
                yield from _wait(resume, dialect, settings, found, response)
            case Mode.STREAM:
                yield from _stream(resume, dialect, settings, found, response)
            case _:
                assert_never(resume.mode)
    except ResumeError as failure:
        failure.metadata.setdefault("resume_state", "consumed")
        raise


def admit(resume: Resume, dialect: Dialect, *, lenient: bool) -> Resume:
    """Refuse what the backend cannot honour; with `lenient`, drop it and say so."""
    body = resume.body
    if body.has_input and body.messages is not None and not dialect.carries_both:
        raise InvalidRequest("`input` and `messages` are two answers: send one of them.")
    for name in sorted(dialect.reserved & set(body.extra)):
        raise UnsupportedField(f"`{name}` is set by the shim itself on this backend: leave it out.", {"field": name})
    given = {name for name in dialect.unsupported if getattr(body, name) not in (None, _DEFAULTS.get(name))}
    for name in sorted(given):
        if not lenient:
            raise UnsupportedField(
                f"The {dialect.name} backend cannot honour `{name}`. Leave it out, or let the operator set "
                "lenient=True, which drops it and says so in AP-Resume-Ignored.",
                {"field": name},
            )
        resume.ignored.append(name)
    dropped = {name: _DEFAULTS.get(name) for name in given}
    return resume if not given else resume.with_body(body.model_copy(update=dropped))


_DEFAULTS = {"on_completion": "keep", "stream_mode": "values"}


def _answer_again(resume: Resume, dialect: Dialect, settings: Settings, kept: Kept) -> Flow:
    """Give a retry the answer of the resume that came first with its `Idempotency-Key`; the agent hears nothing."""
    if kept.fingerprint != resume.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key came before, with another body. Send a new key with a new answer."
        )
    if kept.reply is not None:
        yield Answer(replace(kept.reply, headers=(*kept.reply.headers, REPLAYED)))
        return
    if resume.mode is Mode.STREAM and kept.run_id is not None:
        joined = yield from _join(resume, dialect, settings, Started(kept.run_id))
        if joined:
            return
    run = {} if kept.run_id is None else {"run_id": kept.run_id}
    if kept.live:
        raise ResumeInProgress(
            "A resume with this Idempotency-Key is under way: ask again later, with the same key and body.", run
        )
    if kept.accepted and run:
        raise AnswerLost(
            "A resume with this Idempotency-Key was taken, and its answer cannot be given again. "
            "Read the run, or the thread, to see what came of it.",
            {**run, "resume_state": "consumed"},
        )
    raise AnswerLost(
        "A resume with this Idempotency-Key broke off, and it is not known whether it was taken. "
        "Read the thread before you answer again, with a new key.",
        {"resume_state": "unknown"},
    )


def _join(resume: Resume, dialect: Dialect, settings: Settings, started: Started) -> Generator[Step, Any, bool]:
    """Go on with the stream of a run that has not ended; False where that cannot be had."""
    request = dialect.join(resume, started)
    if request is None:
        return False
    (run,) = yield Ask((dialect.run(resume, started),))
    if not run.ok or dialect.has_ended(run):
        return False
    response = yield Join(request)
    if not response.ok:
        return False
    try:
        head = yield ReadEvents(settings.stream_grace)
        headers = (*_headers(resume, dialect, started), *STREAM_HEADERS, REPLAYED)
        yield Answer(StreamReply(head, sse.Named(dialect.reframer(), started.run_id), headers))
    except ClientGone:
        yield from _cancel(resume, dialect, started)
        raise
    return True


REPLAYED = ("idempotency-replayed", "true")


def _decide(
    resume: Resume, dialect: Dialect, settings: Settings, found: Found
) -> Generator[Step, Any, tuple[Found, Verdict]]:
    """Judge by the state of the moment, as it was found first and as it settles.

    A busy thread is given time to settle, since servers announce an interrupt before they record it. But what it asks
    then must have been asked already when the resume arrived: else a double click would answer the next question.
    """
    arrived: Found | None = None
    waited = 0.0
    while True:
        if found.status != "busy":
            yield Settled()
        try:
            verdict = judge(resume, found, dialect)
            if arrived is not None and not (yield from _was_asked(arrived, found)):
                raise ResumeInProgress(
                    "The thread was running when this resume arrived, and asked its question later. "
                    "Read the question before you answer it."
                )
            return found, verdict
        except Conflict as conflict:
            if (yield Overtaken()):
                raise ResumeInProgress(
                    "Another resume of this thread came first. Read the thread before you answer again."
                ) from None
            if not isinstance(conflict, ThreadBusy):
                raise
            if waited >= settings.settle:
                if (yield Unsettled()):
                    raise ResumeInProgress(
                        "A resume of this thread is still running. Wait for its question before you answer again."
                    ) from None
                raise
        arrived = arrived or found
        yield Pause(settings.settle_step)
        waited = round(waited + settings.settle_step, 6)
        found = yield from dialect.lookup(resume)


def _was_asked(arrived: Found, now: Found) -> Generator[Step, Any, bool]:
    """Whether the questions of a thread at rest are those that showed while it was still busy.

    Recorded servers show a question in the thread's state before they announce it. Where nothing showed, what the
    shim itself knows decides: a resume that is still running asks its next question later.
    """
    shown = {interrupt.id for interrupt in arrived.interrupts} - {None}
    if shown:
        return bool(now.interrupts) and {interrupt.id for interrupt in now.interrupts} <= shown
    unsettled: bool = yield Unsettled()
    return not unsettled


def _forward(
    resume: Resume, dialect: Dialect, settings: Settings, found: Found, verdict: Verdict
) -> Generator[Step, Any, Response]:
    """Send the resume, once. What becomes of it when that fails is said in `metadata.resume_state`."""
    request = dialect.resume(resume, found, verdict)
    try:
        response = yield from _send(request, settings)
    except (UpstreamUnreachable, HoldLapsed) as failure:
        failure.metadata["resume_state"] = "not_sent"
        yield Untaken()
        raise
    except ClientGone:
        try:  # while the thread is held: once it is let go, its newest run may be another's
            yield from _cancel(resume, dialect, None)
        except ResumeError as failure:
            failure.metadata["resume_state"] = "unknown"
            yield Accepted()
            raise
        yield Accepted()
        raise
    except Exception as failure:  # an app in the same process raises anything, perhaps after it took the resume
        if isinstance(failure, ResumeError):
            failure.metadata["resume_state"] = "unknown"
        yield Accepted()
        raise
    if response.ok:
        return response
    refusal = dialect.refusal(response)
    if isinstance(refusal, UpstreamFailure):
        refusal.metadata["resume_state"] = "unknown"
        yield Accepted()
    else:
        yield Untaken()
    raise refusal


def _send(request: Request, settings: Settings) -> Generator[Step, Any, Response]:
    """Where no connection could be made no byte was sent: try once more."""
    try:
        response: Response = yield Send(request)
    except UpstreamUnreachable as failure:
        try:
            yield Pause(settings.connect_again)
        except ClientGone:
            raise failure from None
        response = yield Send(request)
    return response


def _background(resume: Resume, dialect: Dialect, settings: Settings, found: Found, response: Response) -> Flow:
    body = yield from _read(ReadBody())
    told = dialect.started(response, body, resume, found)
    yield Accepted(None if told is None else told.run_id)
    started = yield from _name(resume, dialect, told)
    run = _run(resume, started, started.status, dict(started.metadata or {}))
    yield Answer(Reply(200, run.as_json(), _headers(resume, dialect, started)))
    yield from _complete(resume, dialect, settings, started)


def _wait(resume: Resume, dialect: Dialect, settings: Settings, found: Found, response: Response) -> Flow:
    started = dialect.started(response, b"", resume, found)
    yield Accepted() if started is None else Accepted(started.run_id, _headers(resume, dialect, started))
    try:
        body: bytes = yield ReadBody()
    except ClientGone:
        yield from _cancel(resume, dialect, started)
        raise
    started = yield from _name(resume, dialect, dialect.started(response, body, resume, found) or started)
    ended = dialect.ended(body)
    after = yield from _look_again(resume, dialect, settings)
    if after.status != "busy":
        yield Settled()
    status, metadata = _outcome(ended, after)
    run = _run(resume, started, status, metadata, started.updated_at or after.updated_at)
    values = ended.values if ended.values is not None else after.values
    yield Answer(Reply(200, wait_response(run, values), _headers(resume, dialect, started)))
    yield from _complete(resume, dialect, settings, started)


def _stream(resume: Resume, dialect: Dialect, settings: Settings, found: Found, response: Response) -> Flow:
    started = dialect.started(response, b"", resume, found)
    try:
        head = yield from _read(ReadEvents(settings.stream_grace))
        started = started or dialect.started(response, head, resume, found)
        yield Accepted(None if started is None else started.run_id)
        first = sse.first_event(head)
        if first is not None and first.name == "error":
            raise UpstreamError(
                "The backend refused the resume in its stream.",
                {"upstream": first.json, "resume_state": "unknown"},
            )
        started = yield from _name(resume, dialect, started)
        headers = (*_headers(resume, dialect, started), *STREAM_HEADERS)
        yield Answer(StreamReply(head, sse.Named(dialect.reframer(), started.run_id), headers))
    except ClientGone:
        yield from _cancel(resume, dialect, started)
        raise
    yield Settled()
    yield from _complete(resume, dialect, settings, started)


def _cancel(resume: Resume, dialect: Dialect, started: Started | None) -> Flow:
    """`on_disconnect: cancel`. A run whose name is not known yet is the newest of its thread, if none came after it."""
    if started is None:
        found = yield from dialect.lookup(resume)
        if found.run_id is None or found.status != "busy" or (yield Overtaken()):
            return
        started = Started(found.run_id)
    request = dialect.cancel(resume, started)
    if request is not None:
        yield Ask((request,))


STREAM_HEADERS: Headers = (
    ("cache-control", "no-store, no-transform"),
    ("x-accel-buffering", "no"),
    ("incremental", "?1"),  # RFC 10036
)


def _read(step: ReadBody | ReadEvents) -> Generator[Step, Any, bytes]:
    """Read what tells whether the backend took the resume; when that breaks off, it may have."""
    try:
        read: bytes = yield step
    except Exception:
        yield Accepted()
        raise
    return read


def _name(resume: Resume, dialect: Dialect, started: Started | None) -> Generator[Step, Any, Started]:
    """The run, by what the answer told, else by what the thread says is its newest run."""
    if started is not None:
        return started
    found = yield from dialect.lookup(resume)
    if found.run_id is None:
        raise UpstreamUnrecognised("The backend took the resume, but does not tell the run's id.")
    yield Known(found.run_id)
    return Started(found.run_id, found.agent_id)


def _look_again(resume: Resume, dialect: Dialect, settings: Settings) -> Lookup:
    """How the thread stands after the run; a thread that is gone was deleted on completion."""
    waited = 0.0
    while True:
        try:
            found = yield from dialect.lookup(resume, agent=False)
        except NotFound:
            return Found("idle")
        if found.status != "busy" or waited >= settings.settle:
            return found
        yield Pause(settings.settle_step)
        waited = round(waited + settings.settle_step, 6)


def _outcome(ended: Ended, after: Found) -> tuple[RunStatus, dict[str, Any]]:
    """The run's status by the thread's state: most servers call a run that stopped at a question `success`."""
    error = ended.error if ended.error is not None else after.error
    if ended.error is not None or after.answered or (after.status == "error" and not after.interrupts):
        return "error", {"error": error} if error is not None else {}
    if after.interrupts and after.status != "busy":
        return "interrupted", {"interrupts": [interrupt.as_json() for interrupt in after.interrupts]}
    if after.breakpoint:
        return "interrupted", {"interrupts": []}
    return "success", {}


def _run(
    resume: Resume,
    started: Started,
    status: RunStatus,
    metadata: dict[str, Any],
    updated_at: str | None = None,
) -> Run:
    created_at = started.created_at or resume.now
    return Run(
        run_id=started.run_id,
        thread_id=resume.thread_id,
        agent_id=started.agent_id,
        status=status,
        created_at=created_at,
        # Where only the thread tells a time, it may not have moved since: RFC 3339 sorts as text.
        updated_at=max(created_at, updated_at or started.updated_at or resume.now),
        metadata={**(resume.body.metadata or {}), **metadata},
    )


def _headers(resume: Resume, dialect: Dialect, started: Started) -> Headers:
    ignored: Headers = (("ap-resume-ignored", ", ".join(resume.ignored)),) if resume.ignored else ()
    return (("content-location", dialect.location(resume, started)), *ignored)


def _complete(resume: Resume, dialect: Dialect, settings: Settings, started: Started) -> Flow:
    """`on_completion: delete`, which recorded servers ignore: after the run, unless it asks again."""
    if resume.body.on_completion != "delete":
        return
    while True:
        (response,) = yield Ask((dialect.run(resume, started),))
        if not response.ok or dialect.has_ended(response):
            break
        yield Pause(settings.completion_poll)
    after = yield from _look_again(resume, dialect, settings)
    request = dialect.delete(resume)
    if request is None or after.status == "busy" or after.interrupts or after.answered or after.breakpoint:
        return
    (response,) = yield Ask((request,))
    if not response.ok:
        raise dialect.refusal(response)
