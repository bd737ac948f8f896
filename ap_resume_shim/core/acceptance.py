"""Acceptance: whether the backend took a resume, by its first response and by the thread's later state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Generic, Protocol

from ap_resume_shim.core.dialect import C, Dialect, Found, Lookup, ResponseKind, Started
from ap_resume_shim.core.errors import NotFound, ResumeError, UpstreamFailure, UpstreamUnrecognised
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Headers, Response
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.readable import JSON, check_head, check_json
from ap_resume_shim.core.steps import (
    Ask,
    AwaitCommit,
    ClientGone,
    Flow,
    MarkAccepted,
    Pause,
    ReadBody,
    ReadEvents,
    Steps,
    guard,
)


@dataclass(frozen=True, slots=True)
class Case(Generic[C]):
    """The data of one resume: the client's request, the dialect, the settings, and the thread as it was found."""

    resume: Resume
    dialect: Dialect[C]
    settings: FlowSettings
    found: Found[C]
    answered: tuple[str, ...] = ()
    """`Interrupt.name` of each question that this resume answers."""

    @property
    def grace(self) -> float | None:
        """Seconds that a client in background or stream mode waits for a refusal; None: until the backend responds.

        Applies where the backend responds only when the run has ended.
        """
        made = self.response_kind == "result" and self.resume.mode is not Mode.WAIT
        return self.settings.stream_grace if made else None

    @property
    def response_kind(self) -> ResponseKind:
        """The kind of the backend's response to the request that resumes, in the client's mode."""
        return (self.found.response_kinds or self.dialect.response_kinds)[self.resume.mode]

    def refresh_thread(self, *, full: bool = False) -> Lookup[C]:
        """Read the thread's state again; with `full`, also the agent and the id of the newest run."""
        return self.dialect.refresh_thread(self.resume, self.found, full=full)


class Acceptance(Protocol[C]):
    """The facts about the run that are read from the backend's response."""

    started: Started[C] | None

    def understand(self, response: Response) -> None:
        """Read the whole response, or the beginning of its stream. Raises `ResumeError`."""


def read_acceptance(case: Case[C], run: Acceptance[C], response: Response, step: ReadBody | ReadEvents | None) -> Flow:
    """Read the head of the response, and the part that `step` reads, to see whether the backend took the resume.

    Marks the resume as rejected or accepted if the response is a failure; a response that is unreadable or breaks off
    counts as accepted, since the backend may have taken the resume. Raises the backend's refusal as a `ResumeError`.
    """
    try:
        check_head(response, case.dialect.event_types if case.response_kind == "events" else JSON)
        if case.response_kind != "run":
            run.started = read_started(case, response)
        if step is not None:
            body = yield from step
            if body is None:
                raise UpstreamUnrecognised("The backend's stream ended before its first event.")
            response = replace(response, body=body)
            _raise_refusal(case, response)
            run.understand(response)
    except ResumeError as failure:
        state = failure.metadata.setdefault("resume_state", _resume_state(case, failure))
        yield from (guard.mark_rejected() if state == "not_sent" else accepted(case, run.started))
        raise
    except Exception:
        yield from accepted(case, run.started)
        raise


def _raise_refusal(case: Case[C], response: Response) -> None:
    """Raise the refusal that a 2xx response contains, if there is one."""
    refusal = case.dialect.refused(case.resume, response)
    if isinstance(refusal, UpstreamFailure):
        refusal.metadata.setdefault("resume_state", "unknown")
    if refusal is not None:
        raise refusal


def check_run(response: Response) -> None:
    """Check that the body is a JSON object. Raises `UpstreamUnrecognised`, or `UpstreamError` if it is cut short."""
    if not isinstance(check_json(response), dict):
        raise UpstreamUnrecognised("The backend's response is not a run.", {"upstream_status": response.status})


def read_started(case: Case[C], response: Response) -> Started[C] | None:
    """Return the run that the response identifies; None if it identifies none."""
    return case.dialect.started(response, response.body, case.resume, case.found)


def _resume_state(case: Case[C], failure: ResumeError) -> str:
    """Return the `resume_state` for a failed response. Only a refusal with a known reason means `not_sent`."""
    if not isinstance(failure, UpstreamFailure):
        return "not_sent"
    by_head = case.dialect.accepts_at_head and not isinstance(failure, UpstreamUnrecognised)
    return "consumed" if by_head else "unknown"


@contextmanager
def unknown_if_unreadable() -> Iterator[None]:
    """Context manager: set `resume_state` to `unknown` on an `UpstreamUnrecognised` that passes through."""
    try:
        yield
    except UpstreamUnrecognised as failure:
        failure.metadata.setdefault("resume_state", "unknown")
        raise


def accepted(
    case: Case[C], started: Started[C] | None = None, *, proven: bool = False, late: bool = False
) -> MarkAccepted:
    """Return the step that marks the resume as accepted.

    If the thread's state may lag behind the acceptance, or does (`late`), the step carries the lookups that end when
    the state shows it. `proven` skips them.
    """
    with_answer = proven or (case.dialect.commit == "with_answer" and not late)
    commit = None if with_answer else _wait_for_commit(case, started)
    if started is None:
        return MarkAccepted(commit=commit)
    return MarkAccepted(started.run_id, headers(case, started) if case.resume.mode is Mode.WAIT else (), commit)


def accept(case: Case[C], started: Started[C] | None) -> Flow:
    """Mark the resume as accepted.

    Where a 2xx proves nothing (`acceptance_unproven`), first wait for the thread's state.

    Raises the dialect's error if the backend lost the answer.
    """
    error: ResumeError | None = None
    proven = False
    if case.dialect.acceptance_unproven:
        try:
            proven, error = yield from _wait_for_proof(case)
        except ClientGone:
            yield from accepted(case, started)
            raise
    yield from (guard.mark_rejected() if _is_lost(error) else accepted(case, started, proven=proven))
    if error is not None:
        raise error


def _wait_for_proof(case: Case[C]) -> Steps[tuple[bool, ResumeError | None]]:
    """Wait until the thread's state shows the resume.

    Returns whether it does; if not, also the dialect's error, if any.
    """
    error: ResumeError | None = None
    waited = 0.0
    while waited < case.settings.settle:
        try:
            now = yield from case.refresh_thread()
        except ResumeError:  # the run's outcome decides instead
            return False, None
        if _shows_resume(case, now):
            return True, None
        error = case.dialect.explain_unconsumed(case.found, now)
        if _is_lost(error):
            return False, error
        yield from Pause(case.settings.settle_step)
        waited = round(waited + case.settings.settle_step, 6)
    return False, error


def _wait_for_commit(case: Case[C], started: Started[C] | None) -> Flow:
    """Poll the thread until its state shows the resume, with growing pauses, since a server may commit late."""
    pause = case.settings.settle_step
    while True:
        try:
            now = yield from case.refresh_thread()
            if _shows_resume(case, now) or (yield from _new_run_has_ended(case, started)) or _was_lost(case, now):
                return
        except NotFound:
            return
        except Exception:  # an app in the same process may raise anything; the next lookup may succeed
            pass
        yield from Pause(pause)
        pause = min(pause * 1.5, case.settings.completion_poll)


def _shows_resume(case: Case[C], now: Found[C]) -> bool:
    """True if the thread has moved on: it is busy, or the interrupts that the resume answered are no longer pending."""
    if now.status == "busy":
        return True
    if not case.answered:
        return not now.breakpoint
    pending = now.interrupts if case.found.interrupts else now.answered
    return set(case.answered).isdisjoint(interrupt.name for interrupt in pending)


def _new_run_has_ended(case: Case[C], started: Started[C] | None) -> Steps[bool]:
    """True if a new run has ended on a backend without interrupt ids.

    There, the same question may be pending again, so the thread's state alone proves nothing.
    """
    if started is None or started.run_id == case.found.run_id or all(i.id is not None for i in case.found.interrupts):
        return False
    request = case.dialect.run(case.resume, started)
    if request is None:
        return False
    (response,) = yield from Ask((request,))
    return response.ok and case.dialect.has_ended(response)


def _was_lost(case: Case[C], now: Found[C]) -> bool:
    """True if the state proves that the agent will never receive the answer, so that the question is open."""
    return case.dialect.acceptance_unproven and _is_lost(case.dialect.explain_unconsumed(case.found, now))


def _is_lost(error: ResumeError | None) -> bool:
    """True if the dialect is certain that the agent will never receive the answer."""
    return error is not None and error.metadata.get("resume_state") == "not_sent"


def has_ended(case: Case[C], started: Started[C]) -> Steps[bool]:
    """Return True if the run has ended or is interrupted.

    If the run cannot be read, return True if the thread is not busy.
    """
    request = case.dialect.run(case.resume, started)
    if request is not None:
        (response,) = yield from Ask((request,))
        if response.ok:
            check_head(response, JSON)
            check_run(response)
        return not response.ok or case.dialect.has_ended(response)
    yield from AwaitCommit()  # until the commit, a run that has just begun looks like one that has ended
    try:
        found = yield from case.refresh_thread()
    except NotFound:
        return True
    return found.status != "busy"


def headers(case: Case[C], started: Started[C]) -> Headers:
    """Return the response headers about the run (`Content-Location`) and about dropped fields (`AP-Resume-Ignored`)."""
    location = case.dialect.location(case.resume, started)
    located: Headers = () if location is None else (("content-location", location),)
    ignored: Headers = (("ap-resume-ignored", ", ".join(case.resume.ignored)),) if case.resume.ignored else ()
    return (*located, *ignored)
