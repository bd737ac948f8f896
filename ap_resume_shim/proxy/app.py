"""`ReverseProxy`: an ASGI app that forwards requests to a server, byte for byte."""

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
from ap_resume_shim.proxy.downstream import DisconnectListeners, DownstreamClient
from ap_resume_shim.proxy.forwarded import Forwarding, LoopDetected
from ap_resume_shim.proxy.hop_headers import ConnectionInfo, end_to_end, response_headers
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.proxy.loop_detection import LoopDetector
from ap_resume_shim.proxy.transport import (
    Address,
    ClientDisconnected,
    Transport,
    UpstreamExchange,
    UpstreamRequest,
    too_slow,
)

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

T = TypeVar("T")


class ReverseProxy:
    """Forwards every request to the server at `url`: `http://host:port/base`, `https://…` or `unix:/path`.

    The connections are closed by `aclose()`, at the end of the lifespan, or, for a mounted app, which has no lifespan,
    at the end of the event loop.
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
        """Raises `ConfigurationError` for an invalid URL.

        - `connect`: maximum time to connect, in seconds; then the client receives 502.
        - `answer`: maximum time until the response begins, in seconds; then the client receives 504. None, the default,
          means no limit: agents take minutes.
        - `idle`: maximum silence within a response or on an upgraded connection, in seconds; then the connection is
          closed. None, the default, means no limit.
        - `tls`: the context for https, with the trusted certificates and, if needed, a client certificate.
        - `transport`: returns the transport for an address.
        - `forwarding`: the changes of `Host`, `Via`, `Forwarded` and `X-Forwarded-*`; none by default.
        """
        self.address = Address.parse(url, tls=tls, connect=connect)
        self.url, self.origin = self.address.url, self.address.origin
        self._response_timeout, self._idle_timeout = answer, idle
        self._forwarding = forwarding or Forwarding()
        self._loop_detector = LoopDetector()
        self._make_transport = transport
        self._transport: Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: AsyncIterator[None] | None = None
        self._disconnect_listeners: DisconnectListeners
        self._authority = self.address.authority

    async def aclose(self) -> None:
        """Close the connections to the server."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request. If that fails before the response has begun, respond with 502 or 504."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            raise NotImplementedError(f"The ASGI scope type {scope['type']!r} is not supported.")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay a WebSocket message by message: the ASGI server does not hand over the raw connection."""
        try:
            from ap_resume_shim.proxy.websocket import refuse, relay
        except ImportError:
            logger.error(
                "A WebSocket was refused: forwarding them needs the package websockets. Install ap_resume_shim[serve]."
            )
            await receive()
            await send({"type": "websocket.close", "code": 1011, "reason": "WebSockets are not supported here."})
            return

        def to_client(headers: HeaderList) -> HeaderList:
            return self._forwarding.response(response_headers(headers), scope)

        connection = ConnectionInfo(scope["headers"])
        try:
            headers = self._request_headers(scope, connection)
        except (InvalidRequest, LoopDetected) as refusal:
            await receive()
            await refuse(scope, send, _status(refusal), str(refusal))
            return
        self._loop_detector.in_flight += 1
        try:
            await relay(scope, receive, send, self.address, self.address.base + _target(scope), headers, to_client)
        finally:
            self._loop_detector.in_flight -= 1

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = self._transport
        if transport is None or self._loop is not asyncio.get_running_loop():
            transport = await self._transport_for_loop()
        client = DownstreamClient(scope, receive, send, transport)
        try:
            if client.body_unknown:
                await client.detect_body()
            exchange = transport.start(self._upstream_request(scope, client))
        except ClientDisconnected:
            return
        except (InvalidRequest, LoopDetected) as refusal:
            await _refuse(_status(refusal), str(refusal), send)
            return
        self._disconnect_listeners.add(client, exchange)
        self._loop_detector.in_flight += 1
        try:
            if (limit := self._response_timeout) is not None:
                await self._with_timeout(self._final_head(exchange, scope, client), limit, "did not begin to respond")
            else:
                await exchange.head()
                if exchange.status < 200:
                    await self._skip_interim(exchange, scope, client)
            await self._relay(exchange, scope, client)
        except (ClientDisconnected, OSError):  # from the exchange, and from ASGI's `send`
            pass
        except UpstreamFailure as failure:
            # A response that has begun cannot end cleanly. Raise, so that the server closes the client's connection.
            if client.response_started and SYNTHESISED not in scope:
                raise
            logger.warning("%s %s failed: %s", scope["method"], escape(scope["path"]), failure)
            if SYNTHESISED in scope:
                raise
            await _refuse(failure.http_status, failure.message, send)
        finally:
            exchange.close()
            self._loop_detector.in_flight -= 1
            self._disconnect_listeners.discard(client)
            client.stop_listening()

    async def _with_timeout(self, awaited: Awaitable[T], seconds: float, failure: str) -> T:
        """Await with a limit. Raises `UpstreamTimeout`."""
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await awaited
        except TimeoutError:
            if not limit.expired():
                raise
            raise too_slow(self.address, f"{failure} within {seconds:g} seconds") from None

    async def _final_head(self, exchange: UpstreamExchange, scope: Scope, client: DownstreamClient) -> None:
        """Wait for the final head."""
        await exchange.head()
        await self._skip_interim(exchange, scope, client)

    async def _skip_interim(self, exchange: UpstreamExchange, scope: Scope, client: DownstreamClient) -> None:
        """Wait for the head after any interim ones. Early hints (103) are forwarded at once."""
        while exchange.status < 200 and exchange.status != 101:
            links = [value for name, value in exchange.headers if name == b"link"]
            if links and exchange.status == 103 and EARLY_HINT in extensions(scope):
                await client.send({"type": EARLY_HINT, "links": links})
            await exchange.head()

    async def _relay(self, exchange: UpstreamExchange, scope: Scope, client: DownstreamClient) -> None:
        """Forward the response to the client as it arrives."""
        if (status := exchange.status) == 101:
            if not client.upgrades:
                raise UpstreamError("The backend switched to another protocol, which the request did not ask for.")
            await self._tunnel(exchange, scope)
            return
        headers = self._forwarding.response(response_headers(exchange.headers), scope)
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        trailed = client.wants_trailers
        if trailed:
            start["trailers"] = True
        await client.send(start)
        client.on_response_started()
        idle = None if SYNTHESISED in scope else self._idle_timeout
        more = True
        while more:
            part = exchange.read()
            chunk = await (
                part if idle is None else self._with_timeout(part, idle, "sent nothing more of its response")
            )
            more = bool(chunk) and not exchange.eof
            await client.send({"type": "http.response.body", "body": chunk, "more_body": more})
        if trailed:
            await client.send(
                {"type": TRAILERS, "headers": response_headers(exchange.trailers), "more_trailers": False}
            )

    async def _tunnel(self, exchange: UpstreamExchange, scope: Scope) -> None:
        """After a 101: join the two connections, and relay bytes until both are closed."""
        headers = self._forwarding.response(response_headers(exchange.headers), scope)
        upgrade = [(name, value) for name, value in exchange.headers if name == b"upgrade"]
        headers += [(b"connection", b"Upgrade"), *upgrade]
        await scope["extensions"][TUNNEL]["open"](headers, *exchange.detach(), idle=self._idle_timeout)

    def _upstream_request(self, scope: Scope, client: DownstreamClient) -> UpstreamRequest:
        """Return the request to the server. Raises `InvalidRequest` and `LoopDetected`."""
        connection, added = client.connection, []
        headers = self._request_headers(scope, connection)
        if client.upgrades:
            added += [(b"connection", b"Upgrade"), (b"upgrade", connection.upgrade or b"")]
        elif client.wants_trailers:
            added += [(b"connection", b"TE"), (b"te", b"trailers")]
        chunked = client.has_body and not connection.has_length
        if chunked:
            added.append((b"transfer-encoding", b"chunked"))
        return UpstreamRequest(
            scope["method"],
            self.address.base + _target(scope),
            [*headers, *added] if added else headers,
            body=client if client.has_body else None,
            chunked=chunked,
            expects_continue=connection.expects_continue,
            upgrades=client.upgrades,
            fence=scope.get(FENCE),
        )

    def _request_headers(self, scope: Scope, connection: ConnectionInfo) -> HeaderList:
        """Return the end-to-end fields of the request. Raises `InvalidRequest` and `LoopDetected`."""
        if ambiguity := connection.ambiguity():
            raise InvalidRequest(ambiguity)
        headers = end_to_end(scope["headers"], connection.connection_options)
        if not connection.has_host:
            headers = [(b"host", self._authority), *headers]  # optional in HTTP/1.0, required in 1.1
        headers = self._forwarding.request(headers, scope, self._authority)
        return self._loop_detector.mark(headers, connection.loop_marker, own=SYNTHESISED in scope)

    async def _transport_for_loop(self) -> Transport:
        """Return the transport of the running event loop, created on first use: a mounted app has no lifespan."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._transport, self._disconnect_listeners = loop, None, DisconnectListeners(loop)
            self._closing = close_with_the_loop(self.aclose)
            await anext(self._closing)
        if self._transport is None:
            self._transport = self._make_transport(self.address)
        return self._transport


def _target(scope: Scope) -> bytes:
    """Return the path and the query as the client sent them, without the mount point."""
    path = _raw_path(scope) if scope.get("root_path") else scope.get("raw_path") or escape(scope["path"]).encode()
    target = extensions(scope).get(TARGET)
    query: bytes = scope["query_string"]
    if target is not None and target["raw"] == path + b"?":
        return path + b"?"  # an empty query, which ASGI does not distinguish from no query
    return path + b"?" + query if query else path


def _raw_path(scope: Scope) -> bytes:
    raw: bytes = scope.get("raw_path") or escape(scope["path"]).encode()
    root = mounted_at(scope["root_path"], unquote(raw))
    longest = 12 * len(root)  # a character of `root_path` has up to four bytes, each of which may be escaped as three
    for end in (*(slash.start() for slash in re.finditer(b"/", raw[: longest + 1])), len(raw)):
        if len(root) <= end <= longest and unquote(raw[:end]) == root:
            return raw[end:] or b"/"
    return raw


def _status(refusal: InvalidRequest | LoopDetected) -> int:
    return 508 if isinstance(refusal, LoopDetected) else 400


async def _refuse(status: int, message: str, send: Send) -> None:
    """Respond with a short JSON message."""
    body = strictjson.dumps({"message": message})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 400:
        headers.append((b"connection", b"close"))  # where the next request begins is unknown
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
