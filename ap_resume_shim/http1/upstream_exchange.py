"""`Http1Exchange`: one request on its way through a `Http1Transport`, and its answer."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.core.errors import UpstreamError, UpstreamFailure
from ap_resume_shim.proxy.transport import ClientDisconnected, UpstreamRequest

if TYPE_CHECKING:
    from ap_resume_shim.http1.client import Http1Transport
    from ap_resume_shim.http1.connection import Connection

AHEAD = 64 * 1024
"""Bytes read ahead of the client, at most (and what one read brings)."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Http1Exchange:
    """One request on its way, and its answer."""

    __slots__ = (
        "_chunks",
        "_complete",
        "_connection",
        "_error",
        "_heads",
        "_left",
        "_no_bytes",
        "_pump",
        "_request",
        "_rest",
        "_reused",
        "_size",
        "_transport",
        "_tunnel",
        "_waiter",
        "headers",
        "status",
        "trailers",
    )

    def __init__(self, transport: Http1Transport, request: UpstreamRequest) -> None:
        self._transport, self._request = transport, request
        self.status = 0
        self.headers: HeaderList = []
        self.trailers: HeaderList = []
        self._connection: Connection | None = None
        self._reused = self._no_bytes = self._complete = self._left = False
        self._heads: deque[tuple[int, HeaderList]] = deque()
        self._chunks: list[bytes] = []
        self._size = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._tunnel: asyncio.Transport | None = None
        self._rest = b""

    async def head(self) -> None:
        """Send the request, the first time; wait for the next head."""
        if self._connection is None and self._error is None:
            await self._begin()
        while not self._heads:
            if self._error is not None:
                if not self._may_ask_again():
                    raise self._error
                self._error = None
                await self._begin(fresh=True)
                continue
            await self._wait()
        self.status, self.headers = self._heads.popleft()

    async def read(self) -> bytes:
        """The next bytes of the body; none at its end."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._complete:
                return b""
            await self._wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        if self._size > AHEAD and self._connection is not None:
            self._connection.resume_reading()
        self._size = 0
        return data

    @property
    def eof(self) -> bool:
        """Whether `read` would give nothing more."""
        return self._complete and not self._chunks

    def close(self) -> None:
        """Be done. An answer that is not over is broken off."""
        self._left = True
        if self._pump is not None:
            self._pump.cancel()
        for open_ in (self._connection, self._tunnel):
            if open_ is not None:
                open_.abort()
        if self._error is None and not self._complete:
            self._error = ClientDisconnected()
        self._wake()

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """The bare connection after a 101."""
        assert self._tunnel is not None, "only after a 101"
        tunnel, self._tunnel = self._tunnel, None
        return tunnel, self._rest

    def _may_ask_again(self) -> bool:
        """Whether a kept connection turned out to be closed, and asking again is harmless (RFC 9110, section 9.2.2)."""
        return (
            self._reused
            and self._no_bytes
            and not self._left
            and self._request.body is None
            and self._request.method in _SAFE
        )

    async def _begin(self, *, fresh: bool = False) -> None:
        request, transport = self._request, self._transport
        connection = None if fresh or request.fence is not None else transport.take()
        self._reused = connection is not None
        if connection is None:
            connection = await (transport.connect() if request.fence is None else transport.replace())
        try:
            if self._left:
                raise ClientDisconnected
            if request.fence is not None:
                request.fence()
        except BaseException:
            transport.give_back(connection, [])
            raise
        self._connection = connection
        connection.begin(self, request)
        if request.body is not None:
            self._pump = connection.loop.create_task(self._send_body(connection, request))

    async def _send_body(self, connection: Connection, request: UpstreamRequest) -> None:
        """Send the body as it comes; a client that leaves in its middle breaks the request off."""
        assert request.body is not None
        try:
            if request.expects_continue and not await connection.may_go_on():
                return
            more = True
            while more:
                data, more = await request.body.read()
                if request.chunked and data:
                    data = b"%x\r\n%b\r\n" % (len(data), data)
                if request.chunked and not more:
                    data += b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in request.body.trailers)
                await connection.write(data)
            self._pump = None
            connection.request_is_over()
        except (ClientDisconnected, UpstreamFailure) as error:
            self.on_error(error)
            connection.abort()
        except Exception as error:  # of the server that the client's body comes from
            self.on_error(UpstreamError("The request broke off.", detail=f"The request broke off: {error}."))
            connection.abort()
        finally:
            request.body.stop_reading()

    async def _wait(self) -> None:
        assert self._waiter is None, "one task reads"
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the connection tells.

    def on_head(self, status: int, headers: HeaderList) -> None:
        """A head."""
        self._heads.append((status, headers))
        self._wake()

    def on_response_body(self, parts: list[bytes], size: int) -> bool:
        """Parts of the body, `size` bytes or a little more; whether it may go on."""
        self._chunks += parts
        self._size += size
        self._wake()
        return self._size <= AHEAD

    def on_response_end(self, trailers: HeaderList) -> None:
        """The end of the answer; the connection is no longer ours."""
        self.trailers, self._complete, self._connection = trailers, True, None
        if self._pump is not None:
            self._pump.cancel()
        self._wake()

    def on_upgrade(self, transport: asyncio.Transport, rest: bytes) -> None:
        """The connection speaks something else from now on."""
        self._tunnel, self._rest, self._connection, self._complete = transport, rest, None, True
        self._wake()

    def on_error(self, error: Exception, *, no_bytes: bool = False) -> None:
        """The answer will not be complete; `no_bytes`: not a byte of it came."""
        self._connection, self._no_bytes = None, no_bytes
        if self._error is None:
            self._error = error
        self._wake()
