"""`FencedNetwork`: sends one request on a new connection, and calls the request's fence before the first byte.

The stream that writes to the socket calls the fence. httpcore has a public extension point for such streams ("network
backends"), so the fence does not depend on what httpcore does between the connection and the first byte.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpcore
import httpx

Fence = Callable[[], None]


class FencedNetwork(httpx.AsyncBaseTransport):
    """An httpx transport for a single request. Raises httpcore's errors, and the exception of the fence."""

    def __init__(
        self, fence: Fence, tls: ssl.SSLContext | None, uds: str | None, socket_options: Iterable[Any] | None
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_keepalive_connections=0,
            uds=uds,
            socket_options=socket_options,
            network_backend=_Backend(fence),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Connect, call the fence, send the request, and return the response; its body is not read yet."""
        url = request.url
        response = await self._pool.handle_async_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._response.aiter_stream()

    async def aclose(self) -> None:
        """Close the response and its connection, which is not reused."""
        await self._response.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects as httpcore does by default, and wraps the streams."""

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(self, *address: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.connect_tcp(*address, **options), self._fence)

    async def connect_unix_socket(self, *address: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.connect_unix_socket(*address, **options), self._fence)


class _Stream(httpcore.AsyncNetworkStream):
    """Calls the fence before the first write. The bytes of a TLS handshake are written below this stream, unfenced."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, fence: Fence) -> None:
        self._inner = inner
        self._fence: Fence | None = fence

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._fence is not None:
            self._fence()
            self._fence = None  # only now: as long as the fence raises, every write fails
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(self, *context: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        assert self._fence is not None, "TLS begins before the request"
        return _Stream(await self._inner.start_tls(*context, **options), self._fence)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
