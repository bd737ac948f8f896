"""The canonical form is that of RFC 8785."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap_resume_shim.policy.canonical_json import canonical, sha256

NUMBERS = [  # RFC 8785, appendix B, and the borders between the notations
    (0.0, "0"),
    (-0.0, "0"),
    (5e-324, "5e-324"),
    (-5e-324, "-5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (9007199254740992.0, "9007199254740992"),
    (295147905179352830000.0, "295147905179352830000"),
    (9.999999999999997e22, "9.999999999999997e+22"),
    (1e23, "1e+23"),
    (999999999999999700000.0, "999999999999999700000"),
    (1e21, "1e+21"),
    (9.999999999999997e-7, "9.999999999999997e-7"),
    (0.000001, "0.000001"),
    (333333333.33333325, "333333333.33333325"),
    (-0.0000033333333333333333, "-0.0000033333333333333333"),
    (1424953923781206.2, "1424953923781206.2"),
    (100.0, "100"),
]


@pytest.mark.parametrize(("value", "text"), NUMBERS)
def test_numbers_are_those_of_ecmascript(value: float, text: str) -> None:
    assert canonical(value).decode() == text


def test_members_are_in_the_order_of_utf_16() -> None:
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert list(json.loads(canonical(value)).values()) == [2, 4, 6, 7, 1, 5, 3]


def test_strings_are_escaped_as_the_standard_says() -> None:
    assert canonical({"a": [None, True, False, '\u20ac$\x0f\nA\'B"\\\\"/\b']}) == (
        b'{"a":[null,true,false,"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/\\b"]}'
    )


def test_half_of_a_surrogate_pair_and_all_digits_of_an_integer_stay() -> None:
    assert canonical(["\ud83d", 2**64 + 1]) == b'["\\ud83d",18446744073709551617]'


def test_nesting_has_no_limit() -> None:
    value: Any = {}
    for _ in range(50_000):
        value = {"a": [value, 1], "b": []}
    assert canonical(value) == b'{"a":[' * 50_000 + b"{}" + b',1],"b":[]}' * 50_000


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_digit_of_a_number_is_lost(value: float) -> None:
    assert float(canonical(value)) == value


@given(JSON)
def test_it_is_the_same_value(value: Any) -> None:
    assert json.loads(canonical(value)) == value


def test_the_digest_is_that_of_the_canonical_form() -> None:
    assert sha256({"b": 1.0, "a": "ä"}) == hashlib.sha256('{"a":"ä","b":1}'.encode()).hexdigest()
