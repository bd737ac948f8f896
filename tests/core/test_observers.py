"""What observers read of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import ThreadEntry
from ap_resume_shim.core.observers import LARGEST, JsonObserver, is_event_stream
from ap_resume_shim.core.steps import Entry

JSON, EVENTS = ("Content-Type", "application/json"), ("content-type", "text/event-stream; charset=utf-8")


class Notes(JsonObserver):
    """Notes every object."""

    def _entries_in(self, value: dict[str, Any]) -> Iterator[ThreadEntry]:
        yield "t", Entry(value)


def noted(kind: tuple[str, str], *chunks: bytes) -> list[list[dict[str, Any]]]:
    """What is noted of each chunk, and at the end."""
    observer = Notes()
    observer.request(b"")
    assert list(observer.head(200, (kind,))) == []
    steps = [*(list(observer.feed(chunk)) for chunk in chunks), list(observer.end(complete=True))]
    return [[entry.facts for _, entry in notes] for notes in steps]


def test_the_media_type_shows_a_stream() -> None:
    assert [is_event_stream(headers) for headers in ((EVENTS,), (JSON,), ())] == [True, False, False]


def test_a_body_is_noted_once_as_soon_as_it_is_whole() -> None:
    assert noted(JSON, b'{"a": {"b": 1}', b"}", b"\n") == [[], [{"a": {"b": 1}}], [], []]
    assert noted(JSON, b"{}\n") == [[], [{}]]


def test_each_object_of_a_stream_is_noted() -> None:
    event = sse.encode("x", {"n": 1})
    assert noted(EVENTS, event + event[:9], event[9:] + b": comment\n\n", b"data: 5\n\n") == [[{"n": 1}]] * 2 + [[], []]


@pytest.mark.parametrize("body", [b"", b"no JSON}", b"[]", b'"text"', b" " * LARGEST + b"{}"])
def test_other_bodies_are_passed_over(body: bytes) -> None:
    assert noted(JSON, body[:LARGEST], body[LARGEST:]) == [[], [], []]


def test_what_is_noted_is_for_the_subclass_to_say() -> None:
    with pytest.raises(NotImplementedError):
        list(JsonObserver().feed(b"{}"))
