"""JSON values: their parts, equality and depth, the integers that servers carry, and the forms of ids."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.errors import UnsupportedInput
from ap_resume_shim.core.json_values import (
    DOUBLE,
    INT64,
    SAFE,
    UINT64,
    Carries,
    depth,
    equal,
    everything_in,
    integers_in,
    is_hex32,
    is_uuid,
)


def test_everything_in_a_value_is_found_keys_too() -> None:
    value = {"a": [1, {"b": None}], "c": (True,)}
    found = list(everything_in(value))
    assert all(any(item is part for item in found) for part in (value, "a", 1, "b", None, "c", True))
    assert list(integers_in([value, 1.5, 2**64])) == [2**64, 1]


def test_a_value_may_be_nested_deeper_than_the_stack() -> None:
    value: Any = 7
    for _ in range(100_000):
        value = [value]
    assert list(integers_in(value)) == [7]
    assert depth(value) == 100_000


@pytest.mark.parametrize(("value", "levels"), [(1, 0), ("[[", 0), ([], 1), ({}, 1), ([[], {"a": [1]}], 3)])
def test_depth_counts_levels_of_arrays_and_objects(value: Any, levels: int) -> None:
    assert depth(value) == levels


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, None, False),
        ({"a": [1]}, {"a": [1.0]}, True),
        ({"a": [1]}, {"a": [True]}, False),
        ({"a": 1}, {"b": 1}, False),
        ([1], [1, 1], False),
        ([], {}, False),
    ],
)
def test_equality_is_that_of_json(one: Any, other: Any, same: bool) -> None:
    assert equal(one, other) is equal(other, one) is same


def test_integers_are_exact_up_to_a_limit() -> None:
    assert [2**53 in numbers for numbers in (SAFE, DOUBLE, INT64)] == [False, True, True]
    assert [2**53 + 1 in numbers for numbers in (DOUBLE, INT64)] == [False, True]
    assert [2**64 - 1 in numbers for numbers in (INT64, UINT64)] == [False, True]
    assert all(edge in numbers for numbers in (SAFE, DOUBLE, INT64, UINT64) for edge in (numbers[0], numbers[-1]))


@pytest.mark.parametrize(
    ("text", "hex32", "uuid"),
    [
        ("6a1b2c3d00004000800000000000000f", True, True),
        ("6A1B2C3D00004000800000000000000F", False, True),
        ("6A1B2C3D-0000-4000-8000-00000000000f", False, True),
        ("6a1b2c3d-00004000800000000000000f", False, False),
        ("-" * 36, False, False),
        ("6a1b2c3d00004000800000000000000f\n", False, False),
        ("", False, False),
    ],
)
def test_ids_have_forms(text: str, hex32: bool, uuid: bool) -> None:
    assert (is_hex32(text), is_uuid(text)) == (hex32, uuid)
    assert not is_hex32(5)


def test_what_a_server_would_change_is_refused() -> None:
    limited = Carries("The server", SAFE, nul=False, serialised=False)
    for value in (2**53, [{"a": -(2**53)}], "a\0b", {"a\0": 1}, [{"lc": 1}]):
        with pytest.raises(UnsupportedInput, match=r"^The server "):
            limited.check(value)
        Carries("Another").check(value)
    limited.check([True, 2**53 - 1, 1e300, "\\0", None, {"lc": 2}])
