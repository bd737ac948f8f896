"""Builds the response to the client, in its mode, from the backend's response, whatever its kind.

A `RunTracker` (`core.run_outcome`) shows whether the resume was accepted, and how the run ends. With it, a mode that
the backend lacks is derived: by polling, by draining a stream, or by holding the backend's request open.
"""

from __future__ import annotations

from typing import Any

from ap_resume_shim.core import sse
from ap_resume_shim.core.acceptance import Case, has_ended, headers
from ap_resume_shim.core.dialect import C, Found, Lookup, Started
from ap_resume_shim.core.errors import NotFound, ResumeError
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Headers, Response
from ap_resume_shim.core.protocol import Mode, Run, RunStatus, wait_response
from ap_resume_shim.core.reframer import Ended, WithRunId
from ap_resume_shim.core.run_outcome import RunReference, RunStream, RunTracker, name, open_join, track_run
from ap_resume_shim.core.steps import (
    Ask,
    ClientGone,
    EndStream,
    Flow,
    MarkIdle,
    Now,
    Pause,
    ReadEvents,
    Reply,
    SendChunk,
    SendReply,
    StartStream,
    Steps,
    StreamReply,
    guard,
)

REPLAYED = ("idempotency-replayed", "true")
"""Response header of a replay under an `Idempotency-Key`."""

STREAM_HEADERS: Headers = (
    ("cache-control", "no-store, no-transform"),
    ("x-accel-buffering", "no"),
    ("incremental", "?1"),  # RFC 10036
)
"""Response headers of every event stream."""


def respond(case: Case[C], response: Response | None) -> Flow:
    """Respond to the client.

    `response` is the head of the backend's response; None if it did not come within the grace.
    """
    run = track_run(case, response)
    answers = {Mode.BACKGROUND: _background, Mode.WAIT: _wait, Mode.STREAM: _stream}
    yield from answers[case.resume.mode](case, run)


def _background(case: Case[C], run: RunTracker[C]) -> Flow:
    yield from run.accept()
    started = yield from name(case, run)
    failed = {} if started.error is None else {"error": started.error}
    draft_run = _run(case, started, started.status, failed)
    yield from SendReply(Reply(200, draft_run.as_json(), headers(case, started)))
    if run.held:
        yield from run.end()
        yield from MarkIdle()
    yield from _complete(case, started)


def _wait(case: Case[C], run: RunTracker[C]) -> Flow:
    try:
        yield from run.accept()
        ended = yield from run.end()
    except ClientGone:
        yield from cancel_run(case, run.started)
        raise
    started = yield from name(case, run)
    after = yield from _state_after_run(case, ended)
    if after.status != "busy":
        yield from MarkIdle()
    if ids := set(after.ids) - set(case.found.ids):  # the others were stored with the claim
        yield from guard.remember(tuple(sorted(ids)))
    status, metadata = _outcome(ended, after)
    draft_run = _run(case, started, status, metadata, started.updated_at or after.updated_at)
    values = ended.values if ended.values is not None else after.values
    yield from SendReply(Reply(200, wait_response(draft_run, values), headers(case, started)))
    yield from _complete(case, started)


def _stream(case: Case[C], run: RunTracker[C]) -> Flow:
    try:
        yield from run.accept()
        started = yield from name(case, run)
        if isinstance(run, RunStream):
            yield from _relay(case, started, run.head)
        elif not (isinstance(run, RunReference) and (yield from _relay_joined(case, started))):
            yield from _make_stream(case, started, run)
    except ClientGone:
        yield from cancel_run(case, run.started)
        raise
    yield from MarkIdle()
    yield from _complete(case, started)


def _relay(case: Case[C], started: Started[C], head: bytes, *extra_headers: tuple[str, str]) -> Flow:
    """Send the backend's stream through the reframer.

    `head` is the part that was already read; `extra_headers` are added to the response.
    """
    reframer = WithRunId(case.dialect.reframer(case.resume, started), started.run_id)
    yield from SendReply(StreamReply(head, reframer, (*headers(case, started), *STREAM_HEADERS, *extra_headers)))


def _relay_joined(case: Case[C], started: Started[C], *extra_headers: tuple[str, str]) -> Steps[bool]:
    """Relay the stream of a run in progress. Returns False if the backend cannot provide it."""
    response = yield from open_join(case.dialect.join(case.resume, started), case.dialect.event_types)
    if response is None:
        return False
    head = yield from ReadEvents(case.settings.stream_grace, case.dialect.begun)
    yield from _relay(case, started, head or b"", *extra_headers)
    return True


def rejoin_stream(case: Case[C], started: Started[C]) -> Steps[bool]:
    """Send a retrying client the rest of the stream of a run in progress.

    Returns False if the run has ended or the backend cannot provide its stream.
    """
    request = case.dialect.run(case.resume, started)
    if request is None or case.dialect.join(case.resume, started) is None:
        return False
    (response,) = yield from Ask((request,))
    if not response.ok or case.dialect.has_ended(response):
        return False
    try:
        joined = yield from _relay_joined(case, started, REPLAYED)
    except ClientGone:
        yield from cancel_run(case, started)
        raise
    return joined


def _make_stream(case: Case[C], started: Started[C], run: RunTracker[C]) -> Flow:
    """Build a stream for a backend that sends none: a `metadata` event with the run's id, and the run's outcome."""
    emitter = Emitter(case.resume.body.stream_modes)
    yield from StartStream((*headers(case, started), *STREAM_HEADERS))
    yield from SendChunk(sse.encode("metadata", {"run_id": started.run_id}))
    try:
        ended = yield from run.end()
        after = yield from _refresh_after_run(case)
    except ResumeError as failure:
        yield from SendChunk(emitter.error(failure.body()))
        raise
    values = ended.values if ended.values is not None else after.values
    status, metadata = _outcome(ended, after)
    yield from SendChunk(emitter.values({} if values is None else values))
    if status == "error":
        yield from SendChunk(emitter.error(metadata.get("error")))
    elif after.interrupts:
        yield from SendChunk(emitter.interrupted(after.interrupts))
    yield from EndStream()


def cancel_run(case: Case[C], started: Started[C] | None) -> Flow:
    """Carry out `on_disconnect: cancel`.

    A run without a known id is the thread's newest, unless another resume followed.
    """
    if started is None:
        found = yield from case.refresh_thread(full=True)
        if found.run_id is None or found.status != "busy" or (yield from guard.rival()):
            return
        started = Started(found.run_id, context=found.context)
    request = case.dialect.cancel(case.resume, started)
    if request is not None:
        yield from Ask((request,), once=True)


def _state_after_run(case: Case[C], ended: Ended) -> Lookup[C]:
    """Return the thread's state after the run: from the run's result if that is enough, else by a lookup."""
    if not ended.interrupts or ended.values is None or ended.error is not None:
        return (yield from _refresh_after_run(case))
    now = yield from Now()
    return Found("interrupted", ended.interrupts, updated_at=now, context=case.found.context)


def _refresh_after_run(case: Case[C]) -> Lookup[C]:
    """Look up the thread after the run. A missing thread was deleted on completion, and counts as idle."""
    waited = 0.0
    while True:
        try:
            found = yield from case.refresh_thread()
        except NotFound:
            return Found("idle", context=case.found.context)
        if found.status != "busy" or waited >= case.settings.settle:
            return found
        yield from Pause(case.settings.settle_step)
        waited = round(waited + case.settings.settle_step, 6)


def _outcome(ended: Ended, after: Found[C]) -> tuple[RunStatus, dict[str, Any]]:
    """Return the run's status and metadata by the thread's state.

    The run's own status is not enough: most servers report an interrupted run as `success`.
    """
    error = ended.error if ended.error is not None else after.error
    if ended.error is not None or after.answered or (after.status == "error" and not after.interrupts):
        return "error", {"error": error} if error is not None else {}
    if after.interrupts and after.status != "busy":
        return "interrupted", {"interrupts": [interrupt.as_json() for interrupt in after.interrupts]}
    if after.breakpoint:
        return "interrupted", {"interrupts": []}
    return "success", {}


def _run(
    case: Case[C],
    started: Started[C],
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
        # A time from the thread may be older than the run. RFC 3339 sorts as text.
        updated_at=max(created_at, updated_at or started.updated_at or resume.now),
        metadata={**(resume.body.metadata or {}), **metadata},
    )


def _complete(case: Case[C], started: Started[C]) -> Flow:
    """Carry out `on_completion: delete`, which recorded servers ignore.

    Deletes the thread after the run, unless it is interrupted again.
    """
    request = case.dialect.delete(case.resume)
    if case.resume.body.on_completion != "delete" or request is None:
        return
    while not (yield from has_ended(case, started)):
        yield from Pause(case.settings.completion_poll)
    after = yield from _refresh_after_run(case)
    if after.status == "busy" or after.interrupts or after.answered or after.breakpoint:
        return
    (response,) = yield from Ask((request,), once=True)
    if not response.ok:
        raise case.dialect.refusal(response)
