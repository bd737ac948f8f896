"""LangChain's human-in-the-loop questions, and answers that its middleware would refuse or misuse."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.dialect import Answers, Found
from ap_resume_shim.core.errors import InvalidAnswer
from ap_resume_shim.core.hitl import violations
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.typed_answers import check_answers

BATCHED = {
    "action_requests": [
        {"name": "send_email", "args": {"to": "a"}, "description": "Send?"},
        {"name": "pay", "args": {"amount": 5}},
    ],
    "review_configs": [
        {"action_name": "send_email", "allowed_decisions": ["approve", "edit", "reject", "respond"]},
        {"action_name": "pay", "allowed_decisions": ["approve", "reject"]},
    ],
}
PER_CALL = {"type": "tool_approval", "tool_call_id": "c", "name": "send_email", "args": {"to": "a"}}
YES, NO = {"type": "approve"}, {"type": "reject", "message": "no"}


def edit(name: str, args: Any = None) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": name, "args": {} if args is None else args}}


@pytest.mark.parametrize(
    "first", [YES, NO, {"type": "reject"}, {"type": "respond", "message": "done"}, edit("send_email", {"to": "b"})]
)
def test_a_decision_of_each_allowed_type_fits(first: Any) -> None:
    assert violations(BATCHED, {"decisions": [first, YES]}) == []
    assert violations(PER_CALL, first) == []


@pytest.mark.parametrize("answer", ["approve", None, [], {}, {"decisions": "approve"}, {"decisions": [YES]}])
def test_there_is_one_decision_for_each_request(answer: Any) -> None:
    (problem,) = violations(BATCHED, answer)
    assert problem.path == "decisions"
    assert "one decision for each of the 2" in problem.problem


@pytest.mark.parametrize(
    ("decision", "path"),
    [
        ({"type": "aprove"}, "type"),
        ({}, "type"),
        ("approve", "type"),
        ({"type": "respond"}, "message"),
        ({"type": "edit"}, "edited_action"),
        ({"type": "edit", "edited_action": {"name": "send_email"}}, "edited_action"),
        (edit("delete_file"), "edited_action.name"),
        ({"type": "edit", "edited_action": {"name": ["send_email"], "args": {}}}, "edited_action.name"),
        ({"type": "edit", "edited_action": {"args": {}}}, "edited_action.name"),
    ],
)
def test_a_decision_that_would_kill_the_thread_or_run_another_tool_is_named(decision: Any, path: str) -> None:
    assert [problem.path for problem in violations(BATCHED, {"decisions": [decision, YES]})] == [f"decisions.0.{path}"]
    assert [problem.path for problem in violations(PER_CALL, decision)] == [path]


def test_a_decision_type_is_allowed_for_its_own_action_alone() -> None:
    problems = violations(BATCHED, {"decisions": [edit("pay"), edit("pay")]})
    assert [problem.path for problem in problems] == ["decisions.0.edited_action.name", "decisions.1.type"]


def test_an_edit_may_name_an_action_whose_review_allows_edits() -> None:
    editable = {**BATCHED, "review_configs": [{"action_name": "pay", "allowed_decisions": ["edit", "approve"]}]}
    assert violations(editable, {"decisions": [edit("pay"), edit("pay")]}) == []


def test_an_action_without_a_review_allows_every_type() -> None:
    lax = {**BATCHED, "review_configs": [{"action_name": "pay", "allowed_decisions": "all"}]}
    assert violations(lax, {"decisions": [YES, NO]}) == []


@pytest.mark.parametrize(
    "question",
    [
        None,
        "approve?",
        {},
        {"action_requests": [], "review_configs": []},
        {"action_requests": ["x"], "review_configs": [{}]},
        {**BATCHED, "review_configs": {}},
        {**BATCHED, "review_configs": [{"action_name": ["pay"]}]},
        {**BATCHED, "action_requests": [{"name": {}}]},
        {"type": "tool_approval"},
    ],
)
def test_another_question_takes_any_answer(question: Any) -> None:
    assert violations(question, {"decisions": "x", "type": "y"}) == []


def test_a_wrong_decision_is_an_invalid_answer_though_there_is_no_schema() -> None:
    found: Found[None] = Found("interrupted", (Interrupt("q1", BATCHED),))
    with pytest.raises(InvalidAnswer, match=r"`decisions\.0\.type`") as error:
        check_answers(Answers({"q1": {"decisions": [{"type": "aprove"}, YES]}}), found)
    assert set(error.value.metadata) == {"problems", "interrupt_id"}
