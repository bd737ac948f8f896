"""The parser of responses: its progress, and what it refuses."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.http1.response_parser import (
    BODY,
    COMPLETE,
    HEAD,
    MAX_HEAD,
    UPGRADED,
    InvalidResponse,
    ResponseParser,
)

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Heads:
    """Collects what the parser reports."""

    def __init__(self) -> None:
        self.reported: list[tuple[int, HeaderList]] = []

    def on_response_head(self, status: int, headers: HeaderList) -> None:
        self.reported.append((status, headers))


def begun(heads: Heads | None = None, *, no_body: bool = False, may_upgrade: bool = False) -> ResponseParser:
    parser = ResponseParser(heads or Heads())
    parser.begin([], no_body, may_upgrade)
    return parser


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_heads_body_and_trailers_arrive_in_pieces_of_any_size(step: int) -> None:
    heads, parts, seen = Heads(), list[bytes](), list[int]()
    parser = ResponseParser(heads)
    parser.begin(parts, False, False)
    data = b"HTTP/1.1 103 x\r\nLink: a\r\n\r\n" + CHUNKED + b"3\r\nabc\r\n0\r\nX-Sum: 7 \r\n\r\n"
    for at in range(0, len(data), step):
        assert parser.feed(data[at : at + step]) == b""
        seen.append(parser.progress)
    assert seen == sorted(seen)
    assert (seen[-1], parser.keep_alive, b"".join(parts)) == (COMPLETE, True, b"abc")
    assert heads.reported == [(103, [(b"link", b"a")]), (200, [(b"transfer-encoding", b"chunked")])]
    assert (parser.headers, parser.fields) == (heads.reported[1][1], [(b"x-sum", b"7")])


def test_after_a_response_to_head_the_next_response_may_have_a_body() -> None:
    parser = begun(no_body=True)
    parser.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
    assert parser.progress == COMPLETE
    parser.begin(parts := list[bytes](), False, False)
    assert parser.progress == HEAD
    parser.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert (parser.progress, parts) == (COMPLETE, [b"ok"])


def test_what_follows_a_101_is_returned() -> None:
    parser = begun(may_upgrade=True)
    assert parser.feed(b"HTTP/1.1 101 x\r\nupgrade: y\r\n\r\nHTTP/") == b"HTTP/"
    assert parser.progress == UPGRADED


@pytest.mark.parametrize(("fields", "ends"), [(b"", True), (b"content-length: 9\r\n", False)])
def test_without_framing_the_end_of_the_connection_ends_a_body(fields: bytes, ends: bool) -> None:
    parser = begun()
    assert not parser.ends_at_close()
    parser.feed(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nbody")
    assert (parser.progress, parser.ends_at_close()) == (BODY, ends)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"nonsense", "not valid HTTP"),
        (b"HTTP/1.1 099 x\r\n\r\n", "the status 099 is invalid"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "transfer coding b'gzip, chunked'"),
        (b"HTTP/1.1 101 x\r\nupgrade: y\r\nconnection: upgrade\r\n\r\n", "which the request did not ask for"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "more than one response"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * MAX_HEAD, "the head of its response is larger than 262144 bytes"),
    ],
)
def test_an_invalid_response_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(InvalidResponse, match=why):
        begun().feed(data)


def test_the_limit_holds_for_heads_and_trailers_and_not_for_a_body() -> None:
    parser = begun()
    parser.feed(CHUNKED)
    for _ in range(3):
        parser.feed(b"%x\r\n%b\r\n" % (MAX_HEAD, b"a" * MAX_HEAD))
    with pytest.raises(InvalidResponse, match="the trailer section of its response is larger"):
        parser.feed(b"0\r\nx: " + b"a" * MAX_HEAD)
