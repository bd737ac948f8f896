"""Which requests are the same, and whose."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import InvalidRequest
from ap_resume_shim.core.idempotency import answer_fingerprints, caller, digest, fingerprint, one_spelling, read_key
from ap_resume_shim.core.json_values import HEX32
from ap_resume_shim.core.protocol import Mode, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("aé\u2028"),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text("ab"), values, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("8e03978e-40d5", "8e03978e-40d5"),
        ('"8e03978e-40d5"', "8e03978e-40d5"),
        ('  "a b" ', "a b"),
        (r'"say \"yes\" \\"', r'say "yes" \ '.rstrip()),
        ("x" * 255, "x" * 255),
    ],
)
def test_the_quoted_and_the_bare_form_are_one_key(field: str, key: str) -> None:
    assert read_key([field]) == key


def test_no_field_is_no_key() -> None:
    assert read_key([]) is None


@pytest.mark.parametrize("field", ["", '""', '"open', "two words", '"a"b"', "é", "x" * 256, 'a"b', '"a\\b"', "\x00"])
def test_what_is_no_key_is_refused(field: str) -> None:
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        read_key([field])


def test_two_fields_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="several"):
        read_key(["a", "a"])


@given(JSON)
def test_a_fingerprint_is_that_of_the_value(value: object) -> None:
    assert fingerprint(strictjson.loads(strictjson.dumps(value))) == fingerprint(value)


@pytest.mark.parametrize(
    ("body", "unnamed"),
    [
        ({"input": "yes", "interrupt_id": "q"}, {"input": "yes"}),
        ({"input": {"q": "yes"}, "interrupt_id": "q"}, {"input": "yes"}),
        ({"input": {"a" * 32: "yes"}}, {"input": "yes"}),
        ({"messages": [1], "interrupt_id": "q"}, {"messages": [1]}),
        ({"input": {"a": 1}, "interrupt_id": "q"}, {"input": {"a": 1}}),
        ({"input": {"q": "yes"}, "thread_id": "t", "metadata": {}}, {"input": {"q": "yes"}}),
        ({"input": {"a" * 32: 1, "b" * 32: 2}}, {"input": {"a" * 32: 1, "b" * 32: 2}}),
        ({"input": None}, {}),
    ],
)
def test_an_answer_has_a_fingerprint_with_the_name_of_its_question_and_one_without(body: Any, unnamed: Any) -> None:
    named, without = answer_fingerprints(body, HEX32)
    names_one = "interrupt_id" in body or without != answer_fingerprints(body, None)[1]
    assert (without, named != without) == (fingerprint(unnamed), names_one)


def test_bodies_that_differ_in_order_and_white_space_are_the_same() -> None:
    one = parse(b'{"thread_id":"t","input":{"a":1,"b":"\\u00e9"}}', Mode.WAIT, now="now")
    other = parse('{ "input": {"b": "é", "a": 1},\n"thread_id": "t" }'.encode(), Mode.WAIT, now="later")
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    "other", ['{"thread_id":"t"}', '{"thread_id":"t","input":true}', '{"thread_id":"t","input":1.0}']
)
def test_other_answers_are_not_the_same(other: str) -> None:
    one = parse(b'{"thread_id":"t","input":1}', Mode.WAIT, now="now")
    assert parse(other.encode(), Mode.WAIT, now="now").fingerprint != one.fingerprint


def test_a_pin_in_the_header_is_part_of_the_body() -> None:
    raw = b'{"thread_id":"t","input":1}'
    pinned = parse(raw, Mode.WAIT, now="now", interrupt_id="q1")
    assert pinned.fingerprint != parse(raw, Mode.WAIT, now="now").fingerprint


@pytest.mark.parametrize("name", ["authorization", "Cookie", "x-api-key"])
def test_callers_are_told_apart_by_their_credentials(name: str) -> None:
    assert caller([(name, "ann")]) != caller([(name, "bob")])
    assert caller([(name, "ann"), ("user-agent", "x")]) == caller([("accept", "y"), (name.upper(), "ann")])


def test_what_tells_callers_apart_can_be_said() -> None:
    assert caller([("x-user", "ann")], ["X-User"]) != caller([("x-user", "bob")], ["X-User"])
    assert caller([("x-user", "ann")]) == caller([])


def test_a_digest_does_not_run_its_parts_together() -> None:
    assert digest("a", "bc") != digest("ab", "c")


UUID = "6a1b2c3d-0000-4000-8000-00000000000f"
SPELLINGS = [
    UUID,
    UUID.upper(),
    UUID.replace("-", ""),
    f"{{{UUID}}}",
    f"urn:uuid:{UUID}",
    f"URN:UUID:{UUID.upper()}",
    f"{{urn:uuid:{UUID}}}",
    "6a1b-2c3d-0000-4000-8000-0000-0000-000f",
]


def test_all_spellings_of_a_uuid_are_one() -> None:
    assert {one_spelling(each) for each in SPELLINGS} == {UUID.replace("-", "")}
    bodies = [parse(strictjson.dumps({"thread_id": each}), Mode.WAIT, now="now") for each in SPELLINGS]
    assert len({body.fingerprint for body in bodies}) == 1
    assert [body.thread_id for body in bodies] == SPELLINGS, "the server gets what the client wrote"


@pytest.mark.parametrize("other", ["T", "t", "{t}", "urn:uuid:t", UUID[:-1], UUID[:-1] + "g", UUID + "0", "-" * 36])
def test_what_is_no_uuid_stays_as_it_is(other: str) -> None:
    assert one_spelling(other) == other
