"""`HttpxTransport`: sends requests through an httpx *transport*, not through an httpx client.

A client has a cookie jar, which would mix users, follows redirects, adds header fields, and reads environment
variables. httpx does not report 1xx responses and trailers, and does not support upgrades.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any
from weakref import WeakSet

import anyio
import httpcore
import httpx

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.core.errors import ResumeError, UpstreamError, UpstreamFailure
from ap_resume_shim.proxy.fenced_network import FencedNetwork
from ap_resume_shim.proxy.idle_connections import IDLE, idle_limit
from ap_resume_shim.proxy.tcp_keepalive import KEEP_ALIVE
from ap_resume_shim.proxy.transport import (
    Address,
    ClientDisconnected,
    RequestBody,
    UpstreamRequest,
    broken_off,
    too_slow,
    unreachable,
)

WRITE_TIMEOUT = 30.0
"""Maximum time for each write, in seconds. Reads have no limit here, since agents are silent for minutes."""


class HttpxTransport:
    """A `Transport` on httpx, without 1xx responses, trailers and upgrades."""

    upgrades = trailers = False

    def __init__(self, address: Address, network: httpx.AsyncBaseTransport | None = None) -> None:
        """`network` sends the requests, in place of httpx's own transport.

        The fence of a resume is then called at httpcore's first trace event that does not concern the connection. If
        there is no such event, it is called before the body is read, or, without a body, before `network` is called.
        """
        self.address = address
        host = f"[{address.host}]" if ":" in address.host else address.host
        self.origin = httpx.URL(f"{address.scheme}://{host}:{address.port}")
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=IDLE)
        tls = address.tls or (httpx.create_ssl_context(trust_env=False) if address.scheme == "https" else None)
        self._tls, self._options = tls, None if address.uds else KEEP_ALIVE
        self._fenced: WeakSet[FencedNetwork] = WeakSet()
        self.custom = network is not None
        self.network = network or httpx.AsyncHTTPTransport(
            trust_env=False, verify=tls or False, uds=address.uds, limits=limits, socket_options=self._options
        )
        self.timeout = httpx.Timeout(
            connect=address.connect, pool=address.connect, write=WRITE_TIMEOUT, read=None
        ).as_dict()
        self.running: dict[asyncio.Task[None], HttpxExchange] = {}

    def start(self, request: UpstreamRequest) -> HttpxExchange:
        """Return the exchange of a request. Nothing is sent before `head` is awaited."""
        return HttpxExchange(self, request)

    def fenced(self, fence: Callable[[], None]) -> FencedNetwork:
        """Return the transport of one request with a fence: see `ap_resume_shim.http1.client` for the reasons."""
        network = FencedNetwork(fence, self._tls, self.address.uds, self._options)
        self._fenced.add(network)
        return network

    async def aclose(self) -> None:
        """Close all connections. Exchanges in progress fail; those that are opening a connection, once it is open."""
        for exchange in set(self.running.values()):
            exchange.cancel(broken_off(self.address, "the proxy closed its connections"))
        while self.running:
            await asyncio.wait(self.running)
        for network in [self.network, *self._fenced]:
            await network.aclose()


class HttpxExchange:
    """An `UpstreamExchange`; its methods document errors. The request runs in its own task."""

    def __init__(self, transport: HttpxTransport, request: UpstreamRequest) -> None:
        self.status = 0
        self.headers: HeaderList = []
        self.trailers: HeaderList = []
        self._transport, self._request = transport, request
        self._task: asyncio.Task[None] | None = None
        self._cancel_scope = anyio.CancelScope()
        self._trace = _ConnectionTrace(request.fence if transport.custom else None)
        self._head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._chunk = b""
        self._chunk_ready, self._chunk_taken = asyncio.Event(), asyncio.Event()
        self._error: Exception | None = None
        self._cancelled: Exception | None = None
        self._ended = False

    async def head(self) -> None:
        """Send the request, and wait for the head of its response."""
        if self._task is None:
            self._task = self._spawn(self._run())
        await asyncio.wait({self._head})
        self._head.result()

    async def read(self) -> bytes:
        """Return the next bytes of the body; no bytes at its end."""
        await self._chunk_ready.wait()
        chunk, self._chunk = self._chunk, b""
        if not self._ended:
            self._chunk_ready.clear()
        self._chunk_taken.set()
        if not chunk and self._error is not None:
            raise self._error
        return chunk

    @property
    def eof(self) -> bool:
        """True if the body has ended, and `read` would return no bytes."""
        return self._ended and not self._chunk and self._error is None

    def close(self) -> None:
        """End the exchange."""
        self.cancel(ClientDisconnected())

    def cancel(self, error: Exception) -> None:
        """Fail with this error, but not while a connection is being opened: httpcore would lose track of it."""
        if self._cancelled is None and self._task is not None and not self._task.done():
            self._spawn(self._cancel())
            self._cancelled = error

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Not supported: httpx cannot hand over a raw connection. Raises `NotImplementedError`."""
        raise NotImplementedError("httpx cannot hand over a raw connection")

    def _spawn(self, coroutine: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._transport.running[task] = self
        task.add_done_callback(self._transport.running.pop)
        return task

    async def _cancel(self) -> None:
        await self._trace.wait_until_connected()
        self._cancel_scope.cancel()

    async def _run(self) -> None:
        try:
            # httpcore shields the closing of connections from a cancel scope, but not from the cancellation of a task.
            with self._cancel_scope:
                await self._send()
                self._end()
                return
            assert self._cancelled is not None
            self._fail(self._cancelled)
        except Exception as error:
            self._fail(error)
        except BaseException:
            self._fail(UpstreamError("The request was cancelled."))
            raise

    async def _send(self) -> None:
        request, transport = self._request, self._transport
        network: httpx.AsyncBaseTransport = transport.network
        if request.fence is not None and not transport.custom:
            network = transport.fenced(request.fence)
        elif request.body is None:
            self._trace.call_fence()
        try:
            response = await network.handle_async_request(self._as_httpx())
        finally:
            if request.body is not None:
                request.body.stop_reading()
        async with aclosing(response):
            self.status = response.status_code
            self.headers = [(name.lower(), value) for name, value in response.headers.raw]
            self._head.set_result(None)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for chunk in response.stream:
                if chunk:
                    self._chunk = chunk
                    self._chunk_taken.clear()
                    self._chunk_ready.set()
                    await self._chunk_taken.wait()
            if idle_limit(self.headers) < IDLE and (connection := response.extensions.get("network_stream")):
                await connection.aclose()  # httpx has one limit for all connections, and uses no closed one

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, ClientDisconnected | ResumeError):
            error = _failure(error, self._transport.address)
        self._error = error
        if not self._head.done():
            self._head.set_exception(error)
            self._head.exception()  # retrieved, in case nothing awaits it
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._chunk_ready.set()

    def _as_httpx(self) -> httpx.Request:
        request, origin = self._request, self._transport.origin
        try:
            url = origin.copy_with(raw_path=request.target if request.target.startswith(b"/") else b"/")
        except httpx.InvalidURL:
            url = origin  # the extension below sets the target
        return httpx.Request(
            request.method,
            url,
            headers=request.headers,
            stream=None if request.body is None else _Stream(request.body, self._trace.call_fence),
            extensions={
                "target": request.target,  # unchanged: a URL would remove dot segments and escape characters
                "timeout": self._transport.timeout,
                "trace": self._trace.trace,
            },
        )


class _Stream(httpx.AsyncByteStream):
    def __init__(self, body: RequestBody, call_fence: Callable[[], None]) -> None:
        self._body, self._call_fence = body, call_fence

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._call_fence()
        more = True
        while more:
            data, more = await self._body.read()
            if data:
                yield data


class _ConnectionTrace:
    """Follows httpcore's trace events: detects when a connection is being opened, and calls the fence of a request."""

    def __init__(self, fence: Callable[[], None] | None) -> None:
        self._fence = fence
        self._connected = asyncio.Event()
        self._connected.set()

    async def trace(self, event: str, _: Any) -> None:
        """Called by httpcore. The names of events may change; the fence does not depend on them."""
        stage, _, what = event.rpartition(".")
        if stage in ("connection.connect_tcp", "connection.connect_unix_socket", "connection.start_tls"):
            self._connected.clear() if what == "started" else self._connected.set()
        elif not stage.startswith("connection."):
            self.call_fence()

    def call_fence(self) -> None:
        """Call the fence, the first time only. Its exception ends the request."""
        fence, self._fence = self._fence, None
        if fence is not None:
            fence()

    async def wait_until_connected(self) -> None:
        """Return when no connection is being opened; connecting has a time limit."""
        while not self._connected.is_set():
            await self._connected.wait()


_CONNECT_ERRORS = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.PoolTimeout,
)


def _failure(error: Exception, address: Address) -> UpstreamFailure:
    """Return the failure for an error of httpx or httpcore."""
    if isinstance(error, _CONNECT_ERRORS):
        return unreachable(address, error)
    if isinstance(error, httpx.TimeoutException | httpcore.TimeoutException):
        return too_slow(address, "did not respond in time")
    return broken_off(address, error)
