"""`Http1Exchange`: one request through an `Http1Transport`, and its response."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.core.errors import UpstreamError, UpstreamFailure
from ap_resume_shim.http1.waiter import Waiter
from ap_resume_shim.proxy.transport import ClientDisconnected, UpstreamRequest

if TYPE_CHECKING:
    from ap_resume_shim.http1.client import Http1Transport
    from ap_resume_shim.http1.upstream_connection import UpstreamConnection

READ_AHEAD = 64 * 1024
"""Maximum number of bytes that are read ahead of the client, not counting the latest read."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Http1Exchange:
    """An `UpstreamExchange`; its methods document errors.

    Methods named `on_...` are called by the connection.
    """

    __slots__ = (
        "_body_task",
        "_buffered",
        "_chunks",
        "_complete",
        "_connection",
        "_error",
        "_head",
        "_heads",
        "_may_retry",
        "_request",
        "_transport",
        "_upgraded",
        "_waiter",
        "trailers",
    )

    def __init__(self, transport: Http1Transport, request: UpstreamRequest) -> None:
        self._transport, self._request = transport, request
        self.trailers: HeaderList = []
        self._head: tuple[int, HeaderList] = 0, []
        self._connection: UpstreamConnection | None = None
        self._may_retry = self._complete = False
        self._heads: deque[tuple[int, HeaderList]] = deque()
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._error: Exception | None = None
        self._waiter = Waiter()
        self._body_task: asyncio.Task[None] | None = None
        self._upgraded: tuple[asyncio.Transport, bytes] | None = None

    @property
    def status(self) -> int:
        """The status of the latest head; 0 before the first one."""
        return self._head[0]

    @property
    def headers(self) -> HeaderList:
        """The fields of the latest head."""
        return self._head[1]

    async def head(self) -> None:
        """Wait for the next head; the first call sends the request."""
        if self._connection is None and self._error is None:
            await self._send()
        while not self._heads:
            if self._error is not None:
                if not self._may_retry:
                    raise self._error
                self._error = None
                await self._send(fresh=True)
                continue
            await self._waiter.wait()
        self._head = self._heads.popleft()

    async def read(self) -> bytes:
        """Return the next bytes of the body; no bytes at its end."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._complete:
                return b""
            await self._waiter.wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        if self._buffered > READ_AHEAD and self._connection is not None:
            self._connection.resume_reading()
        self._buffered = 0
        return data

    @property
    def eof(self) -> bool:
        """True if the body has ended, and `read` would return no bytes."""
        return self._complete and not self._chunks

    def close(self) -> None:
        """End the exchange; an incomplete response is broken off."""
        self._may_retry = False
        if self._body_task is not None:
            self._body_task.cancel()
        if self._connection is not None:
            self._connection.abort()
        if self._upgraded is not None:
            self._upgraded[0].abort()
        if self._error is None and not self._complete:
            self._error = ClientDisconnected()
        self._waiter.wake()

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Return the connection after a 101, and the bytes that were already read from it."""
        assert self._upgraded is not None, "only after a 101"
        upgraded, self._upgraded = self._upgraded, None
        return upgraded

    async def _send(self, *, fresh: bool = False) -> None:
        request, transport = self._request, self._transport
        connection = None if fresh or request.fence is not None else transport.take_idle()
        # A reused connection may turn out to be closed (RFC 9110, section 9.2.2).
        self._may_retry = connection is not None and request.body is None and request.method in _SAFE
        if connection is None:
            connection = await (transport.connect() if request.fence is None else transport.replace_idle())
        try:
            if self._error is not None:  # closed meanwhile
                raise self._error
            if request.fence is not None:
                request.fence()
        except BaseException:
            transport.release(connection, [])
            raise
        self._connection = connection
        connection.send_head(self, request)
        if request.body is not None:
            self._body_task = connection.loop.create_task(self._send_body(connection, request))

    async def _send_body(self, connection: UpstreamConnection, request: UpstreamRequest) -> None:
        """Send the body as it arrives. If the client disconnects before its end, abort the connection."""
        assert request.body is not None
        try:
            if request.expects_continue and not await connection.wait_for_continue():
                return
            more = True
            while more:
                data, more = await request.body.read()
                if request.chunked and data:
                    data = b"%x\r\n%b\r\n" % (len(data), data)
                if request.chunked and not more:
                    data += b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in request.body.trailers)
                await connection.write(data)
            self._body_task = None
            connection.on_request_sent()
        except (ClientDisconnected, UpstreamFailure) as error:
            self.on_error(error)
            connection.abort()
        except Exception as error:  # raised by the ASGI server that delivers the client's body
            self.on_error(UpstreamError("The request broke off.", detail=f"The request broke off: {error}."))
            connection.abort()
        finally:
            request.body.stop_reading()

    # Called by the connection.

    def on_head(self, status: int, headers: HeaderList) -> None:
        """An informational or final head."""
        self._heads.append((status, headers))
        self._waiter.wake()

    def on_response_body(self, parts: list[bytes], size: int) -> bool:
        """Parts of the body, of about `size` bytes. Returns True if the connection may read on."""
        self._chunks += parts
        self._buffered += size
        self._waiter.wake()
        return self._buffered <= READ_AHEAD

    def on_response_end(self, trailers: HeaderList) -> None:
        """The end of the response. The connection no longer belongs to the exchange."""
        self.trailers, self._complete, self._connection = trailers, True, None
        if self._body_task is not None:
            self._body_task.cancel()
        self._waiter.wake()

    def on_upgrade(self, transport: asyncio.Transport, rest: bytes) -> None:
        """A 101: the connection now belongs to the exchange, with reading paused. `rest` are bytes after the head."""
        self._upgraded, self._connection, self._complete = (transport, rest), None, True
        self._waiter.wake()

    def on_error(self, error: Exception, *, no_bytes: bool = False) -> None:
        """The response failed; `no_bytes` is True if no byte of it arrived."""
        self._connection, self._may_retry = None, self._may_retry and no_bytes
        if self._error is None:
            self._error = error
        self._waiter.wake()
