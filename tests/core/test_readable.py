"""What of an answer cannot be read, by its head and by its body."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.errors import UpstreamError, UpstreamUnrecognised
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.readable import JSON, check_head, check_json

EVENTS = frozenset({"text/event-stream"})


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/a2a+json", ""])
def test_json_has_many_names(kind: str) -> None:
    check_head(Response(202, (("Content-Type", kind), ("content-encoding", "identity"))), JSON)
    check_head(Response(200, (("content-type", "text/event-stream; charset=utf-8"),)), EVENTS)


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (Response(204), "has no content"),
        (Response(205), "has no content"),
        (Response(200, (("content-encoding", "GZIP"),)), "encoded as 'gzip'"),
        (Response(200, (("content-type", "text/html; charset=utf-8"),)), "of the media type 'text/html'"),
    ],
)
def test_a_head_that_says_something_else_is_not_read(response: Response, says: str) -> None:
    for media_types in (JSON, EVENTS):
        with pytest.raises(UpstreamUnrecognised, match=says):
            check_head(response, media_types)


def test_json_is_no_stream_of_events() -> None:
    with pytest.raises(UpstreamUnrecognised, match="media type"):
        check_head(Response(200, (("content-type", "application/x+json"),)), EVENTS)


@pytest.mark.parametrize(
    "body", [b'{"a": [1', b'{"a": "b', b'{"a": "b\\"', b"[", b'"x', b'{"a": "}]"', b'{"a": tr', b'{"a"', b'{"a": "\xc3']
)
def test_json_may_be_cut_short(body: bytes) -> None:
    with pytest.raises(UpstreamError, match="cut short"):
        check_json(Response(200, (), body))


@pytest.mark.parametrize(
    "body", [b"<!doctype html>", b"\x1f\x8b{[", b'{"a": 1e400}', b"ok", b'{"a": 1}}', b'{"a": oops}']
)
def test_other_bodies_are_not_json(body: bytes) -> None:
    with pytest.raises(UpstreamUnrecognised, match="not JSON"):
        check_json(Response(200, (), body))


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_an_empty_body_says_nothing(body: bytes) -> None:
    with pytest.raises(UpstreamUnrecognised, match="is empty"):
        check_json(Response(200, (), body))


def test_json_is_read() -> None:
    assert check_json(Response(200, (), b'\n {"a": [NaN]}')) == {"a": [None]}
