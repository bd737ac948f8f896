"""What a profile can say with data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap_resume_shim.profiles.template import MISSING, fill, fill_path, names_in, parts, place, point

keys = st.text(st.sampled_from("ab~/01"), max_size=4)


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


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", {"a": [{"b": None}], "x/y": 1, "x~y": 2, "": 3}),
        ("/a/0/b", None),
        ("/x~1y", 1),
        ("/x~0y", 2),
        ("/", 3),
        ("/a/1", MISSING),
        ("/a/-", MISSING),
        ("/a/²", MISSING),
        ("/a/0/b/c", MISSING),
        ("/gone", MISSING),
    ],
)
def test_a_pointer_finds_a_value_or_nothing(pointer: str, found: Any) -> None:
    result = point({"a": [{"b": None}], "x/y": 1, "x~y": 2, "": 3}, pointer)
    assert result is found or result == found


def test_a_pointer_starts_with_a_slash() -> None:
    with pytest.raises(ValueError, match="starts with a slash: 'a/b'"):
        parts("a/b")


@given(st.lists(keys, min_size=1, max_size=4), st.integers())
def test_what_is_placed_is_found_again(path: list[str], value: int) -> None:
    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
    assert parts(pointer) == path
    assert point(place({}, pointer, value), pointer) == value


def test_placing_keeps_what_stands_beside_and_changes_nothing_in_place() -> None:
    document = {"input": {"topic": "x", "command": "go"}, "n": 1}
    placed = place(document, "/input/command/resume", False)
    assert placed == {"input": {"topic": "x", "command": {"resume": False}}, "n": 1}
    assert document == {"input": {"topic": "x", "command": "go"}, "n": 1}
