"""The course of a run that was resumed: whether the backend took the resume, and how the run ends.

What the backend answers is the run, which goes on; or the result, when the run has ended; or the run's events
(`Dialect.tells`). There is a course for each.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ap_resume_shim.core.dialect import Dialect, Found, Lookup, Started, Tells
from ap_resume_shim.core.errors import NotFound, ResumeError, UpstreamFailure, UpstreamUnrecognised
from ap_resume_shim.core.exchange import (
    Accepted,
    Ask,
    AwaitCommit,
    ClientGone,
    Drain,
    Ended,
    Flow,
    Headers,
    Join,
    Known,
    Pause,
    Poll,
    ReadBody,
    ReadEvents,
    ReadHead,
    Response,
    Settings,
    Step,
    Untaken,
)
from ap_resume_shim.core.protocol import Mode, Resume


@dataclass(frozen=True, slots=True)
class Case:
    """One resume: what was asked, of which kind of backend, and how its thread was found."""

    resume: Resume
    dialect: Dialect
    settings: Settings
    found: Found
    answered: tuple[str, ...] = ()
    """`Interrupt.name` of each question that the resume answers."""

    @property
    def grace(self) -> float | None:
        """How long a client that does not wait for the result waits for a refusal; None: for the backend's answer."""
        made = self.tells == "result" and self.resume.mode is not Mode.WAIT
        return self.settings.stream_grace if made else None

    @property
    def tells(self) -> Tells:
        """What the backend's answer is, in the client's mode."""
        return (self.found.tells or self.dialect.tells)[self.resume.mode]

    def look_again(self, *, agent: bool = False) -> Lookup:
        """Read the thread's state once more; with `agent`, also who ran and which run it was."""
        return self.dialect.look_again(self.resume, self.found, agent=agent)


class Course(Protocol):
    """The course of a run that was resumed: how its beginning and its end are told."""

    started: Started | None
    held: bool
    """Whether the backend's answer has to be read to its end, whoever waits for it."""

    def accept(self) -> Flow:
        """See whether the backend took the resume. Raises its refusal."""

    def end(self) -> Generator[Step, Any, Ended]:
        """Wait for the run's end."""


class Named:
    """The backend names the run, and lets it go on."""

    held = False

    def __init__(self, case: Case, response: Response | None) -> None:
        self.started: Started | None = None
        self._case, self._response = case, response or Response(200)

    def accept(self) -> Flow:
        body = yield from _read(self._case, ReadBody())
        yield from _refuse(self._case, self._response, body)
        self.started = self._case.dialect.started(self._response, body, self._case.resume, self._case.found)
        yield from _accept(self._case, self.started)

    def end(self) -> Generator[Step, Any, Ended]:
        """By its result, else its stream; else it is polled, and the thread tells the rest."""
        case = self._case
        started = yield from name(case, self)
        waiting = case.dialect.awaited(case.resume, started)
        if waiting is not None:
            response = yield Join(waiting)
            if response.ok:
                body: bytes = yield ReadBody()
                return case.dialect.ended(body)
        request = case.dialect.join(case.resume, started)
        if request is not None:
            response = yield Join(request)
            if response.ok:
                reframer = case.dialect.reframer(case.resume, started)
                yield Drain(reframer)
                return reframer.ended()
        while not (yield from has_ended(case, started)):
            yield Poll(case.settings.run_poll)
        return Ended()


class Resulting:
    """The backend answers when the run has ended."""

    held = True

    def __init__(self, case: Case, response: Response | None) -> None:
        self.started: Started | None = None
        self._case, self._response = case, response
        self._body: bytes | None = None

    def accept(self) -> Flow:
        """By its head where that comes at once; by silence where it took longer than a refusal does."""
        case, response = self._case, self._response
        if response is None:
            yield from _accept(case, None)
            return
        self.started = case.dialect.started(response, b"", case.resume, case.found)
        if case.dialect.accepts_at_head:
            yield from _accept(case, self.started)
            return
        yield from self._read(response, ReadBody())
        yield from _accept(case, self.started)

    def end(self) -> Generator[Step, Any, Ended]:
        response = self._response
        if response is None:
            response = yield ReadHead()
            if not response.ok:
                raise self._case.dialect.refusal(response)
        if self._body is None:
            body = yield ReadBody()
            yield from self._understand(response, body)
        return self._case.dialect.ended(self._body or b"")

    def _read(self, response: Response, step: ReadBody) -> Flow:
        body = yield from _read(self._case, step)
        yield from _refuse(self._case, response, body)
        yield from self._understand(response, body)

    def _understand(self, response: Response, body: bytes) -> Flow:
        yield from ()
        self._body = body
        case = self._case
        self.started = case.dialect.started(response, body, case.resume, case.found) or self.started


class Streamed:
    """The backend answers with the run's events."""

    held = True

    def __init__(self, case: Case, response: Response | None) -> None:
        self.started: Started | None = None
        self.head = b""
        self._case, self._response = case, response or Response(200)

    def accept(self) -> Flow:
        """By the first events; a stream that is silent for longer than a refusal takes has taken it."""
        case = self._case
        self.started = case.dialect.started(self._response, b"", case.resume, case.found)
        grace = case.settings.stream_grace if case.dialect.silence_is_consent else None
        self.head = yield from _read(case, ReadEvents(grace, case.dialect.begun))
        self.started = self.started or case.dialect.started(self._response, self.head, case.resume, case.found)
        yield from _refuse(case, self._response, self.head, self.started)
        yield from _accept(case, self.started)

    def end(self) -> Generator[Step, Any, Ended]:
        started = yield from name(self._case, self)
        reframer = self._case.dialect.reframer(self._case.resume, started)
        reframer.feed(self.head)
        yield Drain(reframer)
        return reframer.ended()


def course_of(case: Case, response: Response | None) -> Course:
    """The course that the backend's answer tells of; `response` is None where it was not there within the grace."""
    match case.tells:
        case "run":
            return Named(case, response)
        case "result":
            return Resulting(case, response)
        case _:
            return Streamed(case, response)


def _read(case: Case, step: ReadBody | ReadEvents) -> Generator[Step, Any, bytes]:
    """Read what tells whether the backend took the resume; when that breaks off, it may have."""
    try:
        read: bytes = yield step
    except Exception:
        yield accepted(case)
        raise
    return read


def _refuse(case: Case, response: Response, body: bytes, started: Started | None = None) -> Flow:
    """Raise the refusal that an answer of 2xx holds, if it does. Only one that names a reason says: not taken."""
    refusal = case.dialect.refused(case.resume, replace(response, body=body))
    if refusal is None:
        return
    if isinstance(refusal, UpstreamFailure):
        refusal.metadata.setdefault("resume_state", "unknown")
        yield accepted(case, started)
    else:
        refusal.metadata.setdefault("resume_state", "not_sent")
        yield Untaken()
    raise refusal


def accepted(case: Case, started: Started | None = None, *, proven: bool = False) -> Accepted:
    """The acceptance; where the state may lag behind it, with the lookups that end when the state shows the resume."""
    commit = None if proven or case.dialect.commit == "with_answer" else _commit(case, started)
    if started is None:
        return Accepted(commit=commit)
    return Accepted(started.run_id, headers(case, started) if case.resume.mode is Mode.WAIT else (), commit)


def _accept(case: Case, started: Started | None) -> Flow:
    """The backend took the resume. Where its 2xx does not prove that, wait until the thread's state does."""
    lost: ResumeError | None = None
    proven = False
    if case.dialect.acceptance_unproven:
        try:
            proven, lost = yield from _prove(case)
        except ClientGone:
            yield accepted(case, started)
            raise
    yield Untaken() if _never_heard(lost) else accepted(case, started, proven=proven)
    if lost is not None:
        raise lost


def _prove(case: Case) -> Generator[Step, Any, tuple[bool, ResumeError | None]]:
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
        lost = case.dialect.unheard(case.found, now)
        if _never_heard(lost):
            return False, lost
        yield Pause(case.settings.settle_step)
        waited = round(waited + case.settings.settle_step, 6)
    return False, lost


def _commit(case: Case, started: Started | None) -> Flow:
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
        yield Pause(pause)
        pause = min(pause * 1.5, case.settings.completion_poll)


def _shows_resume(case: Case, now: Found) -> bool:
    """Whether the thread has moved on: it is busy, or no longer stands where the resume found it."""
    if now.status == "busy":
        return True
    if not case.answered:
        return not now.breakpoint
    left = now.interrupts if case.found.interrupts else now.answered
    return set(case.answered).isdisjoint(interrupt.name for interrupt in left)


def _nameless_has_ended(case: Case, started: Started | None) -> Generator[Step, Any, bool]:
    """Where questions have no ids, the same one may be asked again: then the end of a new run shows the resume."""
    if started is None or started.run_id == case.found.run_id or all(i.id is not None for i in case.found.interrupts):
        return False
    if case.dialect.run(case.resume, started) is None:
        return False
    return (yield from has_ended(case, started))


def _never_heard(lost: ResumeError | None) -> bool:
    return lost is not None and lost.metadata.get("resume_state") == "not_sent"


def name(case: Case, run: Course) -> Generator[Step, Any, Started]:
    """The run, by what the answer told, else by what the thread says is its newest run."""
    if run.started is None:
        found = yield from case.look_again(agent=True)
        run_id = found.run_id or (case.resume.nonce if case.dialect.makes_run_ids else None)
        if run_id is None:
            raise UpstreamUnrecognised("The backend took the resume, but does not tell the run's id.")
        yield Known(run_id)
        run.started = Started(run_id, found.agent_id, memory=found.memory)
    return run.started


def has_ended(case: Case, started: Started) -> Generator[Step, Any, bool]:
    """Whether the run is over, or stopped at a question; where it cannot be read, whether the thread is at rest."""
    reading = case.dialect.run(case.resume, started)
    if reading is not None:
        (read,) = yield Ask((reading,))
        return not read.ok or case.dialect.has_ended(read)
    yield AwaitCommit()  # before its commit a run that has just begun looks like one that is over
    try:
        found = yield from case.look_again()
    except NotFound:
        return True
    return found.status != "busy"


def headers(case: Case, started: Started) -> Headers:
    """What an answer's head says of the run, and of fields that were dropped."""
    location = case.dialect.location(case.resume, started)
    located: Headers = () if location is None else (("content-location", location),)
    ignored: Headers = (("ap-resume-ignored", ", ".join(case.resume.ignored)),) if case.resume.ignored else ()
    return (*located, *ignored)
