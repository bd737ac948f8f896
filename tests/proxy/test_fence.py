"""The fence of a request over httpx: no request is written past it, whatever the names of httpcore's events."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpcore import _trace  # what this test replaces

from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.proxy.transport import Address, UpstreamRequest
from tests.http1.driving import KEPT, Parts
from tests.support.agent import Agent
from tests.support.certificates import Authority
from tests.support.serving import serving
from tests.support.sockets import upstream

pytestmark = pytest.mark.anyio
KINDS = pytest.mark.parametrize("with_body", [True, False], ids=["with a body", "without"])


class Fallen(ResumeError):
    """What a fence raises."""


def fallen() -> None:
    raise Fallen("The hold is over.")


@pytest.fixture(params=["as they are", "renamed", "none"])
def events(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """httpcore's trace events: as they are, under other names, or none."""
    original = _trace.Trace.atrace

    async def renamed(self: Any, name: str, info: dict[str, Any]) -> None:
        if request.param == "renamed":
            await original(self, name.replace("headers", "head").replace("started", "begun"), info)

    if request.param != "as they are":
        monkeypatch.setattr(_trace.Trace, "atrace", renamed)


@asynccontextmanager
async def through(address: Address, network: Any = None) -> AsyncIterator[HttpxTransport]:
    transport = HttpxTransport(address, network)
    try:
        yield transport
    finally:
        await transport.aclose()


def outgoing(fence: Callable[[], None], *, with_body: bool) -> UpstreamRequest:
    headers = [(b"host", b"there"), *([(b"content-length", b"3")] if with_body else [])]
    return UpstreamRequest("POST", b"/", headers, Parts(b"yes") if with_body else None, fence=fence)


async def ask(transport: HttpxTransport, request: UpstreamRequest) -> int:
    exchange = transport.start(request)
    try:
        await exchange.head()
        return exchange.status
    finally:
        exchange.close()


@KINDS
@pytest.mark.usefixtures("events")
async def test_of_a_request_whose_fence_raises_no_byte_is_sent(with_body: bool) -> None:
    with upstream(KEPT) as behind:
        async with through(Address.parse(behind.url)) as transport:
            with pytest.raises(Fallen):
                await ask(transport, outgoing(fallen, with_body=with_body))
    assert not any(behind.heads), "a connection, and nothing on it"


@KINDS
@pytest.mark.usefixtures("events")
async def test_on_a_network_of_ones_own_no_request_is_sent_whole(with_body: bool) -> None:
    bodies: list[bytes] = []
    with upstream(lambda connection: bodies.append(connection.recv(3))) as behind:
        async with through(Address.parse(behind.url), httpx.AsyncHTTPTransport()) as transport:
            with pytest.raises(Fallen):
                await ask(transport, outgoing(fallen, with_body=with_body))
    assert not any(bodies)
    assert with_body or not any(behind.heads)


@KINDS
@pytest.mark.parametrize("network", [lambda: None, httpx.AsyncHTTPTransport], ids=["httpx's", "of one's own"])
@pytest.mark.usefixtures("events")
async def test_the_fence_of_a_request_that_is_sent_was_called_once(network: Any, with_body: bool) -> None:
    called: list[bool] = []
    with upstream(KEPT) as behind:
        async with through(Address.parse(behind.url), network()) as transport:
            assert await ask(transport, outgoing(lambda: called.append(True), with_body=with_body)) == 200
    assert called == [True]


async def test_over_tls_the_fence_is_called_after_the_handshake(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, called = authority.pair("server"), list[bool]()
    trusting = ssl.create_default_context(cafile=authority.certificate)
    with serving(agent := Agent(), ssl_certfile=pair.certificate, ssl_keyfile=pair.key) as url:
        async with through(Address.parse(url.replace("http:", "https:"), tls=trusting)) as transport:
            assert await ask(transport, outgoing(lambda: called.append(True), with_body=True)) == 404
            with pytest.raises(Fallen):
                await ask(transport, outgoing(fallen, with_body=True))
    assert (called, len(agent.seen)) == ([True], 1)
