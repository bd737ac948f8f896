"""Questions that no server recorded: other spellings of a shape, schemas of all kinds, and strange values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_schema import violations
from ap_resume_shim.core.questions import Question, describe
from tests.core.questions.readers import READERS

HEX = "0" * 32
"""An id as LangGraph's."""


def typed(schema: Any, value: Any = "?") -> Question:
    return describe(Interrupt(HEX, value, schema))


def asked(value: Any, schema: Any = None, id_: str = "a-1") -> Question:
    return describe(Interrupt(id_, value, schema))


def labels(question: Question) -> list[str]:
    return [option.label for option in question.options]


# Schemas


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "boolean"}, "confirm"),
        ({"type": ["boolean", "null"]}, "confirm"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "confirm"),
        ({"allOf": [{"type": "boolean"}]}, "confirm"),
        ({"$ref": "#/$defs/It", "$defs": {"It": {"type": "boolean"}}}, "confirm"),
        ({"type": "boolean", "enum": [True]}, "choice"),
        ({"enum": ["a", 1, None]}, "choice"),
        ({"const": "only"}, "choice"),
        ({"oneOf": [{"const": "a", "title": "A"}, {"const": "b"}]}, "choice"),
        ({"type": "array", "items": {"enum": ["a"]}}, "choice"),
        ({"type": "string"}, "text"),
        ({"type": ["string"]}, "text"),
        ({"type": "object", "properties": {"n": {"type": ["integer", "null"]}}}, "form"),
        ({"properties": {"a": {"type": "array", "items": {"enum": ["x"]}}}}, "form"),
        ({"type": "object", "properties": {"n": {"type": "object"}}}, "any"),
        ({"type": "object", "properties": {"n": {}}}, "any"),
        ({"type": "object", "properties": {"n": {"type": ["string", "integer"]}}}, "any"),
        ({"type": "object", "properties": {}}, "any"),
        ({"type": "object"}, "any"),
        ({"type": "integer"}, "any"),
        ({"type": "null"}, "any"),
        ({"type": ["null"]}, "any"),
        ({"type": "array", "items": {"type": "string"}}, "any"),
        ({"enum": []}, "any"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "any"),
        ({"anyOf": "x", "type": 5, "properties": []}, "any"),
        ({"$ref": "#"}, "any"),
        ({"$ref": "#/$defs/none"}, "any"),
        ({"$ref": "https://example.org/schema"}, "any"),
        ({"$ref": 5}, "any"),
        ("string", "any"),
        (True, "any"),
    ],
    ids=str,
)
def test_a_schema_has_a_kind(schema: Any, kind: str) -> None:
    assert typed(schema).kind == kind


def test_options_are_labelled_by_their_title_their_text_or_their_json() -> None:
    assert labels(typed({"enum": ["red", 1, True, None]})) == ["red", "1", "true"]
    assert labels(typed({"oneOf": [{"const": 1, "title": "one"}, {"const": 2, "title": 5}]})) == ["one", "2"]


def test_of_a_list_of_choices_several_may_be_chosen_unless_the_list_has_one_item() -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/C"}, "$defs": {"C": {"enum": ["a", "b"]}}}
    several, one = typed(schema), typed({**schema, "maxItems": 1})
    assert (several.multiple, one.multiple) == (True, False)
    assert [option.answer for option in several.options] == [["a"], ["b"]]


def test_a_form_has_no_references_and_no_null() -> None:
    form = typed(
        {
            "title": "Order",
            "description": 5,
            "properties": {
                "colour": {"$ref": "#/$defs/Colour", "description": "of the car"},
                "n": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/Colour"}},
            },
            "required": ["colour", "gone", 5, []],
            "$defs": {"Colour": {"enum": ["red"], "title": "Colour"}},
        }
    ).form
    assert form == {
        "title": "Order",
        "type": "object",
        "properties": {
            "colour": {"enum": ["red"], "title": "Colour", "description": "of the car"},
            "n": {"type": "integer", "minimum": 1, "default": None, "nullable": True},
            "tags": {"type": "array", "items": {"enum": ["red"], "title": "Colour"}},
        },
        "required": ["colour"],
    }


# Values without a schema


@pytest.mark.parametrize(
    ("value", "kind", "prompt"),
    [
        ("Go on?", "text", "Go on?"),
        ("", "text", None),
        ("[not JSON", "text", "[not JSON"),
        ({"question": "Go on?"}, "text", "Go on?"),
        ({"message": "Go on?"}, "text", "Go on?"),
        ({"question": 5}, "any", None),
        ({"question": "Go on?", "n": 1}, "any", "Go on?"),
        ({"title": "Go on?"}, "any", "Go on?"),
        (None, "any", None),
        (5, "any", None),
        ([], "any", None),
        ({}, "any", None),
    ],
    ids=str,
)
def test_a_text_asks_for_a_text_and_anything_else_for_any_json(value: Any, kind: str, prompt: str | None) -> None:
    for id_ in (HEX, None, "a-1"):
        question = describe(Interrupt(id_, value))
        assert (question.kind, question.prompt) == (kind, prompt)


@pytest.mark.parametrize(
    "value",
    [
        {"toolName": "pay", "args": {}},
        {"kind": "confirmation", "tool_name": "pay"},
        {"name": "adk_request_confirmation", "args": {"originalFunctionCall": {"name": "pay"}}},
        {"reason": "tool_call", "metadata": {"tool_name": "pay"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("id_", [HEX, None])
def test_a_value_that_an_agent_chose_is_not_taken_for_another_frameworks_question(value: Any, id_: str | None) -> None:
    assert describe(Interrupt(id_, value)).kind == "any"


# LangChain


def test_without_a_schema_the_question_about_one_call_has_the_decisions_that_most_rules_allow() -> None:
    (action,) = typed(None, {"type": "tool_approval", "name": "pay", "args": {}}).actions
    assert list(action.decisions) == ["approve", "reject"]
    assert action.args_schema is None


def test_a_call_without_a_rule_allows_every_decision_and_an_unknown_decision_is_not_shown() -> None:
    requests = [{"name": "pay"}, {"name": "send"}]
    configs = [{"action_name": "pay", "allowed_decisions": ["approve", "postpone", {}]}]
    pay, send = typed(None, {"action_requests": requests, "review_configs": configs}).actions
    assert list(pay.decisions) == ["approve"]
    assert len(send.decisions) == 4


def test_a_call_that_allows_no_known_decision_takes_any_json() -> None:
    configs = [{"action_name": "pay", "allowed_decisions": ["postpone"]}]
    assert typed(None, {"action_requests": [{"name": "pay"}], "review_configs": configs}).kind == "any"


def test_an_edit_without_a_readable_schema_takes_any_arguments() -> None:
    edit: dict[str, Any] = {"properties": {"type": {"const": "edit"}, "edited_action": {"type": "object"}}}
    (action,) = typed(edit, {"type": "tool_approval", "name": "pay"}).actions
    assert (list(action.decisions), action.args_schema) == (["edit"], None)
    edit["properties"]["edited_action"] = {"properties": {"args": {"type": "object"}}}
    (action,) = typed(edit, {"type": "tool_approval", "name": "pay"}).actions
    assert action.args_schema == {"type": "object"}


def test_agent_inbox_shows_what_its_config_allows() -> None:
    request = {"action_request": {"action": "pay"}, "config": {"allow_ignore": True, "allow_edit": "yes"}}
    (action,) = typed(None, request).actions
    assert (action.args, list(action.decisions)) == (None, ["ignore"])
    assert typed(None, {**request, "config": {}}).kind == "any"
    assert typed(None, [request, request]).kind == "any"


# Agno


ROUTES = {"type": "array", "items": {"enum": ["left", "right"]}, "minItems": 1}
FORM = {"type": "object", "properties": {}, "required": []}


def feedback(*questions: Any) -> Question:
    return asked({"kind": "user_feedback", "user_feedback_schema": list(questions)}, FORM)


def test_several_questions_of_a_tool_are_a_form_of_lists() -> None:
    first = {"question": "Which?", "options": [{"label": "red"}, {"label": "blue"}]}
    second = {"question": "What?", "options": [{"label": "a"}, {}, 5], "multi_select": True}
    question = feedback(first, second)
    assert question.form == {
        "type": "object",
        "properties": {
            "Which?": {"type": "array", "items": {"enum": ["red", "blue"]}, "maxItems": 1},
            "What?": {"type": "array", "items": {"enum": ["a"]}},
        },
        "required": [],
    }
    assert feedback(second).kind == "form"


@pytest.mark.parametrize("questions", [[], [5], [{"question": "Which?"}], [{"question": "Which?", "options": []}]])
def test_questions_of_a_tool_without_options_take_any_json(questions: list[Any]) -> None:
    assert feedback(*questions).kind == "any"
    assert asked({"kind": "user_feedback"}, FORM).kind == "any"


def test_of_several_routes_several_may_be_chosen() -> None:
    assert asked({"kind": "route_selection"}, ROUTES).multiple
    assert asked({"kind": "route_selection"}, {}).kind == "any"


def test_the_fields_that_a_model_asks_for_itself_are_texts() -> None:
    value = {"kind": "user_input", "tool_name": "get_user_input", "user_input_schema": [{"name": "to"}, 5, {"name": 5}]}
    form = asked(value, {"type": "object", "properties": {"to": {}}, "required": ["to"]}).form
    assert form == {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}


def test_a_step_that_waits_for_several_values_takes_any_json() -> None:
    value = {"kind": "confirmation", "step_name": "pay", "confirmation_message": "Pay?"}
    assert (asked(value).kind, asked(value).prompt) == ("any", "Pay?")
    assert asked({"kind": "user_input"}, {"type": "object"}).kind == "any"
    assert asked({"kind": "user_input"}, {"type": "object", "properties": {"n": 5}}).kind == "any"


def test_an_output_that_is_no_text_is_approved_or_rejected() -> None:
    (action,) = asked({"kind": "output_review", "step_output": {"content": {"a": 1}}}, {"type": "boolean"}).actions
    assert (action.name, list(action.decisions), action.args_schema) == ("step", ["approve", "reject"], None)
    assert asked({"kind": "output_review"}, {"type": "boolean"}).actions[0].args is None


# Other frameworks


def test_the_confirmation_of_a_node_of_adk_is_yes_or_no() -> None:
    value = {"name": "adk_request_input", "args": {"message": "Run it?"}}
    assert asked(value, id_="wf_tool_confirmation:w@1/n@1").kind == "confirm"
    assert asked(value).kind == "text"
    assert asked({"name": "adk_request_credential", "args": {}}).kind == "any"


def test_a_message_of_acp_with_other_parts_takes_any_json() -> None:
    text = {"content_type": "text/plain", "content": "See here:"}
    picture = {"content_type": "image/png", "content_url": "https://example.org/a.png"}
    question = asked({"role": "agent", "parts": [text, picture, 5]})
    assert (question.kind, question.prompt) == ("any", "See here:")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}}, "form"),
        ({"responseSchema": {"properties": {"a": {"type": "string"}}}}, "form"),
        ({"schema": "none"}, "any"),
        ({"amount": 5}, "any"),
        ([], "any"),
    ],
    ids=str,
)
def test_data_of_a2a_is_a_form_if_it_is_a_schema(data: Any, kind: str) -> None:
    blocks = [{"type": "text", "text": "Fill in:"}, {"type": "data", "data": data}]
    question = asked({"task_id": "t", "state": "input-required", "message": {"content": blocks}})
    assert (question.kind, question.prompt) == (kind, "Fill in:")


def test_a_task_without_a_message_takes_any_json() -> None:
    assert asked({"task_id": "t", "state": "auth-required", "message": None}).kind == "any"
    assert asked({"task_id": "t", "state": "input-required", "message": {"content": [5]}}).kind == "any"


def test_an_approval_of_agent_framework_without_a_schema_has_no_edit() -> None:
    call = {"agent_framework": {"function_call": {"name": "pay", "arguments": {}}}}
    for schema in (None, {"properties": 5}):
        (action,) = asked({"reason": "tool_call", "metadata": call}, schema).actions
        assert list(action.decisions) == ["approve", "reject"]


def test_an_approval_of_mastra_has_nothing_beside_the_call() -> None:
    assert asked({"toolName": "pay", "args": {}, "n": 1}).kind == "any"
    assert asked({"toolName": "pay", "args": {}}, {"type": "string"}).kind == "text"


# All of them


RECORDED: list[Interrupt] = [
    READERS[shape["reader"]](shape["asked"])[0]
    for shape in json.loads(Path(__file__).with_name("shapes.json").read_text("utf-8"))
]
WORDS = st.sampled_from(
    ["type", "enum", "const", "properties", "items", "anyOf", "oneOf", "$ref", "#", "object", "null"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | WORDS, inner, max_size=4),
)
IDS = st.sampled_from([None, HEX, "a-1", "wf_tool_confirmation:x"])


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A value with one of its parts replaced by any JSON."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: draw(changed(value[key]))}
    if isinstance(value, list) and value and draw(st.booleans()):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(changed(value[index])), *value[index + 1 :]]
    return draw(JSON)


@st.composite
def interrupts(draw: st.DrawFn) -> Interrupt:
    """A recorded question, with a change in its value or its schema."""
    known = draw(st.sampled_from(RECORDED))
    value, schema = known.value, known.response_schema
    if draw(st.booleans()):
        value = draw(changed(value))
    else:
        schema = draw(changed(schema))
    return Interrupt(draw(st.sampled_from([known.id, None])), value, schema)


@given(st.builds(Interrupt, IDS, JSON, JSON) | interrupts())
def test_any_value_and_any_schema_have_a_description_that_is_json(interrupt: Interrupt) -> None:
    shown = describe(interrupt).as_json()
    json.dumps(shown)
    assert (shown["form"] is not None) == (shown["kind"] == "form")
    assert bool(shown["options"]) == (shown["kind"] in ("confirm", "choice"))
    assert bool(shown["actions"]) == (shown["kind"] == "tool_approval")
    assert all(action["decisions"] for action in shown["actions"])


VALUES = st.lists(JSON, min_size=1, max_size=4)
LISTED = (
    st.builds(lambda values: {"enum": values}, VALUES)
    | st.builds(lambda values: {"oneOf": [{"const": value} for value in values]}, VALUES)
    | st.builds(lambda values: {"type": "array", "items": {"enum": values}}, VALUES)
)
WRAPPED = (
    LISTED
    | st.builds(lambda rule: {"anyOf": [rule, {"type": "null"}]}, LISTED)
    | st.builds(lambda rule: {"$ref": "#/$defs/a", "$defs": {"a": rule}}, LISTED)
)


@given(WRAPPED)
def test_every_option_fits_the_schema(schema: Any) -> None:
    for option in typed(schema).options:
        assert violations(schema, option.answer) == []
