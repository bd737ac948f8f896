"""What a profile can say with data."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.json_pointer import MISSING
from ap_resume_shim.profiles.template import fill, fill_path, names_in


def test_the_names_in_a_path_are_found() -> None:
    assert names_in("/threads/{thread_id}/runs/{run_id}") == {"thread_id", "run_id"}


@pytest.mark.parametrize("value", ["a/b", "../x", "a?b#c", "a%2Fb", "ü", "a b", ""])
def test_a_value_stays_in_its_segment_of_the_path(value: str) -> None:
    path = fill_path("/threads/{thread_id}/runs", {"thread_id": value})
    assert path.count("/") == 3
    assert path.isascii()
    assert not {"?", "#", " "} & set(path)


def test_a_name_stands_for_a_whole_value() -> None:
    assert fill({"id": "$a", "deep": [{"x": "$b"}]}, {"a": 1, "b": {"c": None}}) == {
        "id": 1,
        "deep": [{"x": {"c": None}}],
    }


def test_what_is_missing_is_left_out() -> None:
    assert fill({"a": "$gone", "b": ["$gone", 1], "c": {"d": "$gone"}}, {}) == {"b": [1], "c": {}}
    assert fill("$gone", {}) is MISSING


@pytest.mark.parametrize("constant", [None, 0, False, "text", "a $b"])
def test_a_constant_stays_as_it_is(constant: Any) -> None:
    assert fill({"a": constant}, {"b": 1}) == {"a": constant}
