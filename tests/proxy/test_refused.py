"""What the proxy repairs neither in requests nor in answers, as docs/reference/transparency.md lists it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ap_resume_shim import ReverseProxy
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.http1.server_connection import Http1Protocol
from tests.support.serving import serving
from tests.support.sockets import OK, Upstream, talk, upstream

POST = b"POST / HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"
LENGTH = b"content-length: 2\r\n"
FIELDS = {
    "LF alone": (b"\r\n", b"\n"),
    "LF alone, once": (LENGTH, b"x: y\n" + LENGTH),
    "a bare CR": (LENGTH, b"x: y\rz: 1\r\n" + LENGTH),
    "a length twice": (LENGTH, LENGTH + LENGTH),
    "a list of lengths": (LENGTH, b"content-length: 2, 2\r\n"),
    "a length and a coding": (LENGTH, LENGTH + b"transfer-encoding: chunked\r\n"),
    "a control byte": (LENGTH, b"x: a\x01b\r\n" + LENGTH),
    "DEL": (LENGTH, b"x: a\x7fb\r\n" + LENGTH),
    "a folded field": (LENGTH, b"x: a\r\n b\r\n" + LENGTH),
    "a space before the colon": (LENGTH, b"x : a\r\n" + LENGTH),
}
CODINGS = {
    "no coding": (LENGTH, b"transfer-encoding: identity\r\n"),
    "two codings": (LENGTH, b"transfer-encoding: gzip, chunked\r\n"),
}


@contextmanager
def proxy(answer: bytes = OK) -> Iterator[tuple[str, Upstream]]:
    with ExitStack() as stack:
        behind = stack.enter_context(upstream(answer))
        app = ReverseProxy(behind.url, transport=Http1Transport)
        yield stack.enter_context(serving(app, http=Http1Protocol)), behind


@pytest.mark.parametrize("change", FIELDS.values(), ids=FIELDS.keys())
def test_a_request_that_is_refused_on_purpose_does_not_go_on(change: tuple[bytes, bytes]) -> None:
    with proxy() as (url, behind):
        got = talk(url, POST.replace(*change))
    assert (got[:13], behind.heads) == (b"HTTP/1.1 400 ", [])


@pytest.mark.parametrize("change", [*CODINGS.values(), (b"POST", b"CONNECT")], ids=[*CODINGS, "CONNECT"])
def test_a_request_that_asks_for_what_is_not_done_here_does_not_go_on(change: tuple[bytes, bytes]) -> None:
    with proxy() as (url, behind):
        got = talk(url, POST.replace(*change))
    assert (got[:13], behind.heads) == (b"HTTP/1.1 501 ", [])


@pytest.mark.parametrize("change", [*FIELDS.values(), *CODINGS.values()], ids=[*FIELDS, *CODINGS])
def test_an_answer_that_is_refused_on_purpose_does_not_come_back(change: tuple[bytes, bytes]) -> None:
    with proxy(OK.replace(*change)) as (url, _):
        got = talk(url, POST)
    assert got.startswith(b"HTTP/1.1 502 ")
    assert not got.endswith(b"ok")


@pytest.mark.parametrize("fields", [b"", b"x: a\tb\r\n", b"x: \xc3\xa9\r\n"], ids=["none", "a tab", "UTF-8"])
def test_what_is_not_on_the_list_passes(fields: bytes) -> None:
    with proxy(OK.replace(LENGTH, fields + LENGTH)) as (url, behind):
        got = talk(url, POST.replace(LENGTH, fields + LENGTH))
    assert got.startswith(b"HTTP/1.1 200 ") and fields in got
    assert fields in behind.heads[0] + b"\r\n"
