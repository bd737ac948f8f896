"""Tracking a resumed run: how its acceptance is read, and how its end is found.

What the backend answers is the run, which goes on; or the result, when the run has ended; or the run's events
(`Dialect.response_kinds`). There is a tracker for each.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Generic, Protocol

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
from ap_resume_shim.core.dialect import C, Started
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.readable import JSON, check_head, check_json
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.steps import Drain, Flow, Join, Poll, ReadBody, ReadEvents, ReadHead, Steps, guard


class RunTracker(Taken[C], Protocol[C]):
    """Follows a resumed run from the backend's response to the run's end."""

    held: bool
    """Whether the backend's answer has to be read to its end, whoever waits for it."""

    def accept(self) -> Flow:
        """See whether the backend took the resume. Raises its refusal."""

    def end(self) -> Steps[Ended]:
        """Wait for the run's end."""


class RunReference(Generic[C]):
    """The backend names the run, and lets it go on."""

    held = False

    def __init__(self, case: Case[C], response: Response | None) -> None:
        self.started: Started[C] | None = None
        self._case, self._response = case, response or Response(200)

    def accept(self) -> Flow:
        yield from take(self._case, self, self._response, ReadBody())
        yield from accept(self._case, self.started)

    def understand(self, response: Response) -> None:
        check_run(response)
        self.started = read_started(self._case, response)

    def end(self) -> Steps[Ended]:
        """By its result, else its stream; else it is polled, and the thread tells the rest."""
        case = self._case
        started = yield from name(case, self)
        response = yield from open_join(case.dialect.awaited(case.resume, started), JSON)
        if response is not None:
            body = yield from ReadBody()
            check_json(replace(response, body=body))
            return case.dialect.ended(body)
        response = yield from open_join(case.dialect.join(case.resume, started), case.dialect.event_types)
        if response is not None:
            reframer = case.dialect.reframer(case.resume, started)
            yield from Drain(reframer)
            return reframer.ended()
        while not (yield from has_ended(case, started)):
            yield from Poll(case.settings.run_poll)
        return Ended()


class RunResult(Generic[C]):
    """The backend answers when the run has ended."""

    held = True

    def __init__(self, case: Case[C], response: Response | None) -> None:
        self.started: Started[C] | None = None
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

    def end(self) -> Steps[Ended]:
        response = self._response
        if response is None:
            response = yield from ReadHead()
            if not response.ok:
                raise self._case.dialect.refusal(response)
        if self._ended is None:
            with unknown_if_unreadable():
                check_head(response, JSON)
                body = yield from ReadBody()
                self.understand(replace(response, body=body))
        return self._ended or Ended()


class RunStream(Generic[C]):
    """The backend answers with the run's events."""

    held = True

    def __init__(self, case: Case[C], response: Response | None) -> None:
        self.started: Started[C] | None = None
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

    def end(self) -> Steps[Ended]:
        started = yield from name(self._case, self)
        reframer = self._case.dialect.reframer(self._case.resume, started)
        reframer.feed(self.head)
        yield from Drain(reframer)
        return reframer.ended()


def track_run(case: Case[C], response: Response | None) -> RunTracker[C]:
    """The tracker for the kind of the backend's response; `response` is None if it did not come within the grace."""
    match case.response_kind:
        case "run":
            return RunReference(case, response)
        case "result":
            return RunResult(case, response)
        case _:
            return RunStream(case, response)


def open_join(request: Request | None, media_types: Collection[str]) -> Steps[Response | None]:
    """Open the answer of a run that goes on already; None where that cannot be had."""
    if request is None:
        return None
    response = yield from Join(request)
    if not response.ok:
        return None
    check_head(response, media_types)
    return response


def name(case: Case[C], run: RunTracker[C]) -> Steps[Started[C]]:
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
        yield from guard.mark_run_id(run_id)
        run.started = Started(run_id, found.agent_id, context=found.context)
    return run.started
