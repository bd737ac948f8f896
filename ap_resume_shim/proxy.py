"""`ReverseProxy`: an ASGI app that passes requests on to a URL, byte for byte.

It calls an httpx *transport*, not a client: a client has a cookie jar that would mix users, follows redirects, adds
headers of its own and listens to the environment. Any `httpx.AsyncBaseTransport` can be put in its place.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import anyio
import httpx

from ap_resume_shim.closing import close_with_the_loop
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import (
    ConfigurationError,
    HoldLapsed,
    InvalidRequest,
    ResumeError,
    UpstreamError,
    UpstreamFailure,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ap_resume_shim.upstream import FENCE, SYNTHESISED, escape

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

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

WRITE = 30.0
"""Seconds for each write. Reading has no limit here: agents are silent for minutes."""


class ReverseProxy:
    """Passes every request on to the server at `url`.

    `url` may have a path, which is put before every request's own. Connections are closed by `aclose()`, with the
    lifespan or, where a mounted app has none, with the event loop. Raises `ConfigurationError` for a URL that is none.
    """

    def __init__(self, url: str, *, connect: float = 5.0, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`connect`: seconds until a connection has to be there, or the answer is 502."""
        try:
            parsed = urlsplit(url)
            self._origin = httpx.URL(scheme=parsed.scheme, host=parsed.hostname or "", port=parsed.port)
            self._base = parsed.path.rstrip("/").encode("ascii")
        except (ValueError, httpx.InvalidURL) as error:
            raise ConfigurationError(f"{url!r} is not the address of a server: {error}.") from None
        if parsed.scheme not in ("http", "https") or not parsed.hostname or parsed.query or parsed.fragment:
            raise ConfigurationError(f"{url!r} is not the address of a server: write it as http://host:port.")
        if parsed.username is not None:
            raise ConfigurationError("The address of a server holds no user name: clients send their own credentials.")
        self.url = url.rstrip("/")
        self._timeout = httpx.Timeout(connect=connect, pool=connect, write=WRITE, read=None).as_dict()
        self._transport = transport
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: AsyncIterator[None] | None = None

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
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1011, "reason": "WebSockets are not passed on."})
        else:
            raise NotImplementedError(f"ASGI's {scope['type']!r} is not passed on.")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(scope, receive)
        connecting, leaving = _Connecting(scope.get(FENCE)), anyio.CancelScope()
        gone = asyncio.create_task(body.gone())
        exchange = asyncio.create_task(self._exchange(scope, body, send, connecting, leaving))
        try:
            await asyncio.wait({gone, exchange}, return_when=asyncio.FIRST_COMPLETED)
            if exchange.done():
                exchange.result()
        except InvalidRequest as refusal:
            await _answer(refusal, 400, send)
        except UpstreamFailure as failure:
            if SYNTHESISED in scope or body.answered:
                raise
            await _answer(failure, failure.http_status, send)
        finally:
            # A client that left is noticed here at once, also on an idle stream: the connection upstream is closed.
            try:
                await connecting.over()
            finally:
                gone.cancel()
                leaving.cancel()
                await _seen(gone, exchange)

    async def _exchange(
        self, scope: Scope, body: _Body, send: Send, connecting: _Connecting, leaving: anyio.CancelScope
    ) -> None:
        # httpcore shields the closing of its connections from scopes; a cancelled task would cut it off and lose them.
        with leaving:
            await self._pass_on(scope, body, send, connecting)

    async def _pass_on(self, scope: Scope, body: _Body, send: Send, connecting: _Connecting) -> None:
        await body.begin()
        request = self._request(scope, body, connecting)
        try:
            response = await (await self._open()).handle_async_request(request)
        except HoldLapsed:
            raise
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

    def _request(self, scope: Scope, body: _Body, connecting: _Connecting) -> httpx.Request:
        target = self._base + _raw_path(scope)
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        try:
            url = self._origin.copy_with(raw_path=target if target.startswith(b"/") else b"/")
        except httpx.InvalidURL as error:
            raise InvalidRequest(f"The address of the request cannot be passed on: {error}.") from None
        headers = _without_hop_by_hop(scope["headers"])
        return httpx.Request(
            scope["method"],
            url,
            headers=_with_framing(headers) if body.expected else headers,
            stream=body if body.expected else None,
            extensions={
                "target": target,  # as it came: a URL drops dot segments, and escapes what it would not write
                "timeout": self._timeout,
                "trace": connecting.trace,
            },
        )

    async def _open(self) -> httpx.AsyncBaseTransport:
        """The transport, made in the loop that uses it: a mounted app has no lifespan to do it in."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._loop not in (None, loop):
            self._transport = httpx.AsyncHTTPTransport(
                trust_env=False,
                verify=self._origin.scheme == "https",  # reading the certificates takes a while
                # Servers close idle connections after 5 seconds; a resume must not meet one that is closing.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=2.0),
            )
        if self._loop is not loop:
            self._loop, self._closing = loop, close_with_the_loop(self.aclose)
            await anext(self._closing)
        return self._transport


class _Connecting:
    """Whether a connection is being opened: httpcore would lose one that is cut off then, and never close it.

    `fence` is called when it is open, before the first byte is sent.
    """

    def __init__(self, fence: Callable[[], None] | None) -> None:
        self._fence = fence
        self._over = asyncio.Event()
        self._over.set()

    async def trace(self, event: str, _: Any) -> None:
        """What httpcore tells on its way."""
        stage, _, what = event.rpartition(".")
        if stage in ("connection.connect_tcp", "connection.start_tls"):
            self._over.clear() if what == "started" else self._over.set()
        elif stage.endswith(".send_request_headers") and what == "started" and self._fence is not None:
            self._fence()

    async def over(self) -> None:
        """Return when it is open, or failed; connecting has a time limit."""
        while not self._over.is_set():
            await self._over.wait()


class _Body(httpx.AsyncByteStream):
    """The client's body as a stream, and after it the client's disconnect: one reader of `receive` at a time."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        names = {name for name, _ in scope["headers"]}
        self.expected = b"transfer-encoding" in names or b"content-length" in names
        self._ambiguous = b"transfer-encoding" in names and b"content-length" in names
        self.answered = False
        self._receive = receive
        self._announced = scope.get("http_version", "1.1") in ("1.0", "1.1")
        self._first: Message | None = None
        self._read = asyncio.Event()

    async def begin(self) -> None:
        """Find out whether there is a body: HTTP/1 announces one, later versions just send it."""
        if self._ambiguous:
            raise InvalidRequest("The body is announced by its length and in chunks at once: announce it in one way.")
        if not self.expected and not self._announced:
            self._first = await self._receive()
            self.expected = bool(self._first.get("body") or self._first.get("more_body"))
            if self._first["type"] == "http.disconnect":
                raise UpstreamError("The client left before its request was complete.")
        if not self.expected:
            self._read.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                message, self._first = self._first or await self._receive(), None
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
    root: str = scope.get("root_path", "")
    raw: bytes = scope.get("raw_path") or escape(scope["path"]).encode()
    longest = 12 * len(root)  # escaped, which `root_path` is not: three bytes for each of up to four in a character
    for end in (*(slash.start() for slash in re.finditer(b"/", raw[: longest + 1])), len(raw)):
        if len(root) <= end <= longest and unquote(raw[:end]) == root:
            return raw[end:] or b"/"
    return raw


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


async def _answer(error: ResumeError, status: int, send: Send) -> None:
    body = strictjson.dumps(error.body())
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _seen(*tasks: asyncio.Task[None]) -> None:
    """Let tasks that were told to stop clean up; what they raise then is of no interest any more."""
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
