"""Tracks a resumed run: reads its acceptance, and finds its outcome.

The backend responds with a reference to a run in progress, with the result of the finished run, or with the run's
events (`Dialect.response_kinds`). There is one tracker for each kind.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Generic, Protocol

from ap_resume_shim.core.acceptance import (
    Acceptance,
    Case,
    accept,
    check_run,
    has_ended,
    read_acceptance,
    read_started,
    unknown_if_unreadable,
)
from ap_resume_shim.core.dialect import C, Started
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.readable import JSON, check_head, check_json
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.steps import Drain, Flow, Join, Poll, ReadBody, ReadEvents, ReadHead, Steps, guard


class RunTracker(Acceptance[C], Protocol[C]):
    """Follows a resumed run from the backend's response to the run's end."""

    held: bool
    """True if the backend's response must be read to its end, even if the client does not wait for it."""

    def accept(self) -> Flow:
        """Read whether the backend took the resume. Raises its refusal."""

    def end(self) -> Steps[Ended]:
        """Wait for the run's end. Returns its outcome."""


class RunReference(Generic[C]):
    """The backend responds with a reference to the run, which continues."""

    held = False

    def __init__(self, case: Case[C], response: Response | None) -> None:
        self.started: Started[C] | None = None
        self._case, self._response = case, response or Response(200)

    def accept(self) -> Flow:
        """Read the acceptance from the whole response. Raises the backend's refusal."""
        yield from read_acceptance(self._case, self, self._response, ReadBody())
        yield from accept(self._case, self.started)

    def understand(self, response: Response) -> None:
        """Read the run from the response. Raises `UpstreamUnrecognised` for a body that is not a run."""
        check_run(response)
        self.started = read_started(self._case, response)

    def end(self) -> Steps[Ended]:
        """Read the outcome from the run's result, else from its stream.

        If the backend has neither, poll the run; the thread's state then shows the outcome.
        """
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
    """The backend responds when the run has ended."""

    held = True

    def __init__(self, case: Case[C], response: Response | None) -> None:
        self.started: Started[C] | None = None
        self._case, self._response = case, response
        self._ended: Ended | None = None

    def accept(self) -> Flow:
        """Read the acceptance from the response, if it came within the grace.

        A longer silence counts as acceptance, since a refusal comes sooner.
        """
        case, response = self._case, self._response
        if response is not None:
            yield from read_acceptance(case, self, response, None if case.dialect.accepts_at_head else ReadBody())
        yield from accept(case, self.started)

    def understand(self, response: Response) -> None:
        """Read the run and its result from the response. Raises `UpstreamFailure`."""
        check_json(response)
        self.started = read_started(self._case, response) or self.started
        self._ended = self._case.dialect.ended(response.body)

    def end(self) -> Steps[Ended]:
        """Wait for the response, if it has not come. Returns the result."""
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
    """The backend responds with the run's events."""

    held = True

    def __init__(self, case: Case[C], response: Response | None) -> None:
        self.started: Started[C] | None = None
        self.head = b""
        self._case, self._response = case, response or Response(200)

    def accept(self) -> Flow:
        """Read the acceptance from the first events.

        A longer silence counts as acceptance, since a refusal comes sooner.
        """
        case = self._case
        grace = case.settings.stream_grace if case.dialect.accept_after_silent_grace else None
        yield from read_acceptance(case, self, self._response, ReadEvents(grace, case.dialect.begun))
        yield from accept(case, self.started)

    def understand(self, response: Response) -> None:
        """Read the run from the first events, and store them for the relay."""
        self.head = response.body
        self.started = read_started(self._case, response) or self.started

    def end(self) -> Steps[Ended]:
        """Drain the stream. Returns the outcome that its events showed."""
        started = yield from name(self._case, self)
        reframer = self._case.dialect.reframer(self._case.resume, started)
        reframer.feed(self.head)
        yield from Drain(reframer)
        return reframer.ended()


def track_run(case: Case[C], response: Response | None) -> RunTracker[C]:
    """Return the tracker for the kind of the backend's response.

    `response` is None if it did not come within the grace.
    """
    match case.response_kind:
        case "run":
            return RunReference(case, response)
        case "result":
            return RunResult(case, response)
        case _:
            return RunStream(case, response)


def open_join(request: Request | None, media_types: Collection[str]) -> Steps[Response | None]:
    """Send a request for a run in progress. Returns its response at the head; None if the backend cannot provide it."""
    if request is None:
        return None
    response = yield from Join(request)
    if not response.ok:
        return None
    check_head(response, media_types)
    return response


def name(case: Case[C], run: RunTracker[C]) -> Steps[Started[C]]:
    """Return the run: the one in the backend's response, else the thread's newest run.

    Raises `UpstreamUnrecognised` if neither identifies it.
    """
    if run.started is None:
        found = yield from case.refresh_thread(full=True)
        run_id = found.run_id or (case.resume.nonce if case.dialect.makes_run_ids else None)
        if run_id is None:
            raise UpstreamUnrecognised("The backend accepted the resume, but did not report the run's id.")
        if case.dialect.starts_runs and run_id == case.found.run_id:
            raise UpstreamUnrecognised(
                "The backend's response identifies no run, and the thread shows no new one.",
                {"resume_state": "unknown"},
            )
        yield from guard.mark_run_id(run_id)
        run.started = Started(run_id, found.agent_id, context=found.context)
    return run.started
