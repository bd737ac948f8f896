"""The verdict: pending interrupts decide first, status second."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID

import pytest

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Answers, Continue, Decision, Dialect, Found, ThreadStatus
from ap_resume_shim.core.errors import (
    AmbiguousInterrupt,
    Conflict,
    InterruptAlreadyAnswered,
    InterruptNotPending,
    MultipleInterrupts,
    ResumeError,
    ThreadBusy,
    ThreadNotInterrupted,
    UnsupportedInput,
)
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, parse
from ap_resume_shim.core.verdict import judge

A, B, NAMELESS = Interrupt("a", {"q": "A?"}), Interrupt("b", {"q": "B?"}), Interrupt(None)
STATUSES: list[ThreadStatus] = ["idle", "interrupted", "error"]


@dataclass
class Backend:
    partial: bool = True
    way_out: str = "There is a way out."
    interrupt_id_form: re.Pattern[str] | None = re.compile("[0-9a-f]{32}")
    vocabulary: frozenset[str] = frozenset({"durability"})


def verdict(
    found: Found[Any],
    *,
    partial: bool = True,
    remembered: set[str] | None = None,
    form: re.Pattern[str] | None = Backend.interrupt_id_form,
    **fields: Any,
) -> Decision:
    resume = parse(strictjson.dumps({"thread_id": "t", **fields}), Mode.WAIT, now="2026-01-01T00:00:00.5+00:00")
    backend = Backend(partial=partial, interrupt_id_form=form)
    return judge(resume, found, cast("Dialect[None]", backend), remembered or set())


def refusal(found: Found[Any], **how: Any) -> ResumeError:
    with pytest.raises(ResumeError) as refused:
        verdict(found, **how)
    return refused.value


@pytest.mark.parametrize("status", STATUSES)
def test_a_pending_question_is_answered_whatever_the_status_says(status: ThreadStatus) -> None:
    assert verdict(Found(status, (A,)), input="yes") == Answers({"a": "yes"})


def test_a_running_thread_is_busy_whatever_questions_still_show() -> None:
    error = refusal(Found("busy", (A,)), input="yes")
    assert isinstance(error, ThreadBusy)
    assert error.message.endswith("Wait until it is interrupted again.")


@pytest.mark.parametrize("status", STATUSES)
def test_a_thread_that_asks_nothing_is_409(status: ThreadStatus) -> None:
    error = refusal(Found(status), input="yes")
    assert isinstance(error, ThreadNotInterrupted)
    assert error.metadata == {"thread_status": status}
    assert error.message.endswith("To start a new run, create one.")


def test_going_on_with_a_thread_that_asks_nothing_is_409_too() -> None:
    assert isinstance(refusal(Found("idle")), ThreadNotInterrupted)


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, {"b": 2}, {"b": 2, "f" * 32: 3}])
def test_a_single_question_takes_any_value_as_its_answer(value: Any) -> None:
    assert verdict(Found("interrupted", (A,)), input=value) == Answers({"a": value})


def test_going_on_answers_a_single_question_with_null() -> None:
    assert verdict(Found("interrupted", (A,))) == Answers({"a": None})


def test_an_unknown_field_is_refused_where_nothing_else_answers_the_question() -> None:
    without: list[dict[str, Any]] = [{}, {"messages": []}, {"interrupt_id": "a"}]
    for nothing in without:
        error = refusal(Found("interrupted", (A,)), x_answer="yes", **nothing)
        assert (error.code, error.metadata) == ("invalid_request", {"field": "x_answer"})


def test_an_unknown_field_is_no_answer_where_there_is_one_or_nothing_is_asked_or_the_backend_knows_it() -> None:
    assert verdict(Found("interrupted", (A,)), input=None, x_answer="yes") == Answers({"a": None})
    assert verdict(Found("interrupted", breakpoint=True), x_answer="yes") == Continue()
    assert verdict(Found("interrupted", (A,)), durability="sync") == Answers({"a": None})


def test_messages_are_the_answer_where_there_is_no_input() -> None:
    messages = [{"role": "user", "content": "yes"}]
    assert verdict(Found("interrupted", (A,)), messages=messages) == Answers({"a": messages})
    assert verdict(Found("interrupted", (A,)), messages=[]) == Answers({"a": None})


def test_a_question_without_an_id_is_answered_too() -> None:
    assert verdict(Found("interrupted", (NAMELESS,)), input=1) == Answers({None: 1})


@pytest.mark.parametrize("answers", [{"a": 1, "b": 2}, {"b": None}])
def test_several_questions_are_answered_by_id_all_or_some(answers: dict[str | None, Any]) -> None:
    assert verdict(Found("interrupted", (A, B)), input=answers) == Answers(answers)


@pytest.mark.parametrize("value", ["yes", None, [1, 2], {}, {"c": 2}])
def test_anything_else_for_several_questions_is_409_with_the_ids(value: Any) -> None:
    error = refusal(Found("interrupted", (A, B)), input=value)
    assert isinstance(error, MultipleInterrupts)
    assert [item["id"] for item in error.metadata["interrupts"]] == ["a", "b"]
    assert error.message.endswith("Send `input` as an object {interrupt id: answer} with ids of these only.")


PAST = "f" * 32


@pytest.mark.parametrize("pending", [(A,), (A, B)])
def test_an_object_keyed_by_a_pending_id_means_the_same_however_many_are_pending(
    pending: tuple[Interrupt, ...],
) -> None:
    assert verdict(Found("interrupted", pending), input={"a": 1}) == Answers({"a": 1})


@pytest.mark.parametrize("status", ["interrupted", "idle"])
@pytest.mark.parametrize("pending", [(A,), (A, B), ()])
@pytest.mark.parametrize("value", [{PAST: 1}, {"a1": 1}, {"a2": 1}, {"a1": 1, "a2": 2}, {"a1": 1, "other": 2}])
def test_a_key_that_is_an_id_of_the_thread_and_not_pending_is_409(
    pending: tuple[Interrupt, ...], status: ThreadStatus, value: Any
) -> None:
    """By its form, from the thread's history, or remembered by the guard; also beside keys that are no ids."""
    found: Found[None] = Found(status, pending, past_ids=frozenset({"a1"}))
    error = refusal(found, input=value, remembered={"a2"})
    assert isinstance(error, InterruptNotPending)
    assert [item["id"] for item in error.metadata["interrupts"]] == [interrupt.id for interrupt in pending]


@pytest.mark.parametrize("pending, past", [("0" * 32, "1" * 32), (str(UUID(int=1)), str(UUID(int=2)))])
def test_a_key_is_an_id_if_it_is_generated_as_the_pending_ids_are(pending: str, past: str) -> None:
    """An old card of a server whose dialect declares no form, with ids that the shim never saw."""
    found: Found[None] = Found("interrupted", (Interrupt(pending),))
    assert isinstance(refusal(found, form=None, input={past: 1}), InterruptNotPending)
    assert verdict(found, form=None, input={"other": 1}) == Answers({pending: {"other": 1}})
    assert verdict(Found("interrupted", (A,)), form=None, input={past: 1}) == Answers({"a": {past: 1}})


def test_a_map_whose_keys_are_not_all_pending_is_409() -> None:
    assert isinstance(refusal(Found("interrupted", (A,)), input={"a": 1, "b": 2}), InterruptNotPending)


@pytest.mark.parametrize("value", [{PAST: 1}, {"b": 1}, {"a": 1, "b": 2}])
def test_a_pin_sends_an_object_that_looks_keyed_as_it_is(value: Any) -> None:
    found: Found[None] = Found("interrupted", (A,), past_ids=frozenset({"b"}))
    assert verdict(found, input=value, interrupt_id="a") == Answers({"a": value})


def test_an_object_whose_only_key_is_the_pinned_id_is_unwrapped() -> None:
    assert verdict(Found("interrupted", (A,)), input={"a": 1}, interrupt_id="a") == Answers({"a": 1})


def test_a_key_of_a_step_that_failed_after_its_answer_is_409_beside_a_pending_question() -> None:
    failed: Found[None] = Found("error", (B,), answered=(A,))
    assert isinstance(refusal(failed, input={"a": 1}), InterruptAlreadyAnswered)
    assert isinstance(refusal(failed, input={"a": 1, PAST: 2}), InterruptNotPending)
    assert verdict(failed, input={"b": 1}) == Answers({"b": 1})


@pytest.mark.parametrize("fields", [{"input": 1}, {"input": {"a": 1}}, {"input": 1, "interrupt_id": "a"}, {}])
@pytest.mark.parametrize(("expires_at", "over"), [("2026-01-01T00:00:00Z", True), ("2026-01-01T00:00:01Z", False)])
def test_a_question_that_has_expired_is_not_pending(expires_at: str, over: bool, fields: dict[str, Any]) -> None:
    found: Found[None] = Found("interrupted", (replace(A, expires_at=expires_at),))
    if over:
        assert isinstance(refusal(found, **fields), InterruptNotPending)
    else:
        assert isinstance(verdict(found, **fields), Answers)


def test_a_time_that_cannot_be_read_never_expires() -> None:
    assert verdict(Found("interrupted", (replace(A, expires_at="soon"),)), input=1) == Answers({"a": 1})


def test_going_on_with_several_questions_is_409() -> None:
    assert isinstance(refusal(Found("interrupted", (A, B))), MultipleInterrupts)


def test_a_backend_that_wants_all_answers_gets_all_or_none() -> None:
    both = verdict(Found("interrupted", (A, B)), input={"a": 1, "b": 2}, partial=False)
    assert both == Answers({"a": 1, "b": 2})
    error = refusal(Found("interrupted", (A, B)), input={"a": 1}, partial=False)
    assert isinstance(error, MultipleInterrupts)


def test_a_pin_picks_one_of_several() -> None:
    assert verdict(Found("interrupted", (A, B)), input={"a": 1}, interrupt_id="b") == Answers({"b": {"a": 1}})
    assert verdict(Found("interrupted", (A, B)), interrupt_id="b") == Answers({"b": None})


def test_a_pin_cannot_pick_one_where_all_are_wanted() -> None:
    error = refusal(Found("interrupted", (A, B)), input=1, interrupt_id="b", partial=False)
    assert isinstance(error, MultipleInterrupts)


def test_a_pin_names_the_only_question() -> None:
    assert verdict(Found("interrupted", (A,)), input=1, interrupt_id="a", partial=False) == Answers({"a": 1})


@pytest.mark.parametrize("pending", [(A,), (A, B), (NAMELESS,), ()])
def test_a_pin_on_what_is_not_pending_is_409(pending: tuple[Interrupt, ...]) -> None:
    error = refusal(Found("interrupted", pending, breakpoint=not pending), input=1, interrupt_id="gone")
    assert isinstance(error, InterruptNotPending)
    assert error.message.endswith("Read the thread, and answer what it asks now.")


@pytest.mark.parametrize("pending", [(A, A), (NAMELESS, NAMELESS)])
def test_questions_that_share_an_id_cannot_be_answered(pending: tuple[Interrupt, ...]) -> None:
    assert isinstance(refusal(Found("interrupted", pending), input={"a": 1}), AmbiguousInterrupt)


def test_a_thread_that_stopped_without_a_question_says_why() -> None:
    error = refusal(Found("interrupted", breakpoint=True, stopped="was edited"), input=1)
    assert error.message == "The thread was edited: send the resume without `input` to continue."


def test_a_second_answer_to_a_step_that_failed_is_409() -> None:
    error = refusal(Found("error", answered=(A,)), input="another")
    assert isinstance(error, InterruptAlreadyAnswered)
    assert error.metadata["interrupts"] == [{"id": "a", "value": {"q": "A?"}}]
    assert error.message.endswith("send the resume without `input` to retry it. There is a way out.")


def test_a_step_that_failed_is_retried_without_input() -> None:
    assert verdict(Found("error", answered=(A,))) == Continue()


def test_a_pin_on_an_answered_question_is_about_that_question() -> None:
    failed: Found[None] = Found("error", answered=(A,))
    assert isinstance(refusal(failed, input="another", interrupt_id="a"), InterruptAlreadyAnswered)
    assert isinstance(refusal(failed, input="another", interrupt_id="b"), InterruptNotPending)
    assert verdict(failed, interrupt_id="a") == Continue()


def test_a_question_that_is_pending_comes_before_one_that_was_answered() -> None:
    assert verdict(Found("error", (B,), answered=(A,)), input=1) == Answers({"b": 1})
    failed: Found[None] = Found("error", (B,), answered=(A,))
    assert isinstance(refusal(failed, input=1, interrupt_id="a"), InterruptAlreadyAnswered)


def test_a_breakpoint_goes_on_without_a_value() -> None:
    assert verdict(Found("interrupted", breakpoint=True)) == Continue()


@pytest.mark.parametrize("value", [None, "yes"])
def test_a_breakpoint_takes_no_value(value: Any) -> None:
    error = refusal(Found("interrupted", breakpoint=True), input=value)
    assert isinstance(error, UnsupportedInput)
    assert not isinstance(error, Conflict)
    assert error.message.endswith("send the resume without `input` to continue.")


def test_an_input_tells_its_answers() -> None:
    assert Answers({"a": 1, "b": None}).values == (1, None)
