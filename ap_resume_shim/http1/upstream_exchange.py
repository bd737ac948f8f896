"""`Http1Exchange`: one request through an `Http1Transport`, and its response."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.core.errors import UpstreamError, UpstreamFailure
from ap_resume_shim.http1.incoming_body import IncomingBody
from ap_resume_shim.http1.wakeup import Wakeup
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
        "_closed",
        "_connection",
        "_error",
        "_heads",
        "_request",
        "_sent",
        "_stale",
        "_transport",
        "_tunnel",
        "_wakeup",
        "body",
        "headers",
        "status",
    )

    def __init__(self, transport: Http1Transport, request: UpstreamRequest) -> None:
        self._transport, self._request = transport, request
        self.status = 0
        self.headers: HeaderList = []
        self._connection: UpstreamConnection | None = None
        self._closed = self._sent = self._stale = False
        self._heads: list[tuple[int, HeaderList]] = []
        self.body = IncomingBody()
        self._error: Exception | None = None
        self._wakeup = Wakeup(asyncio.get_running_loop())
        self._body_task: asyncio.Task[None] | None = None
        self._tunnel: tuple[asyncio.Transport, bytes] | None = None

    async def head(self) -> None:
        """Wait for the next head; the first call sends the request."""
        if not self._sent and self._error is None:
            await self._send()
        while not self._heads:
            if self._error is not None:
                if not self._may_retry():
                    raise self._error
                self._error = None
                await self._send(fresh=True)
                continue
            await self._wakeup
        self.status, self.headers = self._heads.pop(0)

    async def read(self) -> bytes:
        """Return the next bytes of the body; no bytes at its end."""
        body = self.body
        while not body.parts:
            if self._error is not None:
                raise self._error
            if body.complete:
                return b""
            await self._wakeup
        full, data = body.buffered > READ_AHEAD, body.take()
        if full and self._connection is not None:
            self._connection.resume_reading()
        return data

    @property
    def eof(self) -> bool:
        """True if the body has ended, and `read` would return no bytes."""
        return self.body.complete and not self.body.parts

    @property
    def trailers(self) -> HeaderList:
        """The trailer fields; complete when the body has ended."""
        return self.body.trailers

    def close(self) -> None:
        """End the exchange; an incomplete response is broken off."""
        self._closed = True
        if self._body_task is not None:
            self._body_task.cancel()
        if self._connection is not None:
            self._connection.abort()
        if self._tunnel is not None:
            self._tunnel[0].abort()
        if not self.body.complete:
            self._error = (
                ClientDisconnected()
            )  # a new one: the traceback of one that was raised refers to this exchange
        self._wakeup.set()

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Return the connection after a 101, and the bytes that were already read from it."""
        assert self._tunnel is not None, "only after a 101"
        tunnel, self._tunnel = self._tunnel, None
        return tunnel

    def _may_retry(self) -> bool:
        """True if a reused connection turned out to be closed, and the request is safe (RFC 9110, section 9.2.2)."""
        request = self._request
        return self._stale and not self._closed and request.body is None and request.method in _SAFE

    async def _send(self, *, fresh: bool = False) -> None:
        request, transport = self._request, self._transport
        connection = None if fresh or request.fence is not None else transport.take_idle()
        if connection is None:
            connection = await (transport.connect() if request.fence is None else transport.replace_idle())
        try:
            if self._closed:
                raise ClientDisconnected
            if request.fence is not None:
                request.fence()
        except BaseException:
            transport.release(connection, [])
            raise
        self._connection, self._sent = connection, True
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

    # Called by the connection. Except `on_head`, these continue the waiting task, which may close the exchange.

    def on_head(self, status: int, headers: HeaderList) -> None:
        """An informational or final head."""
        self._heads.append((status, headers))

    def on_progress(self, size: int) -> bool:
        """`size` bytes were parsed: heads, parts of the body, or both. Returns True if the connection may read on."""
        body = self.body
        if body.parts:
            body.buffered += size
        self._wakeup.set()
        return body.buffered <= READ_AHEAD

    def on_response_end(self, trailers: HeaderList) -> None:
        """The end of the response. The connection no longer belongs to the exchange."""
        self.body.complete, self.body.trailers, self._connection = True, trailers, None
        if self._body_task is not None:
            self._body_task.cancel()
        self._wakeup.set()

    def on_upgrade(self, transport: asyncio.Transport, rest: bytes) -> None:
        """A 101: the connection now belongs to the exchange, with reading paused. `rest` are bytes after the head."""
        self._tunnel, self._connection, self.body.complete = (transport, rest), None, True
        self._wakeup.set()

    def on_error(self, error: Exception, *, stale: bool = False) -> None:
        """The response failed; `stale` is True if a reused connection was closed before the first byte of it."""
        self._connection, self._stale = None, stale
        if self._error is None:
            self._error = error
        self._wakeup.set()
