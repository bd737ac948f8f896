"""The closed list of errors, and what every one of them carries."""

from __future__ import annotations

import pytest

from ap_resume_shim.core import errors
from ap_resume_shim.core.errors import InvalidAnswer, ResumeError, UnsupportedInput, UpstreamError, UpstreamRefused
from ap_resume_shim.core.interrupt import Interrupt

CLOSED_LIST = {
    ("thread_not_found", 404),
    ("agent_not_found", 404),
    ("thread_not_interrupted", 409),
    ("thread_busy", 409),
    ("resume_in_progress", 409),
    ("multiple_interrupts", 409),
    ("interrupt_not_pending", 409),
    ("interrupt_already_answered", 409),
    ("ambiguous_interrupt", 409),
    ("resume_not_consumed", 409),
    ("request_too_large", 413),
    ("invalid_request", 422),
    ("unsupported_field", 422),
    ("unsupported_input", 422),
    ("invalid_answer", 422),
    ("idempotency_key_reused", 422),
    ("upstream_error", 502),
    ("upstream_unreachable", 502),
    ("upstream_unrecognised", 502),
    ("upstream_timeout", 504),
    ("guard_unavailable", 503),
    ("overloaded", 503),
    ("policy_unavailable", 503),
    ("shutting_down", 503),
    ("shutting_down", 504),
}
"""Codes and statuses of the contract, but for those that are passed on from the backend."""


def kinds(base: type[ResumeError] = ResumeError) -> list[type[ResumeError]]:
    """Every class that has a code of its own."""
    found = [base] if "code" in vars(base) and base is not ResumeError else []
    return found + [kind for child in base.__subclasses__() for kind in kinds(child)]


def test_every_class_has_the_code_and_status_of_the_contract() -> None:
    assert {(kind.code, kind.status) for kind in kinds()} == CLOSED_LIST


REFUSED = {"CallerRefused", "UpstreamRefused", "PolicyRefused"}
"""Their codes are those of their statuses."""


def test_every_public_class_can_be_answered_with() -> None:
    named = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, ResumeError)}
    bases = {"ResumeError", "NotFound", "Conflict", "_InterruptConflict", "UpstreamFailure", *REFUSED}
    special = {"HoldLapsed", "AnswerLost", "GuardMisconfigured"}  # codes of their bases, with reasons of their own
    assert named - bases - special == {kind.__name__ for kind in kinds()}


def test_the_body_is_the_drafts_error_response() -> None:
    error = errors.ThreadNotFound("Check it.", {"thread_id": "t"})
    assert error.body() == {"code": "thread_not_found", "message": "Check it.", "metadata": {"thread_id": "t"}}
    assert (error.http_status, error.headers, str(error)) == (404, (), "Check it.")


def test_retry_after_stands_only_where_trying_again_can_help() -> None:
    again = {(kind.code, kind.status) for kind in kinds() if kind.retry_after is not None}
    assert again == {
        ("thread_busy", 409),
        ("resume_in_progress", 409),
        ("guard_unavailable", 503),
        ("overloaded", 503),
        ("policy_unavailable", 503),
        ("shutting_down", 503),
    }
    assert errors.ThreadBusy("Wait.").headers == (("retry-after", "1"),)


def test_conflicts_about_interrupts_list_what_is_pending() -> None:
    error = errors.MultipleInterrupts("Say which.", [Interrupt("a", {"q": 1}), Interrupt(None)])
    assert error.metadata == {"interrupts": [{"id": "a", "value": {"q": 1}}, {"id": None, "value": None}]}


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (403, "forbidden"), (429, "rate_limited")])
def test_what_the_backend_refuses_is_passed_on_with_its_headers(status: int, code: str) -> None:
    error = UpstreamRefused(status, "No.", (("retry-after", "7"),))
    assert (error.http_status, error.code) == (status, code)
    assert error.headers == (("retry-after", "7"),)


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        ("not_sent", "try again."),
        ("unknown", "read the thread before you answer again."),
        ("consumed", "read the thread for the result."),
    ],
)
def test_a_failure_after_sending_ends_with_what_to_do_next(state: str, advice: str) -> None:
    error = UpstreamError("The backend broke off.", {"resume_state": state})
    assert error.message.startswith("The backend broke off. ")
    assert error.body()["message"].endswith(advice)


def test_a_failure_before_sending_says_what_happened() -> None:
    assert UpstreamError("The backend broke off.").message == "The backend broke off."


def test_the_reason_is_the_message_or_what_operators_get_in_its_place() -> None:
    assert UpstreamError("It broke off.").reason == "It broke off."
    error = UpstreamError("It broke off.", detail="http://inside broke off.")
    assert (error.message, error.reason, str(error)) == ("It broke off.", *["http://inside broke off."] * 2)
    error.metadata["resume_state"] = "not_sent"
    assert error.reason == "http://inside broke off.", "the state has a field of its own"


def test_the_reason_of_a_policy_is_for_the_client_alone() -> None:
    error = errors.PolicyRefused(403, "Not 1411.")
    assert (error.message, error.code, error.reason) == (
        "Not 1411.",
        "forbidden",
        "The authorize hook refused the resume.",
    )


@pytest.mark.parametrize("kind", [InvalidAnswer, UnsupportedInput])
def test_the_reason_does_not_quote_an_answer(kind: type[ResumeError]) -> None:
    reason = kind("The number 1411 would arrive as another one.").reason
    assert "1411" not in reason
    assert reason.endswith(".")


def test_an_answer_that_was_broken_off_says_by_what() -> None:
    assert (
        str(errors.Broken(UpstreamError("The backend broke off.")))
        == "the response was broken off: The backend broke off."
    )
