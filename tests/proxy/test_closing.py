"""A proxy that is closed while requests are in progress leaves no connection open, and no request without an end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ap_resume_shim.core.errors import UpstreamFailure
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.proxy.transport import Address, ClientDisconnected
from tests.http1.driving import request

pytestmark = pytest.mark.anyio


class Server:
    """Never responds. `served` are the tasks of its connections: each ends with its connection."""

    def __init__(self) -> None:
        self.served: list[asyncio.Task[Any]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.served.append(task)
        while await reader.read(1000):
            pass
        writer.close()


@pytest.mark.parametrize("transport", [HttpxTransport, Http1Transport])
@pytest.mark.parametrize("left", [True, False], ids=["the client has left", "the client waits"])
@pytest.mark.parametrize("steps", range(1, 20))
async def test_closing_ends_a_request_wherever_it_is(steps: int, left: bool, transport: Any) -> None:
    """`steps` of the event loop after it began: while the connection is opened, while it is sent, or later."""
    async with await asyncio.start_server(server := Server(), "127.0.0.1", 0) as listening:
        made = transport(Address.parse(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"))
        exchange = made.start(request())
        head = asyncio.create_task(exchange.head())
        for _ in range(steps):
            await asyncio.sleep(0)
        if left:
            exchange.close()
        async with asyncio.timeout(10):
            await made.aclose()
            await asyncio.wait({head})
            await asyncio.gather(*server.served)
    assert isinstance(head.exception(), (ClientDisconnected, UpstreamFailure) if left else UpstreamFailure)
