"""The flow of a guarded vendor resume: the lookup, verdict and hold of a draft resume, around the client's own request.

The original request is sent, and the backend's response is returned, byte for byte.
"""

from __future__ import annotations

from typing import Any

from ap_resume_shim.core.acceptance import Case, accepted
from ap_resume_shim.core.claiming import claim
from ap_resume_shim.core.dialect import C, Dialect, Found
from ap_resume_shim.core.errors import (
    HoldLapsed,
    IdempotencyKeyReused,
    PolicyUnavailable,
    ResumeError,
    ResumeInProgress,
    ShuttingDown,
    ThreadNotFound,
    ThreadNotInterrupted,
    UpstreamFailure,
    UpstreamUnreachable,
)
from ap_resume_shim.core.flow import unsent
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.reviewing import Reviewer
from ap_resume_shim.core.shape_errors import recognising
from ap_resume_shim.core.steps import Flow, OriginalResponse, ReadBody, SendOriginal, SendReply, Steps, guard
from ap_resume_shim.core.steps.guard import KeyRecord
from ap_resume_shim.core.vendor_resume import VendorResume

NEW_TURN = "new_turn"
"""The verdict on a request that would be an answer if the thread had a question."""


def vendor_flow(vendor: VendorResume, resume: Resume, dialect: Dialect[C], settings: FlowSettings) -> Flow:
    """Guard a vendor resume: refuse it, or send the client's request once and return the backend's response.

    Raises `ResumeError`, which the convention turns into its own form.
    """
    dialect = recognising(dialect)
    found = yield from unsent(look_up(vendor, resume, dialect))
    if vendor.refused is not None:
        raise vendor.refused
    addressed = vendor.addressed(resume, found)
    reviewer = None if addressed is None or not settings.review else Reviewer(addressed, dialect)
    if reviewer is not None:
        yield from reviewer.at_arrival(found, always=vendor.when == "always")
    stored = yield from guard.recall()
    if stored is not None:
        _refuse_replay(resume, stored)
    if (yield from guard.repeated()):
        raise ResumeInProgress(
            "The same answer came a moment ago, most likely a double click: this one was not sent. "
            "Read the thread before you answer again."
        )
    if addressed is None or (vendor.when == "if_interrupted" and _asks_nothing(found)):
        yield from _pass_new_turn(found)
        return
    resume, checks_value = addressed, vendor.convention.checks_value
    try:
        claiming = claim(resume, dialect, settings, found, checks_value=checks_value, reviewer=reviewer)
        found, verdict = yield from unsent(claiming)
    except ThreadNotInterrupted:
        if vendor.when == "always":
            raise
        yield from _pass_new_turn(found)
        return
    case = Case(resume, dialect, settings, found, found.names(verdict))
    response = yield from _send(case)
    yield from _settle(case, vendor, response)


def look_up(vendor: VendorResume, resume: Resume, dialect: Dialect[C]) -> Steps[Found[C]]:
    """Look the thread up. A thread that does not exist has no question: servers create it for a new turn."""
    try:
        return (yield from dialect.inspect_thread(resume))
    except ThreadNotFound:
        if vendor.when == "always":
            raise
        return Found("idle")


def _asks_nothing(found: Found[Any]) -> bool:
    """True if the thread is at rest and no answer can reach a question."""
    return not found.interrupts and found.status != "busy" and not found.moving


def _pass_new_turn(found: Found[Any]) -> Flow:
    """Send a request that is no answer, unless an answer that arrived before it is being sent or processed.

    The second click on an answer would otherwise become a new turn.
    """
    rival = yield from guard.rival()
    if rival is not None or (found.status == "busy" and (yield from guard.had_run_in_flight())):
        raise ResumeInProgress("Another answer to this thread came first. Read the thread before you answer again.")
    yield from SendReply(OriginalResponse((yield from SendOriginal())))


def _refuse_replay(resume: Resume, stored: KeyRecord) -> None:
    """Refuse a repeated `Idempotency-Key`: the backend's response is not stored."""
    if stored.fingerprint != resume.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used before, with another body. Send a new key with a new answer."
        )
    run = {} if stored.run_id is None else {"run_id": stored.run_id}
    raise ResumeInProgress(
        "The answer with this Idempotency-Key was sent before, and is not sent again. Read the thread.", run
    )


def _send(case: Case[C]) -> Steps[Response]:
    """Send the original request once. On failure, set `metadata.resume_state`."""
    try:
        return (yield from SendOriginal(fenced=True))
    except (UpstreamUnreachable, HoldLapsed, ShuttingDown, PolicyUnavailable) as failure:
        failure.metadata["resume_state"] = "not_sent"
        yield from guard.mark_rejected()
        raise
    except Exception as failure:
        if isinstance(failure, ResumeError):
            failure.metadata["resume_state"] = "unknown"
        yield from accepted(case)
        raise


def _settle(case: Case[C], vendor: VendorResume, response: Response) -> Flow:
    """Decide by the response whether the backend took the answer, and return the response."""
    convention = vendor.convention
    late = convention.commits_late(vendor)
    reads_body = response.ok and convention.reads_body(vendor, response)
    if reads_body:
        try:
            response = Response(response.status, response.headers, (yield from ReadBody()))
        except UpstreamFailure as failure:
            failure.metadata["resume_state"] = "unknown"
            yield from accepted(case, late=late)
            raise
    took = convention.took(vendor, response) if response.ok else _may_have_taken(case, response)
    reply = SendReply(OriginalResponse(response, complete=reads_body or not response.ok))
    mark = accepted(case, late=late) if took else guard.mark_rejected()
    if convention.runs_in_response(vendor):
        yield from reply  # meanwhile the thread is held; if the response breaks off, the resume counts as accepted
        yield from mark
    else:
        yield from mark
        yield from reply


def _may_have_taken(case: Case[C], failure: Response) -> bool:
    """True unless a response without 2xx is certainly a refusal: by its status, or by the dialect's rules."""
    refused = 400 <= failure.status < 500
    return not refused and isinstance(case.dialect.refusal(failure), UpstreamFailure)
