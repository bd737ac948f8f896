"""The draft's words for a resume: what is read, what is refused, what is answered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import InvalidRequest, UnsupportedField
from ap_resume_shim.core.json_values import depth
from ap_resume_shim.core.protocol import ROUTES, Mode, Resume, Run, RunResume, parse, wait_response
from tests import draft
from tests.core.test_strictjson import values

NOW = "2026-11-24T12:00:00+00:00"
SAID = {"role": "ai", "content": "yes"}
NULLABLE = ["agent_id", "messages", "metadata", "config", "webhook", "on_completion", "on_disconnect", "stream_mode"]
NULLABLE += ["interrupt_id", "command", "if_not_exists", "multitask_strategy", "unknown"]


def read(mode: Mode = Mode.WAIT, **fields: Any) -> Resume:
    return parse(strictjson.dumps({"thread_id": "t", **fields}), mode, now=NOW)


def pinned(header: str, **fields: Any) -> str | None:
    raw = strictjson.dumps({"thread_id": "t", **fields})
    return parse(raw, Mode.WAIT, now=NOW, interrupt_id=header).body.interrupt_id


def test_the_three_routes_are_the_drafts() -> None:
    assert ROUTES == {
        "/runs/resume": Mode.BACKGROUND,
        "/runs/resume/wait": Mode.WAIT,
        "/runs/resume/stream": Mode.STREAM,
    }


def test_a_thread_is_all_that_is_needed() -> None:
    resume = read()
    assert (resume.thread_id, resume.mode, resume.now) == ("t", Mode.WAIT, NOW)
    assert (resume.body.on_completion, resume.body.on_disconnect) == ("keep", "cancel")


@given(values)
def test_every_json_value_is_an_answer_and_arrives_unchanged(value: Any) -> None:
    body = read(input=value).body
    assert body.has_input
    assert repr(body.input) == repr(value)  # repr: 1, 1.0 and True are three values


def test_an_answer_may_be_nested_as_deep_as_a_body_may_be() -> None:
    raw = b'{"thread_id":"t","input":' + b"[" * 199 + b"]" * 199 + b"}"
    assert depth(parse(raw, Mode.WAIT, now=NOW).body.input) == 199


def test_input_null_is_a_value_and_input_absent_is_none() -> None:
    assert read(input=None).body.has_input
    assert not read().body.has_input


@pytest.mark.parametrize(
    "field",
    NULLABLE,
)
def test_null_in_any_other_field_counts_as_absent(field: str) -> None:
    fields: dict[str, Any] = {field: None}
    assert read(**fields).body == read().body


def test_null_inside_config_counts_as_absent_too() -> None:
    config = read(config={"tags": None, "recursion_limit": 5, "configurable": {"k": None}, "x": 1}).body.config
    assert config is not None
    assert config.model_dump(exclude_unset=True) == {"recursion_limit": 5, "configurable": {"k": None}, "x": 1}


@pytest.mark.parametrize("field", ["command", "if_not_exists", "multitask_strategy"])
def test_create_run_vocabulary_is_refused_by_name(field: str) -> None:
    with pytest.raises(UnsupportedField) as refused:
        parse(strictjson.dumps({"thread_id": "t", field: {"resume": 1}}), Mode.WAIT, now=NOW)
    assert refused.value.metadata == {"field": field}
    assert f"`{field}`" in refused.value.message


@pytest.mark.parametrize(
    ("body", "field", "right"),
    [
        ({"answer": "approve"}, "answer", "input"),
        ({"inputs": "approve"}, "inputs", "input"),
        ({"Input": "approve"}, "Input", "input"),
        ({"resume": "approve"}, "resume", "input"),
        ({"value": "approve"}, "value", "input"),
        ({"decisions": []}, "decisions", "input"),
        ({"input": "approve", "interuptId": "q1"}, "interuptId", "interrupt_id"),
        ({"input": "approve", "mesages": []}, "mesages", "messages"),
        ({"input": "approve", "streamMode": "values"}, "streamMode", "stream_mode"),
        ({"input": "approve", "config": {"recursionLimit": 3}}, "config.recursionLimit", "config.recursion_limit"),
        ({"input": "approve", "config": {"configurabel": {}}}, "config.configurabel", "config.configurable"),
    ],
)
def test_a_misspelt_field_is_refused_with_the_right_name(body: dict[str, Any], field: str, right: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(**body)
    assert refused.value.metadata == {"field": field, "did_you_mean": right}
    assert f"`{right}`" in refused.value.message


def test_a_misspelt_thread_id_is_not_merely_missing() -> None:
    with pytest.raises(InvalidRequest, match="did you mean `thread_id`"):
        parse(b'{"threadId": "t", "input": 1}', Mode.WAIT, now=NOW)


def test_a_field_that_the_backend_knows_is_not_misspelt() -> None:
    vocabulary = frozenset({"value", "tools"})
    body = parse(b'{"thread_id": "t", "value": 1, "tools": 2}', Mode.WAIT, now=NOW, vocabulary=vocabulary).body
    assert body.extra == {"value": 1, "tools": 2}


def test_a_misspelt_field_that_is_null_counts_as_absent() -> None:
    assert read(answer=None, Input=None, config={"tag": None}).body.extra == {}


def test_a_body_has_a_bounded_number_of_unknown_fields() -> None:
    fields: dict[str, Any] = {f"x{number}": 1 for number in range(100)}
    assert read(**fields).body.extra == fields
    with pytest.raises(InvalidRequest, match="101 unknown fields"):
        read(**fields, another=1)


def test_an_empty_list_of_messages_counts_as_absent() -> None:
    assert read(messages=[]).body.messages is None
    assert read(messages=[], input="yes").body.input == "yes"


@pytest.mark.parametrize("mode", [Mode.BACKGROUND, Mode.WAIT])
def test_stream_mode_belongs_to_the_stream(mode: Mode) -> None:
    with pytest.raises(UnsupportedField, match="PATCH /runs/resume/stream alone"):
        read(mode, stream_mode="values")


@pytest.mark.parametrize("given_mode", ["messages-tuple", ["values", "messages-tuple"]])
def test_langgraphs_name_of_a_stream_mode_is_refused_with_the_drafts(given_mode: Any) -> None:
    with pytest.raises(InvalidRequest, match="is `messages`"):
        read(Mode.STREAM, stream_mode=given_mode)


@pytest.mark.parametrize(
    ("given_mode", "means"),
    [
        ("updates", ("updates",)),
        (["messages", "custom"], ("messages", "custom")),
        (["values", "values"], ("values",)),
        ([], ("values",)),
        (None, ("values",)),
    ],
)
def test_stream_mode_is_one_or_a_list(given_mode: Any, means: tuple[str, ...]) -> None:
    assert read(Mode.STREAM, stream_mode=given_mode).body.stream_modes == means


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "The body is empty"),
        (b" \n", "The body is empty"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"thread_id": "t", "input": NaN}', "NaN is not JSON"),
        (b'{"thread_id": "t", "thread_id": "u"}', "occurs twice"),
        (b"{}", "`thread_id` is required."),
        (b'{"thread_id": null}', "`thread_id` is required."),
        (b'{"thread_id": ""}', "`thread_id` must not be empty."),
        (b'{"thread_id": 7}', "`thread_id` must be text."),
        (b'{"thread_id": "t", "metadata": []}', "`metadata` must be an object."),
        (b'{"thread_id": "t", "config": "x"}', "`config` must be an object."),
        (b'{"thread_id": "t", "config": {"recursion_limit": "5"}}', "`config.recursion_limit` must be a whole number."),
        (b'{"thread_id": "t", "on_disconnect": "wait"}', "`on_disconnect` must be 'cancel' or 'continue'."),
        (b'{"thread_id": "t", "messages": [{"role": "user"}]}', "`messages.0.content` is required."),
        (
            b'{"thread_id": "t", "messages": [{"role": "user", "content": 7}]}',
            "`messages.0.content` must be text, or must be a list.",
        ),
        (b'{"thread_id": "t", "stream_mode": "debug"}', "`stream_mode` must be 'values', 'messages', "),
        (b'{"thread_id": "t", "stream_mode": ["updates", "debug"]}', "`stream_mode` must be 'values', "),
        (b'{"thread_id": "t", "stream_mode": 1}', "'updates' or 'custom', or must be a list."),
        (
            b'{"thread_id": "t", "messages": [{"role": "user", "content": {}}]}',
            "`messages.0.content` must be text, or ",
        ),
        (b'{"thread_id": "t", "messages": [1]}', "`messages.0` must be an object."),
    ],
)
def test_a_wrong_body_is_refused_with_what_is_wrong(raw: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(raw, Mode.STREAM, now=NOW)
    assert refused.value.http_status == 422
    assert says in refused.value.message


def test_a_long_id_is_refused_with_the_limit() -> None:
    with pytest.raises(InvalidRequest, match="`thread_id` must have at most 512 characters"):
        read(thread_id="x" * 513)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(metadata=1, webhook="")
    assert [problem["field"] for problem in refused.value.metadata["problems"]] == ["metadata", "webhook"]


@pytest.mark.parametrize("field", ["thread_id", "agent_id"])
@pytest.mark.parametrize("value", ["a/b", "a\\b", "..", ".", "a\x00", "a\nb", "a\x7f", "a\u2028b"])
def test_an_id_cannot_leave_its_segment_of_the_path(field: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=f"`{field}` contains characters"):
        parse(strictjson.dumps({"thread_id": "t", field: value}), Mode.WAIT, now=NOW)


@pytest.mark.parametrize("value", ["6a1b2c3d-0000-4000-8000-000000000000", "user:1?x#y%2F", "Ünïcode 名", "..."])
def test_ids_are_opaque_otherwise(value: str) -> None:
    assert read(thread_id=value).thread_id == value


def test_the_header_pins_an_interrupt_for_generated_clients() -> None:
    assert pinned("i1") == "i1"
    assert pinned("i1", interrupt_id="i1") == "i1"
    assert pinned("i1", interrupt_id=None) == "i1"


def test_header_and_field_may_not_pin_two_interrupts() -> None:
    with pytest.raises(InvalidRequest, match="name two interrupts"):
        pinned("i1", interrupt_id="i2")


def test_what_the_draft_demands_by_a_slip_is_neither_needed_nor_passed_on() -> None:
    resume = read(Mode.STREAM, run_id="r", created_at=NOW, updated_at=NOW, status="pending", metadata={}, durability=1)
    assert resume.body.extra == {"durability": 1}


def test_a_message_keeps_what_the_draft_does_not_know() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "hi"}], "id": "m1", "name": "Ada"}
    messages = read(messages=[message]).body.messages
    assert messages is not None
    assert messages[0].model_dump(exclude_unset=True) == message


def test_a_run_has_every_field_that_the_draft_requires() -> None:
    run = Run("r", "t", None, "pending", NOW, NOW).as_json()
    assert set(run) == {"run_id", "thread_id", "created_at", "updated_at", "status", "metadata"}
    assert Run("r", "t", "agent", "pending", NOW, NOW).as_json()["agent_id"] == "agent"


@pytest.mark.parametrize(
    ("given_values", "expected"),
    [
        ({"a": 1, "messages": [SAID]}, {"values": {"a": 1}, "messages": [SAID]}),
        ({"a": 1, "messages": [SAID, 1]}, {"values": {"a": 1, "messages": [SAID, 1]}}),
        ({"messages": []}, {"values": {}, "messages": []}),
        ({"messages": "none"}, {"values": {"messages": "none"}}),
        ({"a": 1}, {"values": {"a": 1}}),
        ("done", {"values": {"value": "done"}}),
        ([SAID], {"values": {"value": [SAID]}}),
        (False, {"values": {"value": False}}),
        (None, {"values": {}}),
    ],
)
def test_values_are_an_object_and_messages_stand_beside_them(given_values: Any, expected: dict[str, Any]) -> None:
    run = Run("r", "t", None, "success", NOW, NOW)
    answer = wait_response(run, given_values)
    assert answer == {"run": run.as_json(), **expected}
    draft.check("RunWaitResponse", answer)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": 1}] * 1000},
        {"messages": [{"role": "user", "content": [1] * 1000}]},
        {"config": {"tags": [1] * 1000}},
        {"stream_mode": ["x"] * 1000},
    ],
)
def test_of_a_list_that_is_wrong_a_thousand_times_the_first_problem_is_told(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as wrong:
        RunResume.model_validate({"thread_id": "t", **fields})
    assert wrong.value.error_count() <= 3
    with pytest.raises(InvalidRequest) as refused:
        parse(strictjson.dumps({"thread_id": "t", **fields}), Mode.STREAM, now=NOW)
    assert 1 <= len(refused.value.metadata["problems"]) <= 3
