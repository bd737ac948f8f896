"""`HttpxTransport`: requests by an httpx *transport*, not a client.

A client has a cookie jar that would mix users, follows redirects, adds fields of its own and listens to the
environment. What httpx cannot do: 1xx answers and trailers are not told, and nothing can be upgraded.
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

WRITE = 30.0
"""Seconds for each write. Reading has no limit here: agents are silent for minutes."""


class HttpxTransport:
    """Connections to one address, kept by httpx."""

    upgrades = trailers = False

    def __init__(self, address: Address, network: httpx.AsyncBaseTransport | None = None) -> None:
        """`network`: what makes the connections, in place of httpx's own.

        The fence of a resume is then called at the first of httpcore's trace events that is not about the connection;
        where there is none, before the body is read; without a body, before the request is handed over.
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
        self.timeout = httpx.Timeout(connect=address.connect, pool=address.connect, write=WRITE, read=None).as_dict()
        self.running: set[asyncio.Task[None]] = set()

    def start(self, request: UpstreamRequest) -> HttpxExchange:
        """Begin to pass a request on; nothing is sent before `head` is awaited."""
        return HttpxExchange(self, request)

    def fenced(self, fence: Callable[[], None]) -> FencedNetwork:
        """A connection for one request, for the reasons that `ap_resume_shim.http1.client` gives."""
        network = FencedNetwork(fence, self._tls, self.address.uds, self._options)
        self._fenced.add(network)
        return network

    async def aclose(self) -> None:
        """Close all connections."""
        for network in [self.network, *self._fenced]:
            await network.aclose()


class HttpxExchange:
    """One request on its way, in a task of its own, and its answer."""

    def __init__(self, transport: HttpxTransport, request: UpstreamRequest) -> None:
        self.status = 0
        self.headers: HeaderList = []
        self.trailers: HeaderList = []
        self._transport, self._request = transport, request
        self._task: asyncio.Task[None] | None = None
        self._leaving = anyio.CancelScope()
        self._connecting = _Connecting(request.fence if transport.custom else None)
        self._head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._chunk = b""
        self._filled, self._taken = asyncio.Event(), asyncio.Event()
        self._error: Exception | None = None
        self._over = self._left = False

    async def head(self) -> None:
        """Send the request, and wait for its head."""
        if self._task is None:
            self._task = self._spawn(self._run())
        await asyncio.wait({self._head})
        self._head.result()

    async def read(self) -> bytes:
        """The next bytes of the body; none at its end."""
        await self._filled.wait()
        chunk, self._chunk = self._chunk, b""
        if not self._over:
            self._filled.clear()
        self._taken.set()
        if not chunk and self._error is not None:
            raise self._error
        return chunk

    @property
    def eof(self) -> bool:
        """Whether `read` would give nothing more."""
        return self._over and not self._chunk and self._error is None

    def close(self) -> None:
        """Be done. httpcore would lose a connection that is cut off while it is opened: that is waited for."""
        if not self._left and self._task is not None and not self._task.done():
            self._spawn(self._cut())
        self._left = True

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Never."""
        raise NotImplementedError("httpx does not give a connection away")

    def _spawn(self, coroutine: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._transport.running.add(task)
        task.add_done_callback(self._transport.running.discard)
        return task

    async def _cut(self) -> None:
        await self._connecting.over()
        self._leaving.cancel()

    async def _run(self) -> None:
        try:
            # httpcore shields the closing of its connections from scopes; a cancelled task would lose them.
            with self._leaving:
                await self._exchange()
                self._end()
                return
            self._fail(ClientDisconnected())
        except Exception as error:
            self._fail(error)
        except BaseException:
            self._fail(UpstreamError("The request was cut off."))
            raise

    async def _exchange(self) -> None:
        request, transport = self._request, self._transport
        network: httpx.AsyncBaseTransport = transport.network
        if request.fence is not None and not transport.custom:
            network = transport.fenced(request.fence)
        elif request.body is None:
            self._connecting.call_fence()
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
                    self._taken.clear()
                    self._filled.set()
                    await self._taken.wait()
            if idle_limit(self.headers) < IDLE and (connection := response.extensions.get("network_stream")):
                await connection.aclose()  # httpx has one limit for all connections, and uses no closed one

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, ClientDisconnected | ResumeError):
            error = _failure(error, self._transport.address)
        self._error = error
        if not self._head.done():
            self._head.set_exception(error)
            self._head.exception()  # nobody may be waiting any longer
        self._end()

    def _end(self) -> None:
        self._over = True
        self._filled.set()

    def _as_httpx(self) -> httpx.Request:
        request, origin = self._request, self._transport.origin
        try:
            url = origin.copy_with(raw_path=request.target if request.target.startswith(b"/") else b"/")
        except httpx.InvalidURL:
            url = origin  # the target below is what counts
        return httpx.Request(
            request.method,
            url,
            headers=request.headers,
            stream=None if request.body is None else _Stream(request.body, self._connecting.call_fence),
            extensions={
                "target": request.target,  # as it came: a URL drops dot segments, and escapes what it would not write
                "timeout": self._transport.timeout,
                "trace": self._connecting.trace,
            },
        )


class _Stream(httpx.AsyncByteStream):
    def __init__(self, body: RequestBody, before: Callable[[], None]) -> None:
        self._body, self._before = body, before

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._before()
        more = True
        while more:
            data, more = await self._body.read()
            if data:
                yield data


class _Connecting:
    """Whether a connection is being opened; and the fence of a request on a network that is not httpx's own."""

    def __init__(self, fence: Callable[[], None] | None) -> None:
        self._fence = fence
        self._over = asyncio.Event()
        self._over.set()

    async def trace(self, event: str, _: Any) -> None:
        """Called by httpcore. The names of its events may change: none is needed for the fence to be called."""
        stage, _, what = event.rpartition(".")
        if stage in ("connection.connect_tcp", "connection.connect_unix_socket", "connection.start_tls"):
            self._over.clear() if what == "started" else self._over.set()
        elif not stage.startswith("connection."):
            self.call_fence()

    def call_fence(self) -> None:
        """Call it, the first time; what it raises ends the request."""
        fence, self._fence = self._fence, None
        if fence is not None:
            fence()

    async def over(self) -> None:
        """Return when it is open, or failed; connecting has a time limit."""
        while not self._over.is_set():
            await self._over.wait()


_UNCONNECTED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.PoolTimeout,
)


def _failure(error: Exception, address: Address) -> UpstreamFailure:
    """The failure that an error of httpx or httpcore means."""
    if isinstance(error, _UNCONNECTED):
        return unreachable(address, error)
    if isinstance(error, httpx.TimeoutException | httpcore.TimeoutException):
        return too_slow(address, "did not answer in time")
    return broken_off(address, error)
