"""How long connections stay idle: the limit that a server announces is heeded by both transports."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.proxy import idle_connections
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.proxy.transport import Address, Transport
from tests.http1.driving import KEPT, ask, request
from tests.support.sockets import read_head, upstream

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("kind", [Http1Transport, HttpxTransport])]
Kind = Callable[[Address], Transport]


@asynccontextmanager
async def transport(kind: Kind, url: str) -> AsyncIterator[Transport]:
    made = kind(Address.parse(url))
    try:
        yield made
    finally:
        await made.aclose()
        await anyio.sleep(0.01)  # the loop closes the sockets: servers that wait for that would hold it up


def answering(field: bytes, limit: float | None = None) -> Callable[[socket.socket], None]:
    """A server that announces `field`, and closes a connection after `limit` idle seconds."""
    answer = KEPT.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n")

    def script(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.settimeout(limit or 10.0)
        while read_head(connection):
            connection.sendall(answer)

    return script


@pytest.mark.parametrize(
    ("field", "connections"),
    [
        (b"keep-alive: timeout=1", 3),
        (b"keep-alive: timeout=0, max=5", 3),
        (b"Keep-Alive: max=100, Timeout = 1", 3),
        (b"keep-alive: timeout=5, max=100", 1),
        (b"keep-alive: max=1", 1),
        (b"keep-alive: 1", 1),
        (b"x-keep-alive: timeout=1", 1),
    ],
)
async def test_a_connection_is_not_used_near_the_limit_that_its_server_announces(
    kind: Kind, field: bytes, connections: int
) -> None:
    with upstream(answering(field)) as behind:
        async with transport(kind, behind.url) as through:
            for _ in range(3):
                assert await ask(through) == (200, b"ok")
    assert len(behind.heads) == connections, "later heads came on the same connection"


async def test_no_post_is_lost_to_a_connection_that_its_server_closes_as_announced(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle_connections, "MARGIN", 0.7)
    with upstream(answering(b"keep-alive: timeout=1", limit=1.0)) as behind:
        async with transport(kind, behind.url) as through:
            for n in range(12):
                assert await ask(through, request("POST")) == (200, b"ok")
                await anyio.sleep(0.25 if n % 3 == 0 else 0.98 + n * 0.003)
    assert len(behind.heads) > 1
