"""Statuses of answers: interim ones, those that nobody knows, and those that are none."""

from __future__ import annotations

import json
import socket

import anyio
import pytest

from ap_resume_shim import ReverseProxy
from ap_resume_shim.core.errors import UpstreamError
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.http1.server_connection import Http1Protocol
from tests.http1.driving import ask, request, transport
from tests.support.calling import Call, http
from tests.support.serving import serving
from tests.support.sockets import Script, talk, upstream

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"
NO_UPGRADE = [b"", b"upgrade: echo\r\n", b"connection: keep-alive\r\n", b"content-length: 3\r\n"]
"""Fields of a 101 that do not say what it is."""


def interim(status: int) -> Script:
    """Send an interim answer, and nothing more."""

    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 %d Wait\r\nlink: </a>\r\n\r\n" % status)
        connection.recv(1)

    return script


@pytest.mark.parametrize("status", [100, 102, 103, 199])
async def test_an_interim_answer_does_not_end_the_wait_for_the_answer(status: int) -> None:
    with upstream(interim(status)) as behind:
        proxy = ReverseProxy(behind.url, answer=0.3, transport=Http1Transport)
        await (call := Call())(proxy, http())
        await proxy.aclose()
        await anyio.sleep(0.01)
    assert call.status == 504
    assert "did not begin to respond within 0.3 seconds" in json.loads(call.answer)["message"]


async def test_interim_answers_may_come_again_and_again() -> None:
    answer = b"".join(b"HTTP/1.1 %d Wait\r\n\r\n" % status for status in (100, 100, 102, 103, 103, 100))
    with upstream(answer + b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok") as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request())
            while exchange.status < 200:
                await exchange.head()
            assert (exchange.status, await exchange.read()) == (200, b"ok")


async def test_interim_answers_without_end_are_an_error() -> None:
    def script(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"HTTP/1.1 102 Wait\r\n\r\n" * 1000)

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            with pytest.raises(UpstreamError, match="larger than"):
                exchange = through.start(request())
                while exchange.status < 200:
                    await exchange.head()


@pytest.mark.parametrize("status", [b"000", b"001", b"099", b"99", b"1000", b"2xx", b"-20", b""])
async def test_what_is_no_status_is_a_bad_gateway(status: bytes) -> None:
    with upstream(b"HTTP/1.1 %b Odd\r\ncontent-length: 2\r\n\r\nok" % status) as behind:
        async with transport(behind.url) as through:
            with pytest.raises(UpstreamError, match="not valid HTTP"):
                await ask(through)


@pytest.mark.parametrize("status", [418, 599, 600, 799, 999])
def test_a_status_that_nobody_knows_is_passed_on(status: int) -> None:
    with (
        upstream(b"HTTP/1.1 %d Odd\r\ncontent-length: 2\r\n\r\nok" % status) as behind,
        serving(ReverseProxy(behind.url, transport=Http1Transport), http=Http1Protocol) as url,
    ):
        head, _, body = talk(url, GET).partition(b"\r\n\r\n")
    assert (head.split(b" ")[1], body) == (b"%d" % status, b"ok")


@pytest.mark.parametrize("pieces", [1, 2, 1000], ids=lambda pieces: f"in reads of {pieces}")
@pytest.mark.parametrize("fields", NO_UPGRADE)
async def test_a_101_that_was_asked_for_is_one_whatever_its_fields(fields: bytes, pieces: int) -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n%b\r\n" % fields

    def script(connection: socket.socket) -> None:
        sent = answer + b"\r\n\r\nHTTP/1.1 first bytes"
        for start in range(0, len(sent), pieces):
            connection.sendall(sent[start : start + pieces])

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request(upgrades=True))
            while exchange.status != 101:
                await exchange.head()
            tunnel, first = exchange.detach()
            tunnel.abort()
    assert (b"\r\n\r\nHTTP/1.1 first bytes").startswith(first)


@pytest.mark.parametrize("fields", [*NO_UPGRADE, b"connection: upgrade\r\nupgrade: echo\r\n"])
async def test_a_101_that_was_not_asked_for_is_an_error(fields: bytes) -> None:
    with upstream(b"HTTP/1.1 101 Switching Protocols\r\n%b\r\nfirst bytes" % fields) as behind:
        async with transport(behind.url) as through:
            with pytest.raises(UpstreamError, match="did not ask for"):
                await ask(through)


async def test_a_head_that_breaks_off_after_a_wish_for_an_upgrade_is_an_error() -> None:
    with upstream(b"HTTP/1.1 101 Switching\r\nbad field\r\n\r\n") as behind:
        async with transport(behind.url) as through:
            with pytest.raises(UpstreamError, match="not valid HTTP"):
                await ask(through, request(upgrades=True))


@pytest.mark.parametrize("fields", NO_UPGRADE)
def test_bytes_go_both_ways_after_such_a_101(fields: bytes) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n%b\r\nhello, " % fields)
        connection.sendall(connection.recv(100))

    wish = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
    with (
        upstream(script) as behind,
        serving(ReverseProxy(behind.url, transport=Http1Transport), http=Http1Protocol) as url,
    ):
        answer = talk(url, wish + b"you")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"\r\n\r\nhello, you")
