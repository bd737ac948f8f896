"""`ReverseProxy`: an ASGI app that passes requests on to a URL, byte for byte."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from ap_resume_shim._shutdown import close_with_the_loop
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.asgi import (
    EARLY_HINT,
    FENCE,
    SYNTHESISED,
    TARGET,
    TRAILERS,
    TUNNEL,
    HeaderList,
    escape,
    extensions,
    mounted_at,
)
from ap_resume_shim.core.errors import InvalidRequest, UpstreamError, UpstreamFailure
from ap_resume_shim.proxy.downstream import Client, Young
from ap_resume_shim.proxy.forwarded import Forwarding, LoopDetected
from ap_resume_shim.proxy.hop_headers import ConnectionInfo, end_to_end, response_headers
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.proxy.loop_detection import LoopDetector
from ap_resume_shim.proxy.transport import Address, ClientLeft, Outgoing, Transport, UpstreamExchange, too_slow

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

T = TypeVar("T")


class ReverseProxy:
    """Passes every request on to the server at `url`: `http://host:port/base`, `https://…` or `unix:/path`.

    Connections are closed by `aclose()`, with the lifespan or, where a mounted app has none, with the event loop.
    """

    def __init__(
        self,
        url: str,
        *,
        connect: float = 5.0,
        answer: float | None = None,
        idle: float | None = None,
        tls: ssl.SSLContext | None = None,
        transport: Callable[[Address], Transport] = HttpxTransport,
        forwarding: Forwarding | None = None,
    ) -> None:
        """Raises `ConfigurationError` for a URL that is none.

        - `connect`: seconds until a connection has to be there, or the answer is 502.
        - `answer`: seconds until an answer has to begin, or it is 504. Default: no limit, agents take minutes.
        - `idle`: seconds of silence in the middle of an answer, or of an upgraded connection, after which it is broken
          off. Default: no limit.
        - `tls`: for https; a context holds the trusted certificates and a client certificate.
        - `transport`: makes what carries the requests, for an address.
        - `forwarding`: `Host`, `Via`, `Forwarded` and `X-Forwarded-*`; default: nothing is added.
        """
        self.address = Address.parse(url, tls=tls, connect=connect)
        self.url, self.origin = self.address.url, self.address.origin
        self._answer, self._idle = answer, idle
        self._forwarding = forwarding or Forwarding()
        self._loop_detector = LoopDetector()
        self._make = transport
        self._transport: Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: AsyncIterator[None] | None = None
        self._young: Young
        self._authority = self.address.authority

    async def aclose(self) -> None:
        """Close the connections to the server."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer 502 or 504 when that fails before an answer has begun."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            raise NotImplementedError(f"ASGI's {scope['type']!r} is not passed on.")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Under a server that gives no bare connections away, WebSockets are passed on message by message."""
        try:
            from ap_resume_shim.proxy.websocket import refuse, relay
        except ImportError:
            logger.error("WebSockets need websockets: install ap_resume_shim[serve]. One was refused.")
            await receive()
            await send({"type": "websocket.close", "code": 1011, "reason": "WebSockets are not passed on."})
            return

        def to_client(headers: HeaderList) -> HeaderList:
            return self._forwarding.response(response_headers(headers), scope)

        connection = ConnectionInfo(scope["headers"])
        try:
            headers = self._fields(scope, connection)
        except (InvalidRequest, LoopDetected) as refusal:
            await receive()
            await refuse(scope, send, _status(refusal), str(refusal))
            return
        self._loop_detector.begin()
        try:
            await relay(scope, receive, send, self.address, self.address.base + _target(scope), headers, to_client)
        finally:
            self._loop_detector.end()

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = self._transport
        if transport is None or self._loop is not asyncio.get_running_loop():
            transport = await self._open()
        client = Client(scope, receive, send, transport)
        try:
            if client.unannounced:
                await client.begin()
            exchange = transport.start(self._request(scope, client))
        except ClientLeft:
            return
        except (InvalidRequest, LoopDetected) as refusal:
            await _refuse(_status(refusal), str(refusal), send)
            return
        self._young.add(client, exchange)
        self._loop_detector.begin()
        try:
            head = self._head(exchange, scope, client)
            await self._in_time(head, self._answer, "did not begin to answer")
            await self._relay(exchange, scope, client)
        except ClientLeft:
            pass
        except UpstreamFailure as failure:
            # Once an answer has begun there is no clean end: raised through the server, the client sees a broken one.
            if client.answered and SYNTHESISED not in scope:
                raise
            logger.warning("%s %s failed: %s", scope["method"], escape(scope["path"]), failure)
            if SYNTHESISED in scope:
                raise
            await _refuse(failure.http_status, failure.message, send)
        finally:
            exchange.close()
            self._loop_detector.end()
            self._young.discard(client)
            client.release()

    async def _in_time(self, awaited: Awaitable[T], seconds: float | None, failure: str) -> T:
        """Await, for so many seconds at most. Raises `UpstreamTimeout`."""
        if seconds is None:
            return await awaited
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await awaited
        except TimeoutError:
            if not limit.expired():
                raise
            raise too_slow(self.address, f"{failure} within {seconds:g} seconds") from None

    async def _head(self, exchange: UpstreamExchange, scope: Scope, client: Client) -> None:
        """Wait for the final head; hints that come before it go on at once."""
        await exchange.head()
        while exchange.status < 200 and exchange.status != 101:
            links = [value for name, value in exchange.headers if name == b"link"]
            if links and exchange.status == 103 and EARLY_HINT in extensions(scope):
                await client.send({"type": EARLY_HINT, "links": links})
            await exchange.head()

    async def _relay(self, exchange: UpstreamExchange, scope: Scope, client: Client) -> None:
        """Pass the answer on as it comes."""
        if exchange.status == 101:
            if not client.upgrades:
                raise UpstreamError("The backend changed to another protocol, and was not asked to.")
            await self._tunnel(exchange, scope)
            return
        headers = self._forwarding.response(response_headers(exchange.headers), scope)
        start: Message = {"type": "http.response.start", "status": exchange.status, "headers": headers}
        trailed = client.wants_trailers
        if trailed:
            start["trailers"] = True
        await client.begin_answer(start)
        idle = None if SYNTHESISED in scope else self._idle
        more = True
        while more:
            chunk = await self._in_time(exchange.read(), idle, "sent nothing more of its answer")
            more = bool(chunk) and not exchange.eof
            await client.send({"type": "http.response.body", "body": chunk, "more_body": more})
        if trailed:
            await client.send(
                {"type": TRAILERS, "headers": response_headers(exchange.trailers), "more_trailers": False}
            )

    async def _tunnel(self, exchange: UpstreamExchange, scope: Scope) -> None:
        """From now on the connection is not HTTP's: bytes go through as they are."""
        headers = self._forwarding.response(response_headers(exchange.headers), scope)
        upgrade = [(name, value) for name, value in exchange.headers if name == b"upgrade"]
        headers += [(b"connection", b"Upgrade"), *upgrade]
        await scope["extensions"][TUNNEL]["open"](headers, *exchange.detach(), idle=self._idle)

    def _request(self, scope: Scope, client: Client) -> Outgoing:
        """The request as it goes on. Raises `InvalidRequest` and `LoopDetected`."""
        connection, mine = client.connection, []
        headers = self._fields(scope, connection)
        if client.upgrades:
            mine += [(b"connection", b"Upgrade"), (b"upgrade", connection.upgrade or b"")]
        elif client.wants_trailers:
            mine += [(b"connection", b"TE"), (b"te", b"trailers")]
        chunked = client.has_body and not connection.has_length
        if chunked:
            mine.append((b"transfer-encoding", b"chunked"))
        return Outgoing(
            scope["method"],
            self.address.base + _target(scope),
            [*headers, *mine] if mine else headers,
            body=client if client.has_body else None,
            chunked=chunked,
            expects_continue=connection.expects_continue,
            upgrades=client.upgrades,
            fence=scope.get(FENCE),
        )

    def _fields(self, scope: Scope, connection: ConnectionInfo) -> HeaderList:
        """The client's fields, but for those of its connection."""
        if ambiguity := connection.ambiguity():
            raise InvalidRequest(ambiguity)
        headers = end_to_end(scope["headers"], connection.connection_options)
        if not connection.has_host:
            headers = [(b"host", self._authority), *headers]  # HTTP/1.0 needs none, and the server behind does
        headers = self._forwarding.request(headers, scope, self._authority)
        return self._loop_detector.mark(headers, connection.loop_marker, own=SYNTHESISED in scope)

    async def _open(self) -> Transport:
        """Make the transport in the loop that uses it: a mounted app has no lifespan to do it in."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._transport, self._young = loop, None, Young(loop)
            self._closing = close_with_the_loop(self.aclose)
            await anext(self._closing)
        if self._transport is None:
            self._transport = self._make(self.address)
        return self._transport


def _target(scope: Scope) -> bytes:
    """The path and the query as the client wrote them, without the mount point."""
    path = _raw_path(scope) if scope.get("root_path") else scope.get("raw_path") or escape(scope["path"]).encode()
    told = extensions(scope).get(TARGET)
    query: bytes = scope["query_string"]
    if told is not None and told["raw"] == path + b"?":
        return path + b"?"  # an empty query, which ASGI cannot tell from none
    return path + b"?" + query if query else path


def _raw_path(scope: Scope) -> bytes:
    raw: bytes = scope.get("raw_path") or escape(scope["path"]).encode()
    root = mounted_at(scope["root_path"], unquote(raw))
    longest = 12 * len(root)  # escaped, which `root_path` is not: three bytes for each of up to four in a character
    for end in (*(slash.start() for slash in re.finditer(b"/", raw[: longest + 1])), len(raw)):
        if len(root) <= end <= longest and unquote(raw[:end]) == root:
            return raw[end:] or b"/"
    return raw


def _status(refusal: InvalidRequest | LoopDetected) -> int:
    return 508 if isinstance(refusal, LoopDetected) else 400


async def _refuse(status: int, message: str, send: Send) -> None:
    """Short and plain: this is not a route of ours. (To the shim, failures are raised.)"""
    body = strictjson.dumps({"message": message})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 400:
        headers.append((b"connection", b"close"))  # what cannot be read says nothing of where it ends
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
