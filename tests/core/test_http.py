"""Requests to a backend and its answers."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.http import Request, Response, segment


@pytest.mark.parametrize(("value", "escaped"), [("a-b_c.~1", "a-b_c.~1"), ("a/b?c", "a%2Fb%3Fc"), ("é", "%C3%A9")])
def test_a_segment_escapes_all_but_unreserved_characters(value: str, escaped: str) -> None:
    assert segment(value) == escaped


def test_a_lookup_has_no_body() -> None:
    request = Request.get("/threads/t")
    assert (request.method, request.body, request.json) == ("GET", None, None)


def test_a_post_carries_json() -> None:
    request = Request.post("/runs", {"a": "é"}, "text/event-stream")
    assert (request.body, request.accept) == ('{"a":"é"}'.encode(), "text/event-stream")
    assert request.json == {"a": "é"}


def test_a_post_may_have_no_body() -> None:
    assert Request.post("/runs/r/cancel").body is None


@pytest.mark.parametrize(("status", "ok"), [(199, False), (200, True), (204, True), (299, True), (307, False)])
def test_2xx_is_ok(status: int, ok: bool) -> None:
    assert Response(status).ok is ok


def test_headers_are_compared_without_case_and_the_first_counts() -> None:
    response = Response(200, (("Content-Location", "/a"), ("content-location", "/b")))
    assert response.header("content-location") == "/a"
    assert response.header("location") is None


@pytest.mark.parametrize(("body", "value"), [(b'{"a":1}', {"a": 1}), (b"", None), (b"oops", None), (b"\xff", None)])
def test_an_answer_that_is_no_json_is_none(body: bytes, value: Any) -> None:
    assert Response(500, (), body).json == value


def test_text_is_always_readable() -> None:
    assert Response(500, (), b"\xffoops").text == "\ufffdoops"
