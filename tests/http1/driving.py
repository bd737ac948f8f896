"""Driving a `Http1Transport` by hand."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio

from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.proxy.transport import Address, Transport, UpstreamExchange, UpstreamRequest
from tests.support.sockets import read_head

KEPT = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def request(method: str = "GET", **fields: Any) -> UpstreamRequest:
    return UpstreamRequest(method, b"/", [(b"host", b"there"), *fields.pop("headers", [])], **fields)


@asynccontextmanager
async def transport(url: str, **options: Any) -> AsyncIterator[Http1Transport]:
    made = Http1Transport(Address.parse(url, **options))
    try:
        yield made
    finally:
        await made.aclose()
        await anyio.sleep(0.01)  # the loop closes the sockets: servers that wait for that would hold it up


async def whole(exchange: UpstreamExchange) -> bytes:
    body = b""
    while chunk := await exchange.read():
        body += chunk
    return body


async def ask(through: Transport, outgoing: UpstreamRequest | None = None) -> tuple[int, bytes]:
    exchange = through.start(outgoing or request())
    try:
        await exchange.head()
        return exchange.status, await whole(exchange)
    finally:
        exchange.close()


class Parts:
    """A body in parts."""

    def __init__(self, *parts: bytes) -> None:
        self.parts, self.taken = list(parts), 0
        self.trailers = [(b"x-sum", b"1")]

    async def read(self) -> tuple[bytes, bool]:
        self.taken += 1
        return self.parts.pop(0), bool(self.parts)

    def stop_reading(self) -> None:
        """Nothing waits for it."""


def again(connection: socket.socket) -> None:
    """Answer until the client has enough."""
    connection.sendall(KEPT)
    with suppress(OSError, EOFError):
        while read_head(connection):
            connection.sendall(KEPT)
