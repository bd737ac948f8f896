"""When a resume is submitted to the operator's policy, and with which questions."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Found
from ap_resume_shim.core.errors import PolicyRefused, PolicyUnavailable, ResumeInProgress
from ap_resume_shim.core.flow import resume_flow
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, parse
from ap_resume_shim.core.steps import Attempt, Flow, Reply, Review
from ap_resume_shim.core.steps.guard import KeyRecord
from ap_resume_shim.core.vendor_flow import vendor_flow
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume
from tests.core.driving import ASKS, BUSY, NOW, USUAL, Plain, Transcript, follow

NO = PolicyRefused(403, "Only managers approve.")
AWAY = PolicyUnavailable("The service did not decide.")
FAILED: Found[None] = Found("error", answered=(Interrupt("q1", "sure?"),))
TWO: Found[None] = Found("interrupted", (Interrupt("q1"), Interrupt("q2")))


def resumed(*, refresh_after_review: bool = False, **fields: Any) -> Flow:
    body = {"thread_id": "t", "input": "yes", **fields}
    resume = parse(
        strictjson.dumps({name: value for name, value in body.items() if value is not ...}), Mode.WAIT, now=NOW
    )
    return resume_flow(resume, Plain(), FlowSettings(review=True, refresh_after_review=refresh_after_review))


def reviewed(flow: Flow, **comes: Any) -> tuple[list[Attempt], Transcript]:
    """Run a flow, and return its attempts with its transcript."""
    attempts: list[Attempt] = []

    def recorded() -> Generator[Any, Any, None]:
        result: Any = None
        step = flow.send(None)
        while True:
            if isinstance(step, Review):
                attempts.append(step.attempt)
            try:
                result = yield step
            except Exception as error:
                step = _next(flow, error)
            else:
                step = _next(flow, result)
            if step is None:
                return

    return attempts, follow(recorded(), {**USUAL, **{name.replace("_", " "): value for name, value in comes.items()}})


def _next(flow: Flow, result: Any) -> Any:
    try:
        return flow.throw(result) if isinstance(result, Exception) else flow.send(result)
    except StopIteration:
        return None


def test_it_is_reviewed_once_after_the_lookup_and_before_anything_else() -> None:
    attempts, transcript = reviewed(resumed())
    assert transcript.steps[:4] == ["GET thread", "review", "mark idle", "claim"]
    assert attempts == [Attempt("agent", ASKS.interrupts, {"q1": "yes"})]


def test_without_a_policy_there_is_no_review() -> None:
    resume = parse(b'{"thread_id": "t", "input": "yes"}', Mode.WAIT, now=NOW)
    assert "review" not in follow(resume_flow(resume, Plain(), FlowSettings()), USUAL).steps


def test_a_question_that_the_first_lookup_did_not_show_is_reviewed_before_the_claim() -> None:
    attempts, transcript = reviewed(resumed(interrupt_id="q1"), GET_thread=[BUSY, ASKS])
    assert [attempt.questions for attempt in attempts] == [(), ASKS.interrupts]
    assert [step for step in transcript.steps if step in ("review", "claim", "send")] == [
        "review",
        "review",
        "claim",
        "send",
    ]


def test_another_question_with_the_same_id_is_reviewed_again() -> None:
    later = replace(ASKS, interrupts=(Interrupt("q1", "really?"),))
    busy_first = [replace(ASKS, moving=True, status="busy"), later]
    attempts, _ = reviewed(resumed(interrupt_id="q1"), GET_thread=busy_first)
    assert [attempt.questions for attempt in attempts] == [(), later.interrupts]


def test_of_several_questions_those_that_are_answered_are_reviewed() -> None:
    attempts, _ = reviewed(resumed(input={"q2": "no"}), GET_thread=TWO)
    assert attempts == [Attempt(None, TWO.interrupts[1:], {"q2": "no"})]


def test_a_retry_of_a_failed_step_is_reviewed_with_the_question_that_was_answered() -> None:
    attempts, _ = reviewed(resumed(input=...), GET_thread=FAILED)
    assert attempts == [Attempt(None, FAILED.answered, {})]


@pytest.mark.parametrize("error", [NO, AWAY])
def test_without_consent_nothing_is_recalled_and_nothing_claimed(error: Exception) -> None:
    stored = KeyRecord("f", live=False, accepted=True, reply=Reply(200, {"secret": 1}))
    _, transcript = reviewed(resumed(), review=error, recall=stored)
    assert (transcript.error, transcript.reply, transcript.steps) == (error, None, ["GET thread", "review"])


def test_a_retry_with_a_key_is_reviewed_before_the_stored_response_is_sent() -> None:
    flow = resumed()
    resume = parse(b'{"thread_id": "t", "input": "yes"}', Mode.WAIT, now=NOW)
    stored = KeyRecord(resume.fingerprint, live=False, accepted=True, reply=Reply(200, {"ok": 1}))
    attempts, transcript = reviewed(flow, GET_thread=replace(ASKS, status="idle", interrupts=()), recall=stored)
    assert transcript.steps == ["GET thread", "review", "recall", "send reply"]
    assert attempts == [Attempt("agent", (), {})]


def test_a_record_that_cannot_be_written_means_that_nothing_was_sent() -> None:
    error = PolicyUnavailable("The audit file cannot be written.")
    _, transcript = reviewed(resumed(), send=error)
    assert transcript.steps[-2:] == ["send", "mark rejected"]
    assert (transcript.error, transcript.resume_state) == (error, "not_sent")


@pytest.mark.parametrize("way", ["draft", "vendor"])
def test_a_question_that_changes_while_the_hook_decides_is_not_answered(way: str) -> None:
    later = replace(ASKS, interrupts=(Interrupt("q2", "really?"),))
    flow = resumed(refresh_after_review=True) if way == "draft" else vendor(refresh_after_review=True)
    attempts, transcript = reviewed(flow, GET_thread=[ASKS, later])
    assert [attempt.questions for attempt in attempts] == [ASKS.interrupts]
    assert isinstance(transcript.error, ResumeInProgress) and "claim" not in transcript.steps


# Vendor resumes


class Answers(Convention):
    """A convention that names no question."""

    name = "answers"
    fields: dict[str, Any] | None = {"input": "yes"}

    def addressed(self, vendor: VendorResume, found: Found[Any]) -> dict[str, Any] | None:
        return self.fields


def vendor(when: Any = "always", convention: Answers | None = None, *, refresh_after_review: bool = False) -> Flow:
    settings = FlowSettings(review=True, refresh_after_review=refresh_after_review)
    answer = VendorResume(convention or Answers(), ClientRequest("POST", "/"), "t", Mode.WAIT, {"input": "yes"}, when)
    return vendor_flow(answer, answer.resume("t", now=NOW, nonce=""), Plain(), settings)


def test_a_vendor_resume_is_reviewed_before_its_key_is_looked_up() -> None:
    attempts, transcript = reviewed(vendor(), send_original=Response(200))
    assert transcript.steps[:2] == ["GET thread", "review"]
    assert attempts == [Attempt("agent", ASKS.interrupts, {"q1": "yes"})]


def test_a_refused_vendor_resume_is_not_sent() -> None:
    _, transcript = reviewed(vendor(), review=NO)
    assert (transcript.error, transcript.steps) == (NO, ["GET thread", "review"])


def test_a_vendor_resume_without_a_record_was_not_sent() -> None:
    _, transcript = reviewed(vendor(), send_original=AWAY)
    assert (transcript.steps[-2:], transcript.resume_state) == (["send original", "mark rejected"], "not_sent")


@pytest.mark.parametrize("found", [BUSY, Found("idle")])
def test_a_new_turn_is_not_reviewed(found: Found[None]) -> None:
    attempts, _ = reviewed(vendor("if_interrupted"), GET_thread=found, send_original=Response(200))
    assert attempts == []


def test_a_request_that_answers_none_of_the_questions_is_not_reviewed() -> None:
    other = Answers()
    other.fields = None
    attempts, transcript = reviewed(vendor("if_interrupted", other), send_original=Response(200))
    assert (attempts, transcript.steps[-1]) == ([], "send reply")
