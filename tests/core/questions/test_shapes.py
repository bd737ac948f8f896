"""Each shape of a question, as a real server recorded it: its kind, and the answers that the agent received.

`shapes.json` has the question as the server sent it, its kind, and pairs of a choice and the answer that stands for it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ap_resume_shim.core.errors import InvalidAnswer
from ap_resume_shim.core.questions import describe
from tests.core.questions.readers import READERS
from tests.support.choosing import answer_of

SHAPES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("shapes.json").read_text("utf-8"))
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=[shape["shape"] for shape in SHAPES])


@every_shape
def test_a_recorded_question_has_its_kind_and_its_prompt(shape: dict[str, Any]) -> None:
    interrupt, _ = READERS[shape["reader"]](shape["asked"])
    question = describe(interrupt)
    assert (question.kind, question.prompt) == (shape["kind"], shape["prompt"])
    assert bool(question.actions) == (question.kind == "tool_approval")
    assert bool(question.options) == (question.kind in ("confirm", "choice"))
    assert bool(question.form) == (question.kind == "form")
    shown = json.loads(json.dumps(question.as_json()))
    assert set(shown) == {"kind", "prompt", "actions", "options", "multiple", "form", "answer"}


@every_shape
def test_each_choice_gives_the_answer_that_the_agent_received_and_the_shim_accepts(shape: dict[str, Any]) -> None:
    interrupt, check = READERS[shape["reader"]](shape["asked"])
    question = describe(interrupt)
    for pair in shape["answers"]:
        answer = answer_of(question, pair["choose"])
        assert answer == pair["answer"]
        check(answer)


@every_shape
def test_every_decision_and_every_option_has_an_example(shape: dict[str, Any]) -> None:
    question = describe(READERS[shape["reader"]](shape["asked"])[0])
    chosen = [pair["choose"] for pair in shape["answers"]]
    assert {choose["option"] for choose in chosen if "option" in choose} == {o.label for o in question.options}
    if shape["shape"] in _REPEATED:
        return
    decided = {(at, name) for choose in chosen for at, (name, _) in enumerate(choose.get("decisions", ()))}
    assert {at for at, _ in decided} == set(range(len(question.actions)))
    if len(question.actions) == 1:
        assert {name for _, name in decided} == set(question.actions[0].decisions)


_REPEATED = ("deepagents, interrupt_on", "agent-inbox, JSON in a text", "Agno, the tool of a step's agent")
"""Shapes whose decisions another shape shows."""


def test_an_edit_has_the_schema_of_the_arguments_where_the_question_has_it() -> None:
    (edited,) = describe(_recorded("LangChain, per call")).actions
    assert edited.args_schema["required"] == ["to", "subject"]
    assert edited.args_schema["$defs"]
    (edited,) = describe(_recorded("AG-UI, agent-framework-ag-ui/agent, ask")).actions
    assert edited.args_schema["required"] == ["question", "ref"]


def test_the_reply_in_the_place_of_a_tool_is_not_empty() -> None:
    shape = next(shape for shape in SHAPES if shape["shape"] == "LangChain, per call, one decision")
    interrupt, check = READERS["langgraph"](shape["asked"])
    with pytest.raises(InvalidAnswer, match="is missing"):
        check(answer_of(describe(interrupt), {"decisions": [["respond", {"message": ""}]]}))


def test_a_form_has_fields_without_null_and_with_the_values_that_are_filled_in() -> None:
    form = describe(_recorded("Agno, a step's form")).form
    assert form is not None
    assert form["required"] == ["n"]
    assert form["properties"]["colour"] == {"type": "string", "enum": ["red", "blue"], "nullable": True}
    form = describe(_recorded("Agno, a tool's user input")).form
    assert form is not None
    assert form["properties"]["ref"]["default"]


def test_a_whole_number_in_a_form_of_a2a_is_a_text() -> None:
    form = describe(_recorded("A2A, data with a schema")).form
    assert form == {"type": "object", "properties": {"amount": {"type": "string"}}, "required": ["amount"]}


def _recorded(name: str) -> Any:
    shape = next(shape for shape in SHAPES if shape["shape"] == name)
    return READERS[shape["reader"]](shape["asked"])[0]
