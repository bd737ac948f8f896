"""Whether the backend took a resume, by what it answers first and by the state that its thread has from then on."""

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
    """One resume: what was asked, of which kind of backend, and how its thread was found."""

    resume: Resume
    dialect: Dialect[C]
    settings: FlowSettings
    found: Found[C]
    answered: tuple[str, ...] = ()
    """`Interrupt.name` of each question that the resume answers."""

    @property
    def grace(self) -> float | None:
        """How long a client that does not wait for the result waits for a refusal; None: for the backend's answer."""
        made = self.response_kind == "result" and self.resume.mode is not Mode.WAIT
        return self.settings.stream_grace if made else None

    @property
    def response_kind(self) -> ResponseKind:
        """What the backend's answer is, in the client's mode."""
        return (self.found.response_kinds or self.dialect.response_kinds)[self.resume.mode]

    def look_again(self, *, agent: bool = False) -> Lookup[C]:
        """Read the thread's state once more; with `agent`, also who ran and which run it was."""
        return self.dialect.look_again(self.resume, self.found, agent=agent)


class Taken(Protocol[C]):
    """What the backend's answer says of the run."""

    started: Started[C] | None

    def understand(self, response: Response) -> None:
        """Take what the whole answer says, or the beginning of its stream. Raises `ResumeError`."""


def take(case: Case[C], run: Taken[C], response: Response, step: ReadBody | ReadEvents | None) -> Flow:
    """Read what shows whether the backend took the resume: its head, and what `step` reads. Raises its refusal.

    What cannot be read, or breaks off, may have been taken, and counts as taken.
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
            _refuse(case, response)
            run.understand(response)
    except ResumeError as failure:
        state = failure.metadata.setdefault("resume_state", _state(case, failure))
        yield from (guard.mark_rejected() if state == "not_sent" else accepted(case, run.started))
        raise
    except Exception:
        yield from accepted(case, run.started)
        raise


def _refuse(case: Case[C], response: Response) -> None:
    """Raise the refusal that an answer of 2xx holds, if it does."""
    refusal = case.dialect.refused(case.resume, response)
    if isinstance(refusal, UpstreamFailure):
        refusal.metadata.setdefault("resume_state", "unknown")
    if refusal is not None:
        raise refusal


def check_run(response: Response) -> None:
    if not isinstance(check_json(response), dict):
        raise UpstreamUnrecognised("The backend's answer is not a run.", {"upstream_status": response.status})


def read_started(case: Case[C], response: Response) -> Started[C] | None:
    return case.dialect.started(response, response.body, case.resume, case.found)


def _state(case: Case[C], failure: ResumeError) -> str:
    """What became of a resume whose answer is this failure. Only a refusal that names a reason says: not taken."""
    if not isinstance(failure, UpstreamFailure):
        return "not_sent"
    by_head = case.dialect.accepts_at_head and not isinstance(failure, UpstreamUnrecognised)
    return "consumed" if by_head else "unknown"


@contextmanager
def unknown_if_unreadable() -> Iterator[None]:
    try:
        yield
    except UpstreamUnrecognised as failure:
        failure.metadata.setdefault("resume_state", "unknown")
        raise


def accepted(case: Case[C], started: Started[C] | None = None, *, proven: bool = False) -> MarkAccepted:
    """The acceptance; where the state may lag behind it, with the lookups that end when the state shows the resume."""
    commit = None if proven or case.dialect.commit == "with_answer" else _commit(case, started)
    if started is None:
        return MarkAccepted(commit=commit)
    return MarkAccepted(started.run_id, headers(case, started) if case.resume.mode is Mode.WAIT else (), commit)


def accept(case: Case[C], started: Started[C] | None) -> Flow:
    """The backend took the resume. Where its 2xx does not prove that, wait until the thread's state does."""
    lost: ResumeError | None = None
    proven = False
    if case.dialect.acceptance_unproven:
        try:
            proven, lost = yield from _prove(case)
        except ClientGone:
            yield from accepted(case, started)
            raise
    yield from (guard.mark_rejected() if _is_lost(lost) else accepted(case, started, proven=proven))
    if lost is not None:
        raise lost


def _prove(case: Case[C]) -> Steps[tuple[bool, ResumeError | None]]:
    """Wait until the thread's state shows the resume: whether it does, and else why the dialect calls it lost."""
    lost: ResumeError | None = None
    waited = 0.0
    while waited < case.settings.settle:
        try:
            now = yield from case.look_again()
        except ResumeError:  # the run's end will show what the thread does not
            return False, None
        if _shows_resume(case, now):
            return True, None
        lost = case.dialect.explain_unconsumed(case.found, now)
        if _is_lost(lost):
            return False, lost
        yield from Pause(case.settings.settle_step)
        waited = round(waited + case.settings.settle_step, 6)
    return False, lost


def _commit(case: Case[C], started: Started[C] | None) -> Flow:
    """Look at the thread until its state shows the resume; ever less often, since a server may take its time."""
    pause = case.settings.settle_step
    while True:
        try:
            now = yield from case.look_again()
            if _shows_resume(case, now) or (yield from _nameless_has_ended(case, started)):
                return
        except NotFound:
            return
        except Exception:  # an app in the same process raises anything; the next lookup may show it
            pass
        yield from Pause(pause)
        pause = min(pause * 1.5, case.settings.completion_poll)


def _shows_resume(case: Case[C], now: Found[C]) -> bool:
    """Whether the thread has moved on: it is busy, or no longer stands where the resume found it."""
    if now.status == "busy":
        return True
    if not case.answered:
        return not now.breakpoint
    left = now.interrupts if case.found.interrupts else now.answered
    return set(case.answered).isdisjoint(interrupt.name for interrupt in left)


def _nameless_has_ended(case: Case[C], started: Started[C] | None) -> Steps[bool]:
    """Where questions have no ids, the same one may be asked again: then the end of a new run shows the resume."""
    if started is None or started.run_id == case.found.run_id or all(i.id is not None for i in case.found.interrupts):
        return False
    reading = case.dialect.run(case.resume, started)
    if reading is None:
        return False
    (read,) = yield from Ask((reading,))
    return read.ok and case.dialect.has_ended(read)


def _is_lost(lost: ResumeError | None) -> bool:
    return lost is not None and lost.metadata.get("resume_state") == "not_sent"


def has_ended(case: Case[C], started: Started[C]) -> Steps[bool]:
    """Whether the run is over, or stopped at a question; where it cannot be read, whether the thread is at rest."""
    reading = case.dialect.run(case.resume, started)
    if reading is not None:
        (read,) = yield from Ask((reading,))
        if read.ok:
            check_head(read, JSON)
            check_run(read)
        return not read.ok or case.dialect.has_ended(read)
    yield from AwaitCommit()  # before its commit a run that has just begun looks like one that is over
    try:
        found = yield from case.look_again()
    except NotFound:
        return True
    return found.status != "busy"


def headers(case: Case[C], started: Started[C]) -> Headers:
    """What an answer's head says of the run, and of fields that were dropped."""
    location = case.dialect.location(case.resume, started)
    located: Headers = () if location is None else (("content-location", location),)
    ignored: Headers = (("ap-resume-ignored", ", ".join(case.resume.ignored)),) if case.resume.ignored else ()
    return (*located, *ignored)
