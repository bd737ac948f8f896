"""The course of a run that was resumed: how its beginning is read, and how it ends.

What the backend answers is the run, which goes on; or the result, when the run has ended; or the run's events
(`Dialect.response_kinds`). There is a course for each.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from dataclasses import replace
from typing import Any, Protocol

from ap_resume_shim.core.acceptance import (
    Case,
    Taken,
    accept,
    check_run,
    has_ended,
    read_started,
    take,
    unknown_if_unreadable,
)
from ap_resume_shim.core.dialect import Started
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.readable import JSON, check_head, check_json
from ap_resume_shim.core.steps import (
    Drain,
    Ended,
    Flow,
    Join,
    MarkRunId,
    Poll,
    ReadBody,
    ReadEvents,
    ReadHead,
    Request,
    Response,
    Step,
)


class RunTracker(Taken, Protocol):
    """The course of a run that was resumed: how its beginning and its end are told."""

    held: bool
    """Whether the backend's answer has to be read to its end, whoever waits for it."""

    def accept(self) -> Flow:
        """See whether the backend took the resume. Raises its refusal."""

    def end(self) -> Generator[Step, Any, Ended]:
        """Wait for the run's end."""


class RunReference:
    """The backend names the run, and lets it go on."""

    held = False

    def __init__(self, case: Case, response: Response | None) -> None:
        self.started: Started | None = None
        self._case, self._response = case, response or Response(200)

    def accept(self) -> Flow:
        yield from take(self._case, self, self._response, ReadBody())
        yield from accept(self._case, self.started)

    def understand(self, response: Response) -> None:
        check_run(response)
        self.started = read_started(self._case, response)

    def end(self) -> Generator[Step, Any, Ended]:
        """By its result, else its stream; else it is polled, and the thread tells the rest."""
        case = self._case
        started = yield from name(case, self)
        response = yield from open_join(case.dialect.awaited(case.resume, started), JSON)
        if response is not None:
            body: bytes = yield ReadBody()
            check_json(replace(response, body=body))
            return case.dialect.ended(body)
        response = yield from open_join(case.dialect.join(case.resume, started), case.dialect.event_types)
        if response is not None:
            reframer = case.dialect.reframer(case.resume, started)
            yield Drain(reframer)
            return reframer.ended()
        while not (yield from has_ended(case, started)):
            yield Poll(case.settings.run_poll)
        return Ended()


class RunResult:
    """The backend answers when the run has ended."""

    held = True

    def __init__(self, case: Case, response: Response | None) -> None:
        self.started: Started | None = None
        self._case, self._response = case, response
        self._ended: Ended | None = None

    def accept(self) -> Flow:
        """By its head where that comes at once; by silence where it took longer than a refusal does."""
        case, response = self._case, self._response
        if response is not None:
            yield from take(case, self, response, None if case.dialect.accepts_at_head else ReadBody())
        yield from accept(case, self.started)

    def understand(self, response: Response) -> None:
        check_json(response)
        self.started = read_started(self._case, response) or self.started
        self._ended = self._case.dialect.ended(response.body)

    def end(self) -> Generator[Step, Any, Ended]:
        response = self._response
        if response is None:
            response = yield ReadHead()
            if not response.ok:
                raise self._case.dialect.refusal(response)
        if self._ended is None:
            with unknown_if_unreadable():
                check_head(response, JSON)
                body = yield ReadBody()
                self.understand(replace(response, body=body))
        return self._ended or Ended()


class RunStream:
    """The backend answers with the run's events."""

    held = True

    def __init__(self, case: Case, response: Response | None) -> None:
        self.started: Started | None = None
        self.head = b""
        self._case, self._response = case, response or Response(200)

    def accept(self) -> Flow:
        """By the first events; a stream that is silent for longer than a refusal takes has taken it."""
        case = self._case
        grace = case.settings.stream_grace if case.dialect.accept_after_silent_grace else None
        yield from take(case, self, self._response, ReadEvents(grace, case.dialect.begun))
        yield from accept(case, self.started)

    def understand(self, response: Response) -> None:
        self.head = response.body
        self.started = read_started(self._case, response) or self.started

    def end(self) -> Generator[Step, Any, Ended]:
        started = yield from name(self._case, self)
        reframer = self._case.dialect.reframer(self._case.resume, started)
        reframer.feed(self.head)
        yield Drain(reframer)
        return reframer.ended()


def track_run(case: Case, response: Response | None) -> RunTracker:
    """The course that the backend's answer tells of; `response` is None where it was not there within the grace."""
    match case.response_kind:
        case "run":
            return RunReference(case, response)
        case "result":
            return RunResult(case, response)
        case _:
            return RunStream(case, response)


def open_join(request: Request | None, media_types: Collection[str]) -> Generator[Step, Any, Response | None]:
    """Open the answer of a run that goes on already; None where that cannot be had."""
    if request is None:
        return None
    response: Response = yield Join(request)
    if not response.ok:
        return None
    check_head(response, media_types)
    return response


def name(case: Case, run: RunTracker) -> Generator[Step, Any, Started]:
    """The run, by what the answer told, else by what the thread says is its newest run."""
    if run.started is None:
        found = yield from case.look_again(agent=True)
        run_id = found.run_id or (case.resume.nonce if case.dialect.makes_run_ids else None)
        if run_id is None:
            raise UpstreamUnrecognised("The backend took the resume, but does not tell the run's id.")
        if case.dialect.starts_runs and run_id == case.found.run_id:
            raise UpstreamUnrecognised(
                "The backend's answer names no run, and the thread shows no new one.", {"resume_state": "unknown"}
            )
        yield MarkRunId(run_id)
        run.started = Started(run_id, found.agent_id, context=found.context)
    return run.started
