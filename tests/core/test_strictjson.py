"""JSON as RFC 8259 means it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap_resume_shim.core import strictjson

characters = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | characters
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(characters, inner, max_size=4),
    max_leaves=20,
)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@given(values)
def test_any_value_comes_back_as_it_was(value: Any) -> None:
    back = strictjson.loads(strictjson.dumps(value))
    assert repr(back) == repr(value)  # repr: 1, 1.0 and True are three values


@given(values)
def test_what_is_written_is_what_everybody_reads(value: Any) -> None:
    assert json.loads(strictjson.dumps(value)) == value


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"NaN", "NaN is not JSON."),
        (b'{"a": [-Infinity]}', "-Infinity is not JSON."),
        (b"1e999", "The number 1e999 is too large for a double."),
        (b"-1e999", "too large for a double"),
        (b'{"a": 1, "b": 2, "a": 1}', "The key 'a' occurs twice in one object."),
        (b'[{"x": {"": 1, "": 2}}]', "The key '' occurs twice"),
        (rb'{"\u0061": 1, "a": 2}', "The key 'a' occurs twice"),
        (rb'"\ud83d"', "half of a surrogate pair"),
        (rb'{"\udc00": 1}', "half of a surrogate pair"),
        (b'"\xff"', "The body is not valid UTF-8 (byte 1)."),
        ('{"a": "é"}'.encode("latin-1"), "not valid UTF-8 (byte 7)"),
        ('{"a": 1}'.encode("utf-16"), "not valid UTF-8"),
        (b"\xef\xbb\xbf{}", "The body is not JSON: Unexpected UTF-8 BOM"),
        (b"9" * 1001, "more than 1000 digits"),
        (b"-" + b"9" * 5000, "more than 1000 digits"),
        (nested(201), "nested deeper than 200 levels"),
        (b'{"a":' * 201 + b"1" + b"}" * 201, "nested deeper than 200 levels"),
        (nested(100_000), "nested deeper than 200 levels"),
        (b"{'a': 1}", "The body is not JSON: Expecting property name"),
        (b'{"a": 1,}', "The body is not JSON:"),
        (b"[1] [2]", "The body is not JSON: Extra data"),
        (b"", "The body is not JSON:"),
    ],
)
def test_what_parsers_disagree_on_is_refused_with_a_reason(raw: bytes, says: str) -> None:
    with pytest.raises(ValueError) as refused:
        strictjson.loads(raw)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("raw", [b"null", b"false", b"0", b'""', b"[]", b"{}", b"9" * 1000, nested(200), b"1e308"])
def test_the_extremes_that_everybody_reads_are_let_through(raw: bytes) -> None:
    assert strictjson.dumps(strictjson.loads(raw)).replace(b"e+", b"e") == raw


def test_writing_refuses_nan_rather_than_writing_what_is_no_json() -> None:
    with pytest.raises(ValueError):
        strictjson.dumps(float("nan"))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[1e999]", [math.inf]),
        (b"[" + b"9" * 5000 + b"]", [math.inf]),
        (b'["\xff"]', ["\ufffd"]),
        (b'\xef\xbb\xbf["\xff"]', ["\ufffd"]),
        ("[1e999, 1]", [math.inf, 1]),
    ],
)
def test_what_some_server_reads_is_read(raw: bytes | str, value: Any) -> None:
    assert strictjson.lenient(raw) == value


def test_what_no_server_reads_is_not_read() -> None:
    with pytest.raises(ValueError):
        strictjson.lenient(b'{"a": 1e999')


def test_what_a_backend_writes_can_always_be_passed_on() -> None:
    """Python's servers write NaN, JavaScript's cut surrogate pairs in two."""
    told = strictjson.read(rb'{"score": NaN, "most": Infinity, "text": "cut \ud83d"}')
    assert told["score"] is told["most"] is None
    assert strictjson.dumps(told) == rb'{"score":null,"most":null,"text":"cut \ud83d"}'


@pytest.mark.parametrize("raw", [b"Internal Server Error", b"\xff", nested(100_000)])
def test_what_is_no_json_from_a_backend_is_a_value_error_too(raw: bytes) -> None:
    with pytest.raises(ValueError):
        strictjson.read(raw)


@pytest.mark.parametrize(
    ("text", "is_whole"),
    [
        (r"\ud83d\ude00", True),
        (r"\uD83D\uDE00x\ud83d\ude00", True),
        (r"\\ud800", True),
        (r"\\ude00", True),
        (r"\ud800", False),
        (r"\ude00", False),
        (r"\ude00\ud83d", False),
        (r"\ud83d\ud83d\ude00", False),
        (r"\ud83d\ude00\ude00", False),
        (r"\ud83dx\ude00", False),
    ],
)
def test_halves_of_surrogate_pairs_are_found(text: str, is_whole: bool) -> None:
    raw = f'"{text}"'.encode()
    if is_whole:
        assert strictjson.loads(raw) == json.loads(raw)
    else:
        with pytest.raises(ValueError, match="half of a surrogate pair"):
            strictjson.loads(raw)


def test_a_text_without_escapes_is_not_written_to_find_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "dumps", None)
    assert strictjson.loads(b'["text", "\\ud83d\\ude00"]') == ["text", "\U0001f600"]


def test_a_long_text_is_read_as_a_short_one_is() -> None:
    value = {"items": [{"text": "x" * 100}] * 1000}
    assert strictjson.read(json.dumps(value)) == value
