"""`UpstreamConnection`: one connection to the server. It sends requests and parses responses, one at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.core.errors import UpstreamError
from ap_resume_shim.proxy.tcp_keepalive import enable_keep_alive
from ap_resume_shim.proxy.transport import UpstreamRequest, broken_off, too_slow

if TYPE_CHECKING:
    from ap_resume_shim.http1.client import Http1Transport
    from ap_resume_shim.http1.upstream_exchange import Http1Exchange

MAX_HEAD = 256 * 1024
"""Maximum size in bytes of a response's head, including informational heads before it, and of its trailer section."""
WRITE_TIMEOUT = 60.0
"""Maximum time in seconds in which the server reads nothing of a request's body."""
CONTINUE_TIMEOUT = 1.0
"""Seconds to wait for a 100 before the body is sent anyway (RFC 9110, section 10.1.1)."""


class _Response:
    """The response that is being parsed."""

    __slots__ = (
        "complete",
        "head_size",
        "headers",
        "in_body",
        "keep_alive",
        "parts",
        "received",
        "trailers",
        "upgraded",
    )

    def __init__(self) -> None:
        self.headers: HeaderList = []
        self.trailers: HeaderList = []
        self.parts: list[bytes] = []
        """The parts of the body in the latest read."""
        self.head_size = 0
        """Bytes since the beginning, or since the last data of the body."""
        self.received = self.in_body = self.complete = self.keep_alive = self.upgraded = False


class UpstreamConnection(asyncio.Protocol):
    """The client side of one connection. Methods named `on_...` are callbacks of httptools, unless noted otherwise."""

    transport: asyncio.Transport

    def __init__(self, pool: Http1Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.usable_until = loop, 0.0
        self._pool = pool
        self._exchange: Http1Exchange | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._request: UpstreamRequest
        self._response: _Response
        self._sent = self._reading = True
        self._writable: asyncio.Future[None] | None = None
        self._paused = False
        self._continue: asyncio.Future[bool] | None = None

    # Called by the exchange.

    def send_head(self, exchange: Http1Exchange, request: UpstreamRequest) -> None:
        """Send the head of a request, and report its response to the exchange."""
        self._exchange, self._request, self._response = exchange, request, _Response()
        self._sent = request.body is None
        parts = [request.method.encode("ascii"), b" ", request.target, b" HTTP/1.1\r\n"]
        for name, value in request.headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n")
        self.transport.write(b"".join(parts))

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
        self._finish()

    def abort(self) -> None:
        """Close the connection at once."""
        self._pool.on_closed(self)
        self._exchange = None
        self.transport.abort()

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
        if exchange is None:
            return
        if self._ends_at_close() and error is None:
            exchange.on_response_end([])
            return
        exchange.on_error(self._error(str(error or "it closed the connection")), no_bytes=not self._response.received)

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
        response = self._response
        response.received = True
        response.head_size += len(data)
        try:
            rest = self._parse_head(data) if self._request.upgrades and not response.in_body else data
            if response.upgraded:
                self._upgrade(exchange, rest)
                return
            self._parser.feed_data(rest)
            self._deliver_body(exchange, len(data))
        except httptools.HttpParserError as error:
            self._deliver_body(exchange, len(data))
            if response.complete:  # the response is complete; the data after it belongs to no request
                exchange.on_response_end(response.trailers)
            else:
                exchange.on_error(self._error(f"its response is not valid HTTP: {error.__context__ or error}"))
            self.abort()
            return
        if response.complete:
            self._finish()
        elif response.head_size > MAX_HEAD:
            section = "trailer section" if response.in_body else "head"
            exchange.on_error(self._error(f"the {section} of its response is larger than {MAX_HEAD} bytes"))
            self.abort()

    def _parse_head(self, data: bytes) -> bytes:
        """Parse line by line up to the end of a head, and return what follows it.

        After a 101, the next byte is no longer HTTP. llhttp gives its position only if the fields are complete, and
        servers send 101 without `Connection: Upgrade`.
        """
        while data and not self._response.in_body:
            end = data.find(b"\n") + 1 or len(data)
            try:
                self._parser.feed_data(data[:end])
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                if not self._response.upgraded:
                    raise
            data = data[end:]
        return data

    # Called by httptools. Exceptions reach `data_received` as the context of an `HttpParserError`.

    def on_message_begin(self) -> None:
        """The first byte of a response."""
        if self._response.complete:
            raise ValueError("the server sent more than one response")
        self._response.headers, self._response.trailers = [], []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head or of the trailer section."""
        response = self._response
        name, value = name.lower(), value.rstrip(b" \t")
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            raise ValueError(f"the transfer coding {value!r} is not supported")
        (response.trailers if response.in_body else response.headers).append((name, value))

    def on_headers_complete(self) -> None:
        """The end of a head, informational or final."""
        exchange, status = self._exchange, self._parser.get_status_code()
        assert exchange is not None
        if status < 100:
            raise ValueError(f"the status {status:03} is invalid")
        if status == 100:
            self._resolve_continue(send_body=True)
        elif status < 200 and status != 101:
            exchange.on_head(status, self._response.headers)
        else:
            self._begin_body(exchange, status)

    def _begin_body(self, exchange: Http1Exchange, status: int) -> None:
        """Report the final head."""
        response = self._response
        response.upgraded = status == 101
        if response.upgraded and not self._request.upgrades:
            raise ValueError("it switched to another protocol, which the request did not ask for")
        response.in_body, response.head_size = True, 0
        response.keep_alive = self._parser.should_keep_alive()  # not available after the end of the message
        if not response.upgraded:
            self._resolve_continue(send_body=False)
        exchange.on_head(status, response.headers)
        if self._request.method == "HEAD":
            response.complete = True

    def on_body(self, data: bytes) -> None:
        """Bytes of the body."""
        if self._response.complete or not self._response.in_body:
            raise ValueError("the response has a body that is not allowed")
        self._response.parts.append(data)  # reported once for each read: events are many and small

    def on_message_complete(self) -> None:
        """The end of a response, informational or final."""
        if self._response.in_body and not self._response.complete:
            self._response.complete = True

    def _finish(self) -> None:
        """If the response is complete, report it, and keep the connection for the next request if possible."""
        exchange = self._exchange
        if exchange is None or not self._response.complete:
            return
        keep = self._sent and self._response.keep_alive and not self.transport.is_closing()
        self._exchange = None
        exchange.on_response_end(self._response.trailers)
        if not keep:
            self.abort()
            return
        if self._request.method == "HEAD":
            self._parser = httptools.HttpResponseParser(self)
        self.resume_reading()
        self._pool.release(self, self._response.headers)

    def _deliver_body(self, exchange: Http1Exchange, size: int) -> None:
        response = self._response
        if response.parts:
            parts, response.parts, response.head_size = response.parts, [], 0
            if not exchange.on_response_body(parts, size) and self._reading:
                self._reading = False
                self.transport.pause_reading()

    def _upgrade(self, exchange: Http1Exchange, rest: bytes) -> None:
        self.transport.pause_reading()
        self._exchange = None
        self._pool.on_closed(self)
        exchange.on_upgrade(self.transport, rest)

    def _ends_at_close(self) -> bool:
        names = {name for name, _ in self._response.headers}
        return self._response.in_body and not names & {b"content-length", b"transfer-encoding"}

    def _error(self, why: str) -> UpstreamError:
        return broken_off(self._pool.address, why)

    def _resolve_continue(self, *, send_body: bool) -> None:
        if self._continue is not None and not self._continue.done():
            self._continue.set_result(send_body)
