"""Fields of one connection."""

from __future__ import annotations

import pytest

from ap_resume_shim.proxy.hop_headers import HOP_BY_HOP, ConnectionInfo, end_to_end, response_headers


def test_fields_of_one_connection_are_left_out_and_the_others_stay_in_order() -> None:
    hops = [(name, b"x") for name in sorted(HOP_BY_HOP - {b"connection"})]
    others = [(b"x-a", b"1"), (b"set-cookie", b"a"), (b"x-a", b"2"), (b"set-cookie", b"b")]
    assert end_to_end([*hops, *others]) == others


def test_the_settings_of_a_wish_for_http2_do_not_go_on_without_the_wish() -> None:
    """RFC 7540, section 3.2.1: they are of one connection, also for a client that forgets to say so."""
    assert end_to_end([(b"upgrade", b"h2c"), (b"http2-settings", b"AAMAAABk"), (b"x-a", b"1")]) == [(b"x-a", b"1")]


def test_fields_that_connection_names_are_of_one_connection() -> None:
    headers = [(b"connection", b"close, X-A"), (b"x-a", b"1"), (b"x-b", b"2"), (b"connection", b"x-C"), (b"x-c", b"3")]
    assert response_headers(headers) == [(b"x-b", b"2")]
    assert end_to_end(headers, ConnectionInfo(headers).connection_options) == [(b"x-b", b"2")]


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([(b"content-length", b"5"), (b"transfer-encoding", b"chunked")], "in one way"),
        ([(b"connection", b"keep-alive, Content-Length")], "leave it out"),
        ([(b"connection", b"host")], "leave it out"),
        ([(b"connection", b"close"), (b"content-length", b"5")], None),
    ],
)
def test_what_two_servers_could_read_differently_is_told(headers: list[tuple[bytes, bytes]], says: str | None) -> None:
    ambiguity = ConnectionInfo(headers).ambiguity()
    assert ambiguity is None if says is None else says in str(ambiguity)


@pytest.mark.parametrize(
    ("asked", "leaves"),
    [
        (b"websocket", True),
        (b"WebSocket", True),
        (b"echo", True),
        (b"h2c", False),
        (b"H2C", False),
        (b"HTTP/2.0", False),
        (b"TLS/1.0", False),
        (b"h2c, websocket", False),
        (b"websocket, h2c", False),
        (b"", False),
    ],
)
def test_an_upgrade_to_http_is_none(asked: bytes, leaves: bool) -> None:
    assert ConnectionInfo([(b"upgrade", asked)]).wants_upgrade is leaves
