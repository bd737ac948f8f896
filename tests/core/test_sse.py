"""Server-Sent Events, as bytes, in any split."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap_resume_shim.core import sse
from ap_resume_shim.core.errors import UpstreamError
from ap_resume_shim.core.sse import Decoder, Event, encode, first_event

line_ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
texts = st.text(st.sampled_from("ab :é名\u2028\u2029\x85\x0b🎉"), max_size=6)
fields = st.sampled_from(["event: ", "data: ", "data:", "data", "id: ", "retry: ", ": ", ":", "unknown: "])
lines = st.tuples(fields, texts, line_ends).map(lambda line: (line[0] + line[1]).encode() + line[2])
blocks = st.tuples(st.lists(lines, max_size=4), line_ends).map(lambda block: b"".join(block[0]) + block[1])
streams = st.lists(blocks, max_size=5).map(b"".join)


def decode(*chunks: bytes) -> list[Event]:
    decoder = Decoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def split(stream: bytes, cuts: set[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


def said(*chunks: bytes) -> list[tuple[str | None, str]]:
    return [(event.name, event.data) for event in decode(*chunks) if event.data is not None]


@given(streams, st.sets(st.integers(0, 200)))
def test_any_split_gives_the_same_events(stream: bytes, cuts: set[int]) -> None:
    whole = decode(stream)
    assert decode(*split(stream, cuts)) == whole
    assert decode(*(bytes([byte]) for byte in stream)) == whole


@given(streams)
def test_events_are_the_bytes_of_the_stream_and_nothing_else(stream: bytes) -> None:
    assert stream.startswith(b"".join(event.raw for event in decode(stream)))


@given(texts.filter(lambda text: text.strip() == text), texts)
def test_what_is_encoded_is_decoded(name: str, value: str) -> None:
    (event,) = decode(encode(name, value))
    assert event.name == name
    assert event.json == value


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_block_tells_its_name_its_id_and_its_lines_of_data(end: str) -> None:
    raw = end.join(["event: values", "id: 7", 'data: {"a":', "data:1}", ": why", "", ""]).encode()
    assert decode(raw) == [Event(raw, "values", '{"a":\n1}', "7")]


def test_an_event_that_ends_with_carriage_returns_is_complete_with_the_next_byte() -> None:
    """A CR at the end of what was read may be half of a CRLF."""
    decoder = Decoder()
    assert decoder.feed(b"data: 1\r\r") == []
    assert decoder.feed(b"data") == [Event(b"data: 1\r\r", None, "1")]


def test_a_crlf_that_is_split_is_one_line_end() -> None:
    decoder = Decoder()
    assert decoder.feed(b"event: a\r") == []
    assert decoder.feed(b"\ndata: 1\r\n\r") == []
    assert decoder.feed(b"\n") == [Event(b"event: a\r\ndata: 1\r\n\r\n", "a", "1")]


def test_a_split_character_is_decoded_whole() -> None:
    raw = "data: 名\n\n".encode()
    assert [event.data for event in decode(raw[:7], raw[7:8], raw[8:])] == ["名"]


def test_line_separators_of_unicode_are_data() -> None:
    (event,) = decode('data: "a\u2028b\x85c"\n\n'.encode())
    assert event.json == "a\u2028b\x85c"


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert decode(b"event: \xff\ndata: \xff\n\n")[0].data == "\ufffd"


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b": heartbeat\r\n\r\n", None),
        (b"event: a\n\n", None),
        (b"\n\n", None),
        (b"data\n\n", ""),
        (b"data:  x\n\n", " x"),
    ],
)
def test_only_a_line_of_data_makes_data(raw: bytes, data: str | None) -> None:
    assert [event.data for event in decode(raw)] == [data]


def test_a_half_event_at_the_end_is_dropped() -> None:
    assert [event.data for event in decode(b"data: 1\n\ndata: 2\n")] == ["1"]


def test_an_event_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT", 20)
    decoder = Decoder()
    decoder.feed(b"data: 1\n\n" * 10 + b"data: " + b"x" * 14)
    with pytest.raises(UpstreamError, match="an event of more than 20 bytes"):
        decoder.feed(b"x")


@pytest.mark.parametrize(
    ("data", "value"), [('{"a": 1}', {"a": 1}), ("plain", "plain"), ("", None), (None, None), ("NaN", None)]
)
def test_data_is_json_where_it_can_be(data: str | None, value: Any) -> None:
    assert Event(b"", None, data).json == value


def test_the_first_event_is_the_first_that_says_something() -> None:
    first = first_event(b": heartbeat\r\n\r\nevent: metadata\r\ndata: {}\r\n\r\ndata: 2\r\n\r\n")
    assert first is not None
    assert first.name == "metadata"


@pytest.mark.parametrize("raw", [b"", b": heartbeat\n\n", b"data: {}\n"])
def test_there_may_be_no_first_event_yet(raw: bytes) -> None:
    assert first_event(raw) is None
