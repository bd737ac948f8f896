"""Answers are compared with the schema of their question before anything is sent."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.dialect import Found
from ap_resume_shim.core.errors import InvalidAnswer
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from tests.core.driving import drive

SCHEMA = {"type": "object", "properties": {"ok": {"enum": [True, False]}}, "required": ["ok"]}
TYPED: Found[None] = Found(
    "interrupted", (Interrupt("q1", "sure?", SCHEMA), Interrupt("q2", "what?")), agent_id="agent"
)

every_mode = pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.name.lower())


@every_mode
def test_an_answer_that_violates_its_schema_is_refused_before_the_thread_is_held(mode: Mode) -> None:
    told = drive(mode, {"GET thread": TYPED}, input={"q1": {"ok": "aprove"}})
    assert isinstance(told.error, InvalidAnswer)
    assert told.refused.metadata == {
        "interrupt_id": "q1",
        "problems": [{"path": "ok", "problem": "has to be one of [true,false]"}],
        "response_schema": SCHEMA,
    }
    assert told.refused.message.startswith("The answer at `ok` has to be one of [true,false]")
    assert "claim" not in told.steps


def test_an_answer_to_another_question_is_not_compared() -> None:
    assert drive(Mode.WAIT, {"GET thread": TYPED}, input={"q2": "anything"}).error is None


def test_an_answer_that_fits_is_sent() -> None:
    assert drive(Mode.WAIT, {"GET thread": TYPED}, input={"q1": {"ok": True}}).error is None


def test_an_answer_of_the_wrong_shape_names_no_place() -> None:
    told = drive(Mode.WAIT, {"GET thread": TYPED}, input={"q1": []})
    assert told.refused.message.startswith("The answer has to be of type object")


def test_schemas_are_only_shown_where_the_operator_wants_that() -> None:
    assert drive(Mode.WAIT, {"GET thread": TYPED}, input={"q1": 1}, typed_answers=False).error is None


def test_the_schema_is_shown_with_its_question() -> None:
    told = drive(Mode.WAIT, {"GET thread": TYPED}, input="yes")
    assert told.refused.metadata["interrupts"][0] == {"id": "q1", "value": "sure?", "response_schema": SCHEMA}
