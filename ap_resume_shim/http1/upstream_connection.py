"""`UpstreamConnection`: one connection to the server. It sends requests and receives responses, one at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.core.errors import UpstreamError
from ap_resume_shim.http1.head import encode_lines
from ap_resume_shim.http1.response_parser import COMPLETE, UPGRADED, InvalidResponse, ResponseParser
from ap_resume_shim.proxy.tcp_keepalive import enable_keep_alive
from ap_resume_shim.proxy.transport import UpstreamRequest, broken_off, too_slow

if TYPE_CHECKING:
    from ap_resume_shim.http1.client import Http1Transport
    from ap_resume_shim.http1.upstream_exchange import Http1Exchange

WRITE_TIMEOUT = 60.0
"""Maximum time in seconds in which the server reads nothing of a request's body."""
CONTINUE_TIMEOUT = 1.0
"""Seconds to wait for a 100 before the body is sent anyway (RFC 9110, section 10.1.1)."""


class UpstreamConnection(asyncio.Protocol):
    """The client side of one connection."""

    transport: asyncio.Transport

    def __init__(self, pool: Http1Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.usable_until = 0.0
        """Time of the event loop at which an idle connection is closed; 0 before the first time that it is idle."""
        self._pool = pool
        self._exchange: Http1Exchange | None = None
        self._parser = ResponseParser(self)
        self._sent = self._reading = True
        self._received = self._paused = False
        self._writable: asyncio.Future[None] | None = None
        self._continue: asyncio.Future[bool] | None = None

    # Called by the exchange.

    def send_head(self, exchange: Http1Exchange, request: UpstreamRequest) -> None:
        """Send the head of a request, and report its response to the exchange."""
        self._exchange = exchange
        self._parser.begin(exchange.body.parts, request.method == "HEAD", request.upgrades)
        self._sent, self._received = request.body is None, False
        first = b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.target)
        self.transport.write(encode_lines(first, request.headers))

    async def write(self, data: bytes) -> None:
        """Send a part of the body, at the server's pace. Raises `UpstreamError` or `UpstreamTimeout`."""
        if self.transport.is_closing():
            raise self._error("it closed the connection")
        if data:
            self.transport.write(data)
        if self._paused:
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        self._writable, buffered = self.loop.create_future(), 0
        while not self._writable.done():
            before, buffered = buffered, self.transport.get_write_buffer_size()
            if buffered == before:
                raise too_slow(self._pool.address, f"read nothing of the request's body for {WRITE_TIMEOUT:g} seconds")
            await asyncio.wait({self._writable}, timeout=WRITE_TIMEOUT)

    async def wait_for_continue(self) -> bool:
        """Wait until the body may be sent. Returns False if the final response arrived instead of a 100."""
        self._continue = self.loop.create_future()
        done, _ = await asyncio.wait({self._continue}, timeout=CONTINUE_TIMEOUT)
        return self._continue.result() if done else True

    def on_request_sent(self) -> None:
        """Called by the exchange when the request is sent completely."""
        self._sent = True

    def abort(self) -> None:
        """Close the connection at once."""
        self._pool.on_closed(self)
        self._exchange = None
        self.transport.abort()

    def fail(self, why: str) -> None:
        """Close the connection at once; its exchange fails."""
        exchange = self._exchange
        self.abort()
        if exchange is not None:
            exchange.on_error(self._error(why))

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enable TCP keep-alive, and register with the transport."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        enable_keep_alive(transport.get_extra_info("socket"))
        self._pool.on_open(self)

    def connection_lost(self, error: Exception | None) -> None:
        """End the response: complete if the end of the connection ends its body, else with an error."""
        self._pool.on_closed(self)
        self.resume_writing()
        self._resolve_continue(send_body=False)
        exchange, self._exchange = self._exchange, None
        self._parser.close()
        if exchange is None:
            return
        if self._parser.ends_at_close() and error is None:
            exchange.on_response_end([])
            return
        stale = self.usable_until > 0 and not self._received
        exchange.on_error(self._error(str(error or "it closed the connection")), stale=stale)

    def eof_received(self) -> None:
        """The server closes: an idle connection is not used again."""
        if self._exchange is None:
            self._pool.on_closed(self)

    def pause_writing(self) -> None:
        """The write buffer is full: the server does not read."""
        self._paused = True

    def resume_writing(self) -> None:
        """The write buffer has room again: wake a pending `write`."""
        self._paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def resume_reading(self) -> None:
        """Called by the exchange when its buffered data was taken."""
        if not self._reading:
            self._reading = True
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Parse the data, and report to the exchange."""
        exchange = self._exchange
        if exchange is None:
            self.abort()  # data without a request
            return
        self._received, parser = True, self._parser
        try:
            rest = parser.feed(data)
        except InvalidResponse as error:
            self.abort()
            if parser.progress == COMPLETE:  # the data after the response belongs to no request
                exchange.on_response_end(parser.fields)
            else:
                exchange.on_error(self._error(str(error)))
            return
        if parser.progress >= COMPLETE:
            self._finish(exchange, rest)
        elif not exchange.on_progress(len(data)) and self._exchange is exchange and self._reading:
            self._reading = False
            self.transport.pause_reading()

    # Called by the parser.

    def on_response_head(self, status: int, headers: HeaderList) -> None:
        """Report a head; a 100 concerns only the body of the request."""
        if status == 100:
            self._resolve_continue(send_body=True)
            return
        if status >= 200 and self._continue is not None:
            self._resolve_continue(send_body=False)
        assert self._exchange is not None
        self._exchange.on_head(status, headers)

    def _finish(self, exchange: Http1Exchange, rest: bytes) -> None:
        """Report the end of the response, and keep the connection for the next request if possible.

        `rest` are the bytes after a 101, which ends HTTP on this connection.
        """
        parser = self._parser
        if parser.progress == UPGRADED:
            self._upgrade(exchange, rest)
            return
        keep = self._sent and parser.keep_alive and not self.transport.is_closing()
        if keep:
            self._exchange = None
            self.resume_reading()
            self._pool.release(self, parser.headers)
        else:
            self.abort()
        exchange.on_response_end(parser.fields)

    def _upgrade(self, exchange: Http1Exchange, rest: bytes) -> None:
        self.transport.pause_reading()
        self._exchange = None
        self._pool.on_closed(self)
        exchange.on_upgrade(self.transport, rest)

    def _error(self, why: str) -> UpstreamError:
        return broken_off(self._pool.address, why)

    def _resolve_continue(self, *, send_body: bool) -> None:
        if self._continue is not None and not self._continue.done():
            self._continue.set_result(send_body)
