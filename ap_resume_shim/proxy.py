"""`ReverseProxy`: an ASGI app that passes requests on to a URL, byte for byte.

It calls an httpx *transport*, not a client: a client has a cookie jar that would mix users, follows redirects, adds
headers of its own and listens to the environment. Any `httpx.AsyncBaseTransport` can be put in its place.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from ap_resume_shim.core.errors import (
    ConfigurationError,
    UpstreamError,
    UpstreamFailure,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ap_resume_shim.upstream import SYNTHESISED

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

HeaderList = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110, section 7.6.1: fields that belong to one connection. Those that `Connection` names are added."""

TIMEOUT = httpx.Timeout(connect=5.0, pool=5.0, write=30.0, read=None)
"""Agents are silent for minutes, so reading has no limit here."""


class ReverseProxy:
    """Passes every request on to the server at `url`.

    `url` may have a path, which is put before every request's own. `transport` is closed with the lifespan, or by
    `aclose()`. Raises `ConfigurationError` for a URL that is none.
    """

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        parsed = urlsplit(url)
        if parsed.scheme not in ("http", "https") or not parsed.hostname or parsed.query or parsed.fragment:
            raise ConfigurationError(f"{url!r} is not the address of a server: write it as http://host:port.")
        try:
            port = parsed.port
        except ValueError as error:
            raise ConfigurationError(f"{url!r} is not the address of a server: {error}.") from None
        self.url = url.rstrip("/")
        self._scheme, self._host, self._port = parsed.scheme.encode(), parsed.hostname.encode("idna"), port
        self._base = parsed.path.rstrip("/").encode()
        self._transport = transport
        self._loop: asyncio.AbstractEventLoop | None = None

    async def aclose(self) -> None:
        """Close the connections to the server."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer 502 or 504 when that fails before an answer has begun."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            raise UpstreamError("WebSockets are not passed on.")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(scope, receive)
        gone = asyncio.create_task(body.gone())
        exchange = asyncio.create_task(self._exchange(scope, body, send))
        try:
            await asyncio.wait({gone, exchange}, return_when=asyncio.FIRST_COMPLETED)
            if exchange.done():
                exchange.result()
        except UpstreamFailure as failure:
            if SYNTHESISED in scope or body.answered:
                raise
            await _answer(failure, send)
        finally:
            # A client that left is noticed here at once, also on an idle stream: the connection upstream is closed.
            await _cancelled(gone, exchange)

    async def _exchange(self, scope: Scope, body: _Body, send: Send) -> None:
        request = self._request(scope, body)
        try:
            response = await self._open().handle_async_request(request)
        except Exception as error:
            raise _failure(error, self.url) from error
        async with aclosing(response):
            body.answered = True
            headers = _without_hop_by_hop([(name.lower(), value) for name, value in response.headers.raw])
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            assert isinstance(response.stream, httpx.AsyncByteStream)
            try:
                async for chunk in response.stream:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except httpx.HTTPError as error:
                # No clean end: raised through the server, the client sees that the answer is broken.
                raise _failure(error, self.url) from error
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _request(self, scope: Scope, body: _Body) -> httpx.Request:
        target = self._base + _raw_path(scope)
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        url = httpx.URL(scheme=self._scheme.decode(), host=self._host.decode(), port=self._port, raw_path=target)
        headers = _without_hop_by_hop(scope["headers"])
        return httpx.Request(
            scope["method"],
            url,
            headers=_with_framing(headers) if body.expected else headers,
            stream=body if body.expected else None,
            extensions={"timeout": TIMEOUT.as_dict()},
        )

    def _open(self) -> httpx.AsyncBaseTransport:
        """The transport, made in the loop that uses it: a mounted app has no lifespan to do it in."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._loop not in (None, loop):
            self._transport = httpx.AsyncHTTPTransport(
                trust_env=False,
                # Servers close idle connections after 5 seconds; a resume must not meet one that is closing.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=2.0),
            )
        self._loop = loop
        return self._transport


class _Body(httpx.AsyncByteStream):
    """The client's body as a stream, and after it the client's disconnect: one reader of `receive` at a time."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        names = {name for name, _ in scope["headers"]}
        self.expected = b"transfer-encoding" in names or b"content-length" in names
        self.answered = False
        self._receive = receive
        self._read = asyncio.Event()
        if not self.expected:
            self._read.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise httpx.WriteError("the client left before its request was complete")
                if message.get("body"):
                    yield message["body"]
                if not message.get("more_body", False):
                    return
        finally:
            self._read.set()

    async def gone(self) -> None:
        """Return when the client has left."""
        await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _raw_path(scope: Scope) -> bytes:
    """The path as the client wrote it, without the mount point."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    root = scope.get("root_path", "").encode()
    return raw[len(root) :] if root and raw.startswith(root) else raw


def _without_hop_by_hop(headers: HeaderList) -> HeaderList:
    named = {option.strip().lower() for name, value in headers if name == b"connection" for option in value.split(b",")}
    return [(name, value) for name, value in headers if name not in HOP_BY_HOP and name not in named]


def _with_framing(headers: HeaderList) -> HeaderList:
    """A body of unknown length goes on in chunks."""
    if any(name == b"content-length" for name, _ in headers):
        return headers
    return [*headers, (b"transfer-encoding", b"chunked")]


def _failure(error: Exception, url: str) -> UpstreamFailure:
    """httpx's errors in the shim's words."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return UpstreamUnreachable(f"No connection to the backend at {url}: {_reason(error)}. Is it running?")
    if isinstance(error, httpx.TimeoutException):
        return UpstreamTimeout(f"The backend at {url} did not answer in time.")
    return UpstreamError(f"The backend at {url} broke off: {_reason(error)}.")


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


async def _answer(failure: UpstreamFailure, send: Send) -> None:
    body = json.dumps({"error": failure.code, "message": failure.message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": failure.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and let them clean up."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
