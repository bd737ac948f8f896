"""Connections kept for the next request: how long, for which requests, and what the server announces."""

from __future__ import annotations

import socket
import struct

import pytest

from ap_resume_shim.core.errors import UpstreamError
from ap_resume_shim.http1.response_parser import MAX_HEAD
from tests.http1.driving import KEPT, Parts, again, ask, request, transport
from tests.support.sockets import upstream

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("outgoing", ["with a body", "without"])
async def test_a_request_with_a_fence_has_a_connection_of_its_own(outgoing: str) -> None:
    """The kept connection is closed when the request is on its way: the server never reads it."""

    def script(connection: socket.socket) -> None:
        connection.sendall(KEPT)
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    body = Parts(b"yes") if outgoing == "with a body" else None
    length = [(b"content-length", b"3")] if body else []
    with upstream(script) as behind:
        async with transport(behind.url) as through:
            await ask(through)
            fenced = request("POST", fence=lambda: None, body=body, headers=length)
            assert await ask(through, fenced) == (200, b"ok")
    assert len(behind.heads) == 2


async def test_a_connection_of_ones_own_is_kept_in_place_of_another() -> None:
    with upstream(again) as behind:
        async with transport(behind.url) as through:
            for n in range(5):
                await ask(through)
                await ask(through, request("POST", fence=lambda: None))
                assert len(through._idle) == len(through._open) == 1, n
    assert len(behind.heads) == 6


async def test_a_request_with_a_fence_is_not_sent_again() -> None:
    with upstream(b"") as behind:  # and then the connection is closed
        async with transport(behind.url) as through:
            with pytest.raises(UpstreamError, match="broke off"):
                await ask(through, request(fence=lambda: None))
    assert len(behind.heads) == 1


@pytest.mark.parametrize("kind", ["many", "long", "one without end"])
async def test_trailers_have_a_limit(kind: str) -> None:
    parts = {"many": b"x-a: b\r\n" * 1000, "long": b"x-a: %b\r\n" % (b"b" * 8000), "one without end": b"b" * 8000}

    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-first: ")
        sent = 0
        while sent < 100 * MAX_HEAD:
            connection.sendall(parts[kind])
            sent += len(parts[kind])
        connection.sendall(b"\r\n\r\n")

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request())
            await exchange.head()
            with pytest.raises(UpstreamError, match="trailer section of its response is larger than"):
                while await exchange.read():
                    pass
            exchange.close()


async def test_trailers_below_the_limit_are_passed_on() -> None:
    fields = [(b"x-%d" % n, b"v" * 1000) for n in range(100)]
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    with upstream(head + b"2\r\nok\r\n" * 100_000 + b"0\r\n" + lines + b"\r\n") as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request())
            await exchange.head()
            size = 0
            while part := await exchange.read():
                size += len(part)
            assert (size, exchange.trailers) == (200_000, fields)


async def test_connections_to_the_server_are_probed_while_they_are_silent() -> None:
    with upstream(again) as behind:
        async with transport(behind.url) as through:
            await ask(through)
            (kept,) = through._open
            plug = kept.transport.get_extra_info("socket")
            assert plug.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
