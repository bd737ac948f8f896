"""What a head says, what is refused, and how one is written."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.asgi import EARLY_HINT, TARGET, TRAILERS, TUNNEL
from ap_resume_shim.http1.head import Refused, build_scope, encode_error, encode_head

HOST, OTHER = (b"host", b"here"), (b"x", b"y")


def scope(target: bytes = b"/", *headers: tuple[bytes, bytes], method: bytes = b"GET", **told: Any) -> dict[str, Any]:
    version = told.pop("version", "1.1")
    return build_scope(method, target, version, list(headers or [HOST]), **told)


@pytest.mark.parametrize(
    ("target", "path", "raw", "query"),
    [
        (b"/", "/", b"/", b""),
        (b"/a%2Fb;c//d/../e?x=%20&y", "/a/b;c//d/../e", b"/a%2Fb;c//d/../e", b"x=%20&y"),
        (b"//host/x", "//host/x", b"//host/x", b""),
        (b"/%e4%BD%A0%ff", "/你�", b"/%e4%BD%A0%ff", b""),
        (b"/??", "/", b"/", b"?"),
        (b"http://HERE/x?y", "/x", b"/x", b"y"),
        (b"http://here", "/", b"/", b""),
        (b"https://here?y", "/", b"/", b"y"),
    ],
)
def test_a_target_is_told_decoded_and_as_it_came(target: bytes, path: str, raw: bytes, query: bytes) -> None:
    told = scope(target)
    assert (told["path"], told["raw_path"], told["query_string"]) == (path, raw, query)


def test_an_asterisk_is_the_target_of_options_alone() -> None:
    assert scope(b"*", method=b"OPTIONS")["raw_path"] == b"*"
    with pytest.raises(Refused):
        scope(b"*")


def test_an_empty_query_is_told_apart_from_none() -> None:
    assert scope(b"/a?")["extensions"][TARGET] == {"raw": b"/a?"}
    assert TARGET not in scope(b"/a")["extensions"]


def test_a_tunnel_is_offered_to_whom_it_may_concern() -> None:
    opened = object()
    assert scope(upgrade=opened)["extensions"] == {EARLY_HINT: {}, TRAILERS: {}, TUNNEL: {"open": opened}}
    assert TUNNEL not in scope()["extensions"]


@pytest.mark.parametrize(
    ("target", "headers", "version", "status"),
    [
        (b"/", [(b"x", b"y")], "1.1", 400),
        (b"/", [HOST, HOST], "1.1", 400),
        (b"/", [(b"host", b"a, b")], "1.1", 400),
        (b"/", [(b"host", b"a b")], "1.1", 400),
        (b"/", [(b"host", b"user@a")], "1.1", 400),
        (b"/", [(b"host", b"a/b")], "1.1", 400),
        (b"/", [(b"host", b"a:b")], "1.1", 400),
        (b"/#x", [HOST], "1.1", 400),
        (b"x", [HOST], "1.1", 400),
        (b"here:80", [HOST], "1.1", 400),
        (b"ftp://here/", [HOST], "1.1", 400),
        (b"http://there/", [HOST], "1.1", 400),
        (b"http://there/", [OTHER], "1.1", 400),
        (b"http:///x", [OTHER], "1.0", 400),
        (b"http://user@there/", [OTHER], "1.0", 400),
        (b"/", [HOST, (b"transfer-encoding", b"gzip, chunked")], "1.1", 501),
        (b"/", [HOST, (b"transfer-encoding", b"identity")], "1.1", 501),
        (b"/", [HOST, (b"transfer-encoding", b"chunked")], "1.0", 501),
        (b"/", [HOST], "2.0", 505),
        (b"/", [HOST], "0.9", 505),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(
    target: bytes, headers: list[tuple[bytes, bytes]], version: str, status: int
) -> None:
    with pytest.raises(Refused) as refused:
        scope(target, *headers, version=version)
    assert refused.value.status == status


@pytest.mark.parametrize("host", [b"", b"a", b"a:80", b"a.b-c_d", b"[::1]", b"[::1]:80", b"127.0.0.1", b"x%20y"])
def test_a_host_may_be_anything_that_names_one(host: bytes) -> None:
    assert scope(b"/", (b"host", host))["headers"] == [(b"host", host)]


def test_a_whole_url_names_the_host_where_the_first_version_has_no_field_for_it() -> None:
    named = scope(b"http://there:80/x", OTHER, version="1.0")
    assert (named["raw_path"], named["headers"]) == (b"/x", [(b"host", b"there:80"), OTHER])


def test_the_first_version_needs_no_host() -> None:
    assert scope(b"/", (b"x", b"y"), version="1.0")["http_version"] == "1.0"


def test_chunks_may_be_written_in_any_case() -> None:
    assert scope(b"/", HOST, (b"transfer-encoding", b"Chunked"))


def test_a_head_is_a_line_for_each_field() -> None:
    made = encode_head(207, [(b"a", b"1"), (b"a", b"\xff"), (b"connection", b"close")])
    assert made == b"HTTP/1.1 207 Multi-Status\r\na: 1\r\na: \xff\r\nconnection: close\r\n\r\n"
    assert encode_head(299, []) == b"HTTP/1.1 299 \r\n\r\n"


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nb", b"a\rb", b"a\0"])
def test_a_field_cannot_hold_another(value: bytes) -> None:
    with pytest.raises(ValueError, match="line end"):
        encode_head(200, [(b"a", value)])


def test_a_refusal_is_short_and_closes() -> None:
    made = encode_error(400, 'It is "wrong".')
    assert made.endswith(b'\r\ncontent-length: 31\r\nconnection: close\r\n\r\n{"message": "It is \\"wrong\\"."}')
