"""The JSON Schema checker: it reports certain violations, and nothing that a lax server may accept."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.json_schema import Strictness, violations

STRICT = Strictness(scalar_types=True, bounds=True, extra_properties=True)
PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"default": 1}}, "required": ["name"]}


def paths(schema: Any, value: Any, strictness: Strictness = Strictness()) -> list[str]:  # noqa: B008
    return [violation.path for violation in violations(schema, value, strictness)]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (False, 1),
        (PERSON, {}),
        (PERSON, []),
        (PERSON, "name"),
        (PERSON, None),
        ({"type": "array"}, {}),
        ({"type": ["string", "null"]}, []),
        ({"enum": ["approve", "reject"]}, "aprove"),
        ({"enum": [True]}, 1),
        ({"enum": [[1, {"a": 2}]]}, [1, {"a": 3}]),
        ({"const": "yes"}, "no"),
        ({"anyOf": [{"const": 1}, {"const": 2}]}, 3),
        ({"oneOf": [{"const": 1}]}, 3),
        ({"allOf": [{}, {"const": 1}]}, 2),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"const": 1}}}, 2),
        ({"$ref": "#/a~1b", "a/b": {"const": 1}}, 2),
        ({"$ref": "#", "const": 1}, 2),
    ],
)
def test_a_certain_violation_is_reported(schema: Any, value: Any) -> None:
    assert violations(schema, value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (True, 1),
        (None, 1),
        ("string", 1),
        ({"type": "integer"}, "5"),
        ({"type": "string"}, 5),
        ({"type": "boolean"}, None),
        ({"type": "strange"}, {}),
        ({"type": []}, {}),
        ({"type": "object", "nullable": True}, None),
        ({"type": "string", "pattern": "^a$", "format": "email", "maxLength": 1}, "bcd"),
        ({"type": "integer", "maximum": 3}, 4),
        ({"additionalProperties": False}, {"a": 1}),
        ({"unknown": 1, "enum": "a", "required": "a", "properties": [], "anyOf": {}, "allOf": 1}, {"a": 1}),
        ({"required": [1]}, {}),
        ({"properties": {"a": {"default": 1}}, "required": ["a"]}, {}),
        ({"enum": [1, {"a": [1]}]}, {"a": [1.0]}),
        ({"anyOf": [{"const": 1}, {"const": 2}]}, 2),
        ({"anyOf": []}, 2),
        ({"$ref": "https://example.org/schema"}, 2),
        ({"$ref": "#/$defs/missing"}, 2),
        ({"$ref": "#/a/b", "a": 1}, 2),
        ({"$ref": 5}, 2),
        ({"properties": {"a": {"$ref": "#text"}}, "type": "object", "b": {"$anchor": "text"}}, {"a": "text"}),
        ({"required": [["a"], {}, 5]}, {"a": 1}),
        (PERSON, {"name": "Ada", "more": True}),
    ],
)
def test_what_some_reading_allows_is_not_reported(schema: Any, value: Any) -> None:
    assert violations(schema, value) == []


def test_the_path_names_the_place_in_the_value() -> None:
    schema = {"prefixItems": [{"const": 0}], "items": {"properties": {"a": {"items": PERSON}}}}
    assert paths(schema, [1, {"a": [{"name": "Ada"}, {}]}, {"a": {}}]) == ["0", "1.a.1.name"]


def test_every_violation_is_reported_with_its_reason() -> None:
    schema = {"type": "object", "properties": {"b": {"enum": [1]}}, "required": ["a"]}
    assert [violation.as_json() for violation in violations(schema, {"b": 2})] == [
        {"path": "a", "problem": "is missing"},
        {"path": "b", "problem": "has to be one of [1]"},
    ]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, "5"),
        ({"type": "integer"}, 1.5),
        ({"type": "number"}, True),
        ({"maximum": 3}, 4),
        ({"exclusiveMinimum": 3}, 3),
        ({"maxLength": 1}, "🎈"),
        ({"minItems": 1}, []),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"b": 1}),
    ],
)
def test_a_strict_server_refuses_more(schema: Any, value: Any) -> None:
    assert violations(schema, value) == []
    assert violations(schema, value, STRICT)


@pytest.mark.parametrize(
    ("schema", "value"), [({"type": "integer"}, 10**400), ({"type": "integer"}, 2.0), ({"maximum": "3"}, 4)]
)
def test_a_strict_server_takes_what_its_schema_allows(schema: Any, value: Any) -> None:
    assert violations(schema, value, STRICT) == []


def test_an_endless_schema_ends() -> None:
    schema = {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}
    assert violations(schema, 1) == []
