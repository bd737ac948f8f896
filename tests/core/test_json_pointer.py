"""JSON pointers: what they find, and where they put a value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap_resume_shim.core.json_pointer import MISSING, parts, place, point

keys = st.text(st.sampled_from("ab~/01"), max_size=4)


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
        ("/a/00", MISSING),
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
