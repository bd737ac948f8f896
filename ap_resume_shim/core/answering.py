"""After the resume was forwarded: the answer, in the client's mode, from what the backend answers in its own.

What the backend answers is the run, which goes on; or the result, when the run has ended; or the run's events
(`Dialect.tells`). Of each of them the flow has to know two things: that the resume was taken, and how the run ends.
With these, a mode that the backend lacks is made from what it has: polled, drained, or held open for the client.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Dialect, Found, Lookup, Started
from ap_resume_shim.core.errors import NotFound, ResumeError, UpstreamFailure, UpstreamUnrecognised
from ap_resume_shim.core.events import Emitter
from ap_resume_shim.core.exchange import (
    Accepted,
    Answer,
    Ask,
    Begin,
    ClientGone,
    Drain,
    Ended,
    Finish,
    Flow,
    Headers,
    Join,
    Known,
    Overtaken,
    Pause,
    Poll,
    ReadBody,
    ReadEvents,
    ReadHead,
    Reply,
    Response,
    Settings,
    Settled,
    Step,
    StreamReply,
    Tell,
    Untaken,
)
from ap_resume_shim.core.protocol import Mode, Resume, Run, RunStatus, wait_response

REPLAYED = ("idempotency-replayed", "true")

STREAM_HEADERS: Headers = (
    ("cache-control", "no-store, no-transform"),
    ("x-accel-buffering", "no"),
    ("incremental", "?1"),  # RFC 10036
)


@dataclass(frozen=True, slots=True)
class Case:
    """One resume: what was asked, of which kind of backend, and how its thread was found."""

    resume: Resume
    dialect: Dialect
    settings: Settings
    found: Found

    @property
    def grace(self) -> float | None:
        """How long a client that does not wait for the result waits for a refusal; None: for the backend's answer."""
        made = self.dialect.tells[self.resume.mode] == "result" and self.resume.mode is not Mode.WAIT
        return self.settings.stream_grace if made else None


def answer(case: Case, response: Response | None) -> Flow:
    """Answer the client; `response` is the backend's at its head, None where it was not there within the grace."""
    run: _Course
    match case.dialect.tells[case.resume.mode]:
        case "run":
            run = _Named(case, response)
        case "result":
            run = _Resulting(case, response)
        case _:
            run = _Streamed(case, response)
    answers = {Mode.BACKGROUND: _background, Mode.WAIT: _wait, Mode.STREAM: _stream}
    yield from answers[case.resume.mode](case, run)


def _background(case: Case, run: _Course) -> Flow:
    yield from run.accept()
    started = yield from _name(case, run)
    told = _run(case, started, started.status, dict(started.metadata or {}))
    yield Answer(Reply(200, told.as_json(), _headers(case, started)))
    if run.held:
        yield from run.end()
        yield Settled()
    yield from _complete(case, started)


def _wait(case: Case, run: _Course) -> Flow:
    try:
        yield from run.accept()
        ended = yield from run.end()
    except ClientGone:
        yield from cancel(case, run.started)
        raise
    started = yield from _name(case, run)
    after = yield from _look_again(case)
    if after.status != "busy":
        yield Settled()
    status, metadata = _outcome(ended, after)
    told = _run(case, started, status, metadata, started.updated_at or after.updated_at)
    values = ended.values if ended.values is not None else after.values
    yield Answer(Reply(200, wait_response(told, values), _headers(case, started)))
    yield from _complete(case, started)


def _stream(case: Case, run: _Course) -> Flow:
    try:
        yield from run.accept()
        started = yield from _name(case, run)
        if isinstance(run, _Streamed):
            yield from _relay(case, started, run.head)
        elif not (isinstance(run, _Named) and (yield from _relay_joined(case, started))):
            yield from _make_stream(case, started, run)
    except ClientGone:
        yield from cancel(case, run.started)
        raise
    yield Settled()
    yield from _complete(case, started)


class _Course(Protocol):
    """The course of a run that was resumed: how its beginning and its end are told."""

    started: Started | None
    held: bool
    """Whether the backend's answer has to be read to its end, whoever waits for it."""

    def accept(self) -> Flow:
        """See whether the backend took the resume. Raises its refusal."""

    def end(self) -> Generator[Step, Any, Ended]:
        """Wait for the run's end."""


class _Named:
    """The backend names the run, and lets it go on."""

    held = False

    def __init__(self, case: Case, response: Response | None) -> None:
        self.started: Started | None = None
        self._case, self._response = case, response or Response(200)

    def accept(self) -> Flow:
        body = yield from _read(ReadBody())
        yield from _refuse(self._case, self._response, body)
        self.started = self._case.dialect.started(self._response, body, self._case.resume, self._case.found)
        yield from _accept(self._case, self.started)

    def end(self) -> Generator[Step, Any, Ended]:
        """By its result, else its stream; else it is polled, and the thread tells the rest."""
        case = self._case
        started = yield from _name(case, self)
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
        while not (yield from _has_ended(case, started)):
            yield Poll(case.settings.run_poll)
        return Ended()


class _Resulting:
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
        body = yield from _read(step)
        yield from _refuse(self._case, response, body)
        yield from self._understand(response, body)

    def _understand(self, response: Response, body: bytes) -> Flow:
        yield from ()
        self._body = body
        case = self._case
        self.started = case.dialect.started(response, body, case.resume, case.found) or self.started


class _Streamed:
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
        self.head = yield from _read(ReadEvents(grace, case.dialect.begun))
        self.started = self.started or case.dialect.started(self._response, self.head, case.resume, case.found)
        yield from _refuse(case, self._response, self.head, self.started)
        yield from _accept(case, self.started)

    def end(self) -> Generator[Step, Any, Ended]:
        started = yield from _name(self._case, self)
        reframer = self._case.dialect.reframer(self._case.resume, started)
        reframer.feed(self.head)
        yield Drain(reframer)
        return reframer.ended()


def _relay(case: Case, started: Started, head: bytes, *more: tuple[str, str]) -> Flow:
    """Pass on the backend's stream, of which `head` was read, in the client's events."""
    reframer = sse.Named(case.dialect.reframer(case.resume, started), started.run_id)
    yield Answer(StreamReply(head, reframer, (*_headers(case, started), *STREAM_HEADERS, *more)))


def _relay_joined(case: Case, started: Started, *more: tuple[str, str]) -> Generator[Step, Any, bool]:
    """Pass on the stream of a run that goes on already; False where that cannot be had."""
    request = case.dialect.join(case.resume, started)
    if request is None:
        return False
    response = yield Join(request)
    if not response.ok:
        return False
    head = yield ReadEvents(case.settings.stream_grace, case.dialect.begun)
    yield from _relay(case, started, head, *more)
    return True


def join(case: Case, started: Started) -> Generator[Step, Any, bool]:
    """Give who asks again the rest of the stream of a run that has not ended; False where that cannot be had."""
    reading = case.dialect.run(case.resume, started)
    if reading is None or case.dialect.join(case.resume, started) is None:
        return False
    (read,) = yield Ask((reading,))
    if not read.ok or case.dialect.has_ended(read):
        return False
    try:
        joined = yield from _relay_joined(case, started, REPLAYED)
    except ClientGone:
        yield from cancel(case, started)
        raise
    return joined


def _make_stream(case: Case, started: Started, run: _Course) -> Flow:
    """Events of what the backend tells without any: which run it is, and what came of it."""
    emitter = Emitter(case.resume.body.stream_modes)
    yield Begin((*_headers(case, started), *STREAM_HEADERS))
    yield Tell(sse.encode("metadata", {"run_id": started.run_id}))
    try:
        ended = yield from run.end()
        after = yield from _look_again(case)
    except ResumeError as failure:
        yield Tell(emitter.error(failure.body()))
        raise
    values = ended.values if ended.values is not None else after.values
    status, metadata = _outcome(ended, after)
    yield Tell(emitter.values({} if values is None else values))
    if status == "error":
        yield Tell(emitter.error(metadata.get("error")))
    elif after.interrupts:
        yield Tell(emitter.interrupted(after.interrupts))
    yield Finish()


def cancel(case: Case, started: Started | None) -> Flow:
    """`on_disconnect: cancel`. A run whose name is not known yet is the newest of its thread, if none came after it."""
    if started is None:
        found = yield from case.dialect.lookup(case.resume)
        if found.run_id is None or found.status != "busy" or (yield Overtaken()):
            return
        started = Started(found.run_id, memory=found.memory)
    request = case.dialect.cancel(case.resume, started)
    if request is not None:
        yield Ask((request,))


def _read(step: ReadBody | ReadEvents) -> Generator[Step, Any, bytes]:
    """Read what tells whether the backend took the resume; when that breaks off, it may have."""
    try:
        read: bytes = yield step
    except Exception:
        yield Accepted()
        raise
    return read


def _refuse(case: Case, response: Response, body: bytes, started: Started | None = None) -> Flow:
    """Raise the refusal that an answer of 2xx holds, if it does. Only one that names a reason says: not taken."""
    refusal = case.dialect.refused(case.resume, replace(response, body=body))
    if refusal is None:
        return
    if isinstance(refusal, UpstreamFailure):
        refusal.metadata.setdefault("resume_state", "unknown")
        yield Accepted(None if started is None else started.run_id)
    else:
        refusal.metadata.setdefault("resume_state", "not_sent")
        yield Untaken()
    raise refusal


def _accept(case: Case, started: Started | None) -> Flow:
    """The backend took the resume: let the thread go, once it does not look interrupted any longer."""
    told: Step = Accepted()
    if started is not None:
        told = Accepted(started.run_id, _headers(case, started) if case.resume.mode is Mode.WAIT else ())
    unheard: ResumeError | None = None
    try:
        if case.dialect.shows_late:
            unheard = yield from _until_it_shows(case)
    except ClientGone:
        yield told
        raise
    yield Untaken() if _never_heard(unheard) else told
    if unheard is not None:
        raise unheard


def _until_it_shows(case: Case) -> Generator[Step, Any, ResumeError | None]:
    """Wait until the questions that were found are gone: until then, a second resume would be taken as well.

    Of a step that is retried, the questions were answered before. Where they stay, the dialect may know why.
    """
    found = case.found
    asked = {interrupt.id for interrupt in found.interrupts or found.answered}
    unheard: ResumeError | None = None
    waited = 0.0
    while waited < case.settings.settle:
        try:
            now = yield from case.dialect.lookup(case.resume, agent=False)
        except ResumeError:  # what the thread does not tell is told by the run's end
            return None
        left = now.interrupts if found.interrupts else now.answered
        if now.status == "busy" or not asked & {interrupt.id for interrupt in left}:
            return None
        unheard = case.dialect.unheard(found, now)
        if _never_heard(unheard):
            return unheard
        yield Pause(case.settings.settle_step)
        waited = round(waited + case.settings.settle_step, 6)
    return unheard


def _never_heard(unheard: ResumeError | None) -> bool:
    return unheard is not None and unheard.metadata.get("resume_state") == "not_sent"


def _name(case: Case, run: _Course) -> Generator[Step, Any, Started]:
    """The run, by what the answer told, else by what the thread says is its newest run."""
    if run.started is None:
        found = yield from case.dialect.lookup(case.resume)
        if found.run_id is None:
            raise UpstreamUnrecognised("The backend took the resume, but does not tell the run's id.")
        yield Known(found.run_id)
        run.started = Started(found.run_id, found.agent_id, memory=found.memory)
    return run.started


def _has_ended(case: Case, started: Started) -> Generator[Step, Any, bool]:
    """Whether the run is over, or stopped at a question; where it cannot be read, whether the thread is at rest."""
    reading = case.dialect.run(case.resume, started)
    if reading is not None:
        (read,) = yield Ask((reading,))
        return not read.ok or case.dialect.has_ended(read)
    try:
        found = yield from case.dialect.lookup(case.resume, agent=False)
    except NotFound:
        return True
    return found.status != "busy"


def _look_again(case: Case) -> Lookup:
    """How the thread stands after the run; a thread that is gone was deleted on completion."""
    waited = 0.0
    while True:
        try:
            found = yield from case.dialect.lookup(case.resume, agent=False)
        except NotFound:
            return Found("idle")
        if found.status != "busy" or waited >= case.settings.settle:
            return found
        yield Pause(case.settings.settle_step)
        waited = round(waited + case.settings.settle_step, 6)


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
    case: Case,
    started: Started,
    status: RunStatus,
    metadata: dict[str, Any],
    updated_at: str | None = None,
) -> Run:
    resume = case.resume
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


def _headers(case: Case, started: Started) -> Headers:
    location = case.dialect.location(case.resume, started)
    located: Headers = () if location is None else (("content-location", location),)
    ignored: Headers = (("ap-resume-ignored", ", ".join(case.resume.ignored)),) if case.resume.ignored else ()
    return (*located, *ignored)


def _complete(case: Case, started: Started) -> Flow:
    """`on_completion: delete`, which recorded servers ignore: after the run, unless it asks again."""
    request = case.dialect.delete(case.resume)
    if case.resume.body.on_completion != "delete" or request is None:
        return
    while not (yield from _has_ended(case, started)):
        yield Pause(case.settings.completion_poll)
    after = yield from _look_again(case)
    if after.status == "busy" or after.interrupts or after.answered or after.breakpoint:
        return
    (response,) = yield Ask((request,))
    if not response.ok:
        raise case.dialect.refusal(response)
