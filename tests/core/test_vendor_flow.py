"""The flow of a guarded vendor resume, driven by hand: look, judge, hold, send the client's own request once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ap_resume_shim.core.dialect import Found
from ap_resume_shim.core.errors import (
    HoldLapsed,
    IdempotencyKeyReused,
    InvalidRequest,
    ResumeError,
    ResumeInProgress,
    ResumeNotConsumed,
    ShuttingDown,
    ThreadBusy,
    ThreadNotFound,
    UnsupportedInput,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import OriginalResponse
from ap_resume_shim.core.steps.guard import KeyRecord
from ap_resume_shim.core.vendor_flow import vendor_flow
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume, by_question, limited_to
from tests.core.driving import ASKS, BUSY, DONE, NOW, REFUSED, USUAL, Plain, Transcript, follow

TAKEN, REJECTED = Response(200, (("x", "y"),)), Response(409, (), b"no")
TWO: Found[None] = Found("interrupted", (Interrupt("q1"), Interrupt("q2")), run_id="r1")
TYPED: Found[None] = Found("interrupted", (Interrupt("q1", response_schema={"type": "object"}),))
SENT = ["GET thread", "mark idle", "claim", "send original"]


class Clicks(Convention):
    """A convention whose clients name questions by a number."""

    name = "clicks"

    def __init__(
        self,
        *,
        reads: bool = False,
        late: bool = False,
        in_response: bool = False,
        checks_value: bool = True,
        named: Mapping[str, Any] | None = None,
    ) -> None:
        self._reads, self._late, self._named, self._in_response = reads, late, named, in_response
        self.checks_value = checks_value

    def addressed(self, vendor: VendorResume, found: Found[Any]) -> Mapping[str, Any] | None:
        if self._named is not None:
            return None if not self._named else self._named
        return super().addressed(vendor, found)

    def reads_body(self, vendor: VendorResume, response: Response) -> bool:
        return self._reads

    def took(self, vendor: VendorResume, response: Response) -> bool:
        return super().took(vendor, response) and response.body != b"refused"

    def runs_in_response(self, vendor: VendorResume) -> bool:
        return self._in_response or super().runs_in_response(vendor)

    def commits_late(self, vendor: VendorResume) -> bool:
        return self._late or super().commits_late(vendor)


def drive(
    comes: dict[str, Any] | None = None,
    convention: Convention | None = None,
    dialect: Plain | None = None,
    **fields: Any,
) -> Transcript:
    """Run the flow of a vendor resume to its end; `comes` as in `tests.core.driving`."""
    vendor = VendorResume(convention or Clicks(), ClientRequest("POST", "/"), "t", Mode.WAIT, {"input": "yes"})
    vendor = replace(vendor, **fields)
    flow = vendor_flow(vendor, vendor.resume("t", now=NOW, nonce="n"), dialect or Plain(), FlowSettings())
    return follow(flow, {**USUAL, "send original": TAKEN, "read body": b"taken", **(comes or {})})


def passed_on(transcript: Transcript) -> OriginalResponse:
    assert isinstance(transcript.reply, OriginalResponse), transcript.error
    return transcript.reply


def test_an_answer_is_sent_once_and_its_response_passed_on() -> None:
    done = drive()
    assert done.steps == [*SENT, "mark accepted", "send reply"]
    assert passed_on(done) == OriginalResponse(TAKEN)
    assert passed_on(done).headers == TAKEN.headers


@pytest.mark.parametrize("found", [DONE, replace(DONE, status="error")])
def test_an_answer_to_a_thread_that_asks_nothing_is_refused(found: Found[None]) -> None:
    done = drive({"GET thread": found})
    assert (done.code, "send original" in done.steps) == ("thread_not_interrupted", False)


def test_an_unknown_thread_is_refused() -> None:
    assert drive({"GET thread": ThreadNotFound("No.")}).code == "thread_not_found"


@pytest.mark.parametrize("step", ["GET thread", "claim"])
def test_a_failure_before_the_send_says_that_nothing_was_sent(step: str) -> None:
    assert drive({step: UpstreamTimeout("Slow.")}).resume_state == "not_sent"


def test_what_must_not_be_sent_is_refused_for_a_thread_that_the_caller_may_read() -> None:
    refused = UnsupportedInput("Answers later.")
    assert drive(refused=refused).error is refused
    assert drive({"GET thread": ThreadNotFound("No.")}, refused=refused).code == "thread_not_found"


def test_a_double_click_is_refused() -> None:
    done = drive({"repeated": True})
    assert (done.code, done.steps) == ("resume_in_progress", ["GET thread", "repeated"])


@pytest.mark.parametrize(
    ("stored", "metadata"),
    [(KeyRecord("?", live=True), {}), (KeyRecord("?", live=False, accepted=True, run_id="r1"), {"run_id": "r1"})],
)
def test_an_idempotency_key_that_came_before_is_refused(stored: KeyRecord, metadata: dict[str, str]) -> None:
    vendor = VendorResume(Clicks(), ClientRequest("POST", "/"), "t", Mode.WAIT, {"input": "yes"})
    same = vendor.resume("t", now=NOW, nonce="n").fingerprint
    done = drive({"recall": replace(stored, fingerprint=same)})
    assert (done.code, done.refused.metadata) == ("resume_in_progress", metadata)
    assert isinstance(drive({"recall": stored}).error, IdempotencyKeyReused)


# --- requests that answer only if something is asked ---------------------------------------------------------------


@pytest.mark.parametrize("found", [DONE, ASKS, ThreadNotFound("A new turn creates it.")])
def test_a_request_that_answers_nothing_is_passed_on_unguarded(found: Found[None] | ThreadNotFound) -> None:
    convention = Clicks(named={}) if found is ASKS else None
    done = drive({"GET thread": found}, convention, when="if_interrupted")
    assert done.steps == ["GET thread", "rival", "send original", "send reply"]
    assert passed_on(done) == OriginalResponse(TAKEN)


@pytest.mark.parametrize("rival", ["holding", "accepted"])
def test_a_new_turn_is_refused_if_an_answer_came_first(rival: str) -> None:
    done = drive({"GET thread": DONE, "rival": rival}, when="if_interrupted")
    assert (done.code, "send original" in done.steps) == ("resume_in_progress", False)


@pytest.mark.parametrize(("in_flight", "sent"), [(False, True), (True, False)])
def test_a_request_that_answers_nothing_passes_a_busy_thread_unless_an_answer_is_processed(
    in_flight: bool, sent: bool
) -> None:
    comes = {"GET thread": BUSY, "had run in flight": in_flight}
    done = drive(comes, Clicks(named={}), when="if_interrupted")
    assert ("send original" in done.steps) is sent


def test_a_request_that_may_answer_waits_for_a_busy_thread() -> None:
    assert isinstance(drive({"GET thread": BUSY}, when="if_interrupted").error, ThreadBusy)
    done = drive({"GET thread": [BUSY, DONE]}, when="if_interrupted")
    assert done.steps[-3:] == ["had run in flight", "send original", "send reply"]
    processed = {"GET thread": [BUSY, DONE], "had run in flight": True}
    assert drive(processed, when="if_interrupted").code == "resume_in_progress"
    assert drive({"GET thread": [BUSY, DONE]}).code == "thread_not_interrupted"


def test_a_request_that_answers_a_question_is_guarded() -> None:
    assert drive(when="if_interrupted").steps == [*SENT, "mark accepted", "send reply"]


# --- questions that clients name by other ids ----------------------------------------------------------------------


def test_an_answer_by_another_name_is_judged_by_the_question() -> None:
    assert drive({"GET thread": TWO}).code == "multiple_interrupts"
    done = drive({"GET thread": TWO}, Clicks(named={"input": "yes", "interrupt_id": "q2"}))
    assert passed_on(done) == OriginalResponse(TAKEN)
    assert drive({"GET thread": TWO}, Clicks(named={"input": 1, "interrupt_id": "q3"})).code == "interrupt_not_pending"


def test_an_id_that_no_question_can_have_is_refused() -> None:
    assert isinstance(drive(convention=Clicks(named={"input": 1, "interrupt_id": "q" * 513})).error, InvalidRequest)


@pytest.mark.parametrize(
    ("answers", "fields"),
    [
        ({"q1": 1}, {"input": 1, "interrupt_id": "q1"}),
        ({"q1": 1, "q2": 2}, {"input": {"q1": 1, "q2": 2}}),
        ({"q1": 1, "q3": 3}, {"input": 3, "interrupt_id": "q3"}),
        ({}, {"input": {}}),
    ],
)
def test_answers_by_question_are_a_pin_or_a_map(answers: dict[str, int], fields: dict[str, Any]) -> None:
    assert by_question(answers, TWO) == fields


def test_of_a_thread_with_several_runs_only_the_questions_of_the_named_one_count() -> None:
    assert limited_to(TWO, "r2", ()) == Found("idle", run_id="r2")
    assert limited_to(TWO, "r1", TWO.interrupts) == TWO
    assert limited_to(BUSY, "r1", ()).status == "busy"


def test_a_value_is_checked_unless_its_form_is_that_of_the_backend() -> None:
    refusing = Plain(refuses=REFUSED)
    assert drive(dialect=refusing).error is REFUSED
    assert drive({"GET thread": TYPED}).code == "invalid_answer"
    for found in (ASKS, TYPED):
        own = drive({"GET thread": found}, Clicks(checks_value=False), dialect=refusing)
        assert passed_on(own) == OriginalResponse(TAKEN)


# --- what the response means ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "marked"),
    [
        (REJECTED, "mark rejected"),
        (Response(500, (), b"failed"), "mark accepted"),
        (Response(302), "mark accepted"),
    ],
)
def test_a_failure_is_passed_on(response: Response, marked: str) -> None:
    done = drive({"send original": response})
    assert done.steps == [*SENT, marked, "send reply"]
    assert passed_on(done) == OriginalResponse(response, complete=True)


def test_a_failure_that_the_dialect_knows_as_a_refusal_is_one() -> None:
    class Known(Plain):
        def refusal(self, response: Response) -> ResumeError:
            return ThreadBusy("Not suspended.")

    assert drive({"send original": Response(500)}, dialect=Known()).steps == [*SENT, "mark rejected", "send reply"]


@pytest.mark.parametrize(("body", "marked"), [(b"taken", "mark accepted"), (b"refused", "mark rejected")])
def test_a_refusal_in_a_200_is_read_if_the_convention_has_some(body: bytes, marked: str) -> None:
    done = drive({"read body": body}, Clicks(reads=True))
    assert done.steps == [*SENT, "read body", marked, "send reply"]
    assert passed_on(done) == OriginalResponse(replace(TAKEN, body=body), complete=True)


def test_a_response_that_breaks_off_counts_as_accepted() -> None:
    done = drive({"read body": UpstreamError("Broke off.")}, Clicks(reads=True))
    assert (done.steps[-2:], done.resume_state) == (["read body", "mark accepted"], "unknown")


@pytest.mark.parametrize("reads", [False, True])
def test_the_thread_is_held_until_the_state_shows_an_answer_that_commits_late(reads: bool) -> None:
    assert drive(convention=Clicks(reads=reads)).commit is None
    late = Clicks(reads=reads, late=True)
    assert drive(convention=late).commit is not None
    assert drive({"read body": UpstreamError("Broke off.")}, late).commit is not None


def test_the_thread_is_held_until_the_response_has_ended_if_the_state_shows_the_answer_only_then() -> None:
    convention = Clicks(in_response=True)
    assert drive(convention=convention).steps == [*SENT, "send reply", "mark accepted"]
    assert drive({"send original": REJECTED}, convention).steps == [*SENT, "send reply", "mark rejected"]


@pytest.mark.parametrize(("state", "lookups"), [("not_sent", 1), ("unknown", 2)])
def test_the_hold_ends_when_the_state_proves_that_the_answer_was_lost(state: str, lookups: int) -> None:
    lost = ResumeNotConsumed("Nobody takes it.", {"resume_state": state})
    done = drive(dialect=Plain(commit="late", acceptance_unproven=True, lost=lost))
    assert done.commit is not None
    steps = follow(done.commit, {**USUAL, "GET thread again": [ASKS, DONE]}).steps
    assert steps.count("GET thread again") == lookups


@pytest.mark.parametrize("failure", [UpstreamUnreachable("Away."), HoldLapsed("Late."), ShuttingDown()])
def test_a_failure_to_send_leaves_the_question_open(failure: ResumeError) -> None:
    done = drive({"send original": failure})
    assert (done.steps[-1], done.resume_state) == ("mark rejected", "not_sent")


@pytest.mark.parametrize("failure", [UpstreamTimeout("Slow."), ValueError("An app in this process may raise.")])
def test_a_failure_after_the_send_counts_as_accepted(failure: Exception) -> None:
    done = drive({"send original": failure})
    assert (done.steps[-1], done.error) == ("mark accepted", failure)
    if isinstance(failure, ResumeError):
        assert done.resume_state == "unknown"


def test_a_resume_that_comes_first_is_not_overtaken() -> None:
    assert isinstance(drive({"claim": "accepted"}).error, ResumeInProgress)
