"""Reframers: a relay, the base of those that read events, and those in front of another."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap_resume_shim.core import sse
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.reframer import Ended, EventReframer, Relay, WithRunId
from tests.core.test_sse import said, split, streams


@given(streams, st.sets(st.integers(0, 200)))
def test_a_relay_passes_every_byte_on(stream: bytes, cuts: set[int]) -> None:
    relay = Relay()
    assert b"".join(relay.feed(chunk) for chunk in split(stream, cuts)) + relay.finish() == stream


@pytest.mark.parametrize(
    ("chunks", "between"),
    [
        ([], True),
        ([b"data: 1\n"], False),
        ([b"data: 1\n\n"], True),
        ([b"data: 1\n", b"\n"], True),
        ([b"data: 1\r\n\r"], False),
        ([b"data: 1\r\n", b"\r", b"\n"], True),
        ([b"data: 1\r\r"], True),
        ([b"data: 1\n\n", b""], True),
        ([b"data: 1\n\n", b"d"], False),
    ],
)
def test_a_comment_fits_between_events_only(chunks: list[bytes], between: bool) -> None:
    relay = Relay()
    for chunk in chunks:
        relay.feed(chunk)
    assert relay.between_events is between


@given(streams.filter(lambda stream: b"data" in stream), st.integers(0, 200))
def test_a_comment_between_events_changes_none_of_them(stream: bytes, cut: int) -> None:
    relay = Relay()
    start, rest = split(stream, {cut})
    relay.feed(start)
    if relay.between_events:
        end = b": end\n\n"  # an event that ends with CR is complete with the next byte
        assert said(start, b": keep-alive\n\n", rest, end) == said(stream, end)


class Reframes:
    """A reframer of another protocol: what it makes is the draft's, but for the run's name."""

    between_events = True
    over = True

    def feed(self, chunk: bytes) -> bytes:
        return chunk.upper()

    def finish(self) -> bytes:
        return b"end"

    def ended(self) -> Ended:
        return Ended("values")


def test_a_stream_of_another_protocol_is_named_at_once_and_holds_nothing_back() -> None:
    named = WithRunId(Reframes(), "r1")
    assert named.feed(b"half a rec") == b'event: metadata\ndata: {"run_id":"r1"}\n\nHALF A REC'
    assert named.feed(b"ord") == b"ORD"
    assert (named.finish(), named.between_events, named.over, named.ended()) == (b"end", True, True, Ended("values"))


class Counts(EventReframer):
    """Adds numbers up to the first 0, and fails at the first negative one."""

    def __init__(self) -> None:
        super().__init__(Emitter(["values"]))
        self._sum = 0

    def _reframe_object(self, value: dict[str, Any]) -> bytes:
        self.over = value["n"] == 0
        self._sum += value["n"]
        return self._fail(value["n"]) if value["n"] < 0 else self._emit.values(self._sum)


def numbers(*values: int) -> bytes:
    return b"".join(sse.encode("n", {"n": value}) for value in values)


def test_events_are_reframed_one_by_one_until_the_run_is_at_rest() -> None:
    counts = Counts()
    assert counts.feed(b": a comment\n\n" + numbers(1)[:-1]) == b""
    assert counts.feed(b"\ndata: text\n\n" + numbers(2, 0, 5)) == b"".join(sse.encode("values", n) for n in (1, 3, 3))
    assert counts.over
    assert (counts.feed(numbers(7)), counts.finish(), counts.between_events) == (b"", b"", True)
    assert counts.ended() == Ended()


def test_the_first_error_counts() -> None:
    counts = Counts()
    assert counts.feed(numbers(-1, -2)) == sse.encode("error", -1)
    assert counts.ended() == Ended(error=-1)


def test_the_base_drops_all_events() -> None:
    assert EventReframer(Emitter(["values"])).feed(numbers(1)) == b""
