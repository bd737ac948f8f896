"""What pydantic refuses, in the shim's own words: each kind of error that its models can cause has a text."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ap_resume_shim.core.protocol import RunResume
from ap_resume_shim.core.validation_errors import problems
from ap_resume_shim.profiles.schema import Profile

WRONG: list[Any] = [None, True, 7, 1.5, "", "x" * 70_000, [], [None], [[]], [{}], {}, {"": None}, {"": {}}, {"x": []}]
"""Values of every type; each is wrong somewhere."""


def fields(schema: Any, definitions: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of all fields of a model's JSON schema."""
    for variant in [schema, *schema.get("anyOf", ())]:
        if "$ref" in variant:
            return fields(definitions[variant["$ref"].rpartition("/")[2]], definitions, path)
    below = schema.get("properties", {})
    return [found for name in below for found in ((*path, name), *fields(below[name], definitions, (*path, name)))]


@pytest.mark.parametrize("model", [RunResume, Profile])
def test_each_kind_of_error_has_a_text_and_a_place_in_the_value(model: Any) -> None:
    schema, count = model.model_json_schema(by_alias=True), 0
    for path in fields(schema, schema.get("$defs", {})):
        for wrong in WRONG:
            value: Any = wrong
            for name in reversed(path):
                value = {name: value}
            try:
                TypeAdapter(model).validate_python(value)
            except ValidationError as error:
                found = problems(error, value)
                count += len(found)
                assert "is invalid" not in {text for _, text in found}, (path, wrong)
                assert not [place for place, _ in found if any("[" in str(part) for part in place)]
    assert count > 100
