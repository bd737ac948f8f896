"""The strict reader reads what the grammar says, and says why it reads nothing else."""

from __future__ import annotations

import pytest

from tests.fuzz import reading

HOST = b"Host: a\r\n"
POST = b"POST /b HTTP/1.1\r\n" + HOST
OK = b"HTTP/1.1 200 OK\r\n"


def test_requests_are_read_one_after_the_other() -> None:
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"
    read = reading.requests(POST + b"Content-Length: 2\r\n\r\nok" + chunked + b"GET /c HTTP/1.1\r\n" + HOST + b"\r\n")
    assert [message.body for message in read.messages] == [b"ok", b"hello", b""]
    assert (read.messages[1].trailers, read.end, read.rest) == ([(b"x-sum", b"7")], "whole", b"")


@pytest.mark.parametrize(
    ("raw", "end"),
    [
        (POST + b"Content-Length: 5\r\n\r\nhell", "partial"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "partial"),
        (POST, "partial"),
        (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "wrong"),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "wrong"),
        (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n", "wrong"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", "wrong"),
        (POST + b"X-A: 1\r\n 2\r\n\r\n", "wrong"),
        (POST + b"X-A : 1\r\n\r\n", "wrong"),
        (b"GET /b HTTP/1.1\r\n\r\n", "wrong"),
        (b"GET /b HTTP/1.1\n" + HOST + b"\r\n", "wrong"),
        (b"GET /b HTTP/1.1\n" + HOST, "partial"),
    ],
)
def test_what_is_not_over_is_told_from_what_is_wrong(raw: bytes, end: str) -> None:
    read = reading.requests(raw)
    assert (read.messages, read.end) == ([], end), read.why


@pytest.mark.parametrize(
    "raw",
    [b"\r\n" + POST + b"\r\n", POST + b"Content-Length: 00\r\n\r\n", b"GET http://a/b HTTP/1.1\r\n" + HOST + b"\r\n"],
)
def test_what_may_be_refused_has_one_reading(raw: bytes) -> None:
    read = reading.requests(raw)
    assert read.end == "whole"
    assert read.messages[0].start[1] == b"/b"
    assert read.messages[0].doubts


def test_an_answer_ends_as_its_request_and_its_framing_say() -> None:
    length, chunks = OK + b"Content-Length: 2\r\n\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
    assert reading.answers(length, [b"HEAD"]).end == "whole"
    assert reading.answers(length, [b"GET"], closed=True).end == "partial"
    assert reading.answers(chunks, [b"GET"], closed=True).end == "partial"
    assert reading.answers(OK + b"\r\nbody", [b"GET"], closed=True).messages[0].body == b"body"
    assert reading.answers(OK + b"\r\nbody", [b"GET"]).end == "partial"


def test_what_comes_behind_the_last_answer_is_nobodys() -> None:
    read = reading.answers(b"HTTP/1.1 103 Hints\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n" + OK + b"\r\n", [b"GET"])
    assert ([message.start[1] for message in read.messages], read.end) == ([b"103", b"200"], "wrong")
