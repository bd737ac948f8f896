"""What a connection held is free when it ends, without a run of the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from ap_resume_shim import ReverseProxy
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.http1.server import Http1Server
from ap_resume_shim.http1.server_connection import Http1Protocol

pytestmark = pytest.mark.anyio
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n7\r\ndata: 1\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\ndata: 1"


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def ours() -> Counter[str]:
    """The objects of `http1` and `proxy` that belong to a connection or a request, by their class."""
    modules = ("ap_resume_shim.http1.", "ap_resume_shim.proxy.downstream", "ap_resume_shim.proxy.transport")
    kept = {"Http1Server", "Clock", "Http1Transport", "Address", "DisconnectListeners"}
    names = [type(each).__name__ for each in gc.get_objects() if str(type(each).__module__).startswith(modules)]
    return Counter(name for name in names if name not in kept)


@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.usefixtures("no_collector")
async def test_nothing_of_a_stream_is_left_when_its_connections_are_closed(leaves: bool) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD if leaves else LENGTH)
            await reader.read()

    loop, earlier = asyncio.get_running_loop(), ours()  # what other tests have left
    async with await asyncio.start_server(respond, "127.0.0.1", 0) as origin:
        host, port = origin.sockets[0].getsockname()
        proxy = ReverseProxy(f"http://{host}:{port}", transport=Http1Transport)
        server = Http1Server(proxy)
        async with await loop.create_server(lambda: Http1Protocol(server, loop), "127.0.0.1", 0) as here:
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*here.sockets[0].getsockname())
                writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
                await (reader.readuntil(b"data: 1") if leaves else reader.read())
                writer.transport.abort()
            for _ in range(100):
                if ours() - earlier:
                    await asyncio.sleep(0.05)
            assert ours() - earlier == {}
            await proxy.aclose()
