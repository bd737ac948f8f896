"""`Connection`: one connection to the server behind; it writes requests and parses answers, one at a time."""

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

HEAD = 256 * 1024
"""Bytes of an answer's head, with the informational ones before it, and again of its trailer section, at most."""
TAKES = 60.0
"""Seconds in which a server has to take a part of a body; one that takes none would hold what has left already."""
CONTINUE = 1.0
"""Seconds that a server is given to say 100 before the body is sent anyway (RFC 9110, section 10.1.1)."""


class Connection(asyncio.Protocol):
    """The client's side of one connection."""

    transport: asyncio.Transport

    def __init__(self, owner: Http1Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.usable_until = loop, 0.0
        self._owner = owner
        self._exchange: Http1Exchange | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._bodiless = False
        self._headers: HeaderList = []
        self._trailers: HeaderList = []
        self._parts: list[bytes] = []
        self._in_body = self._over = self._keep = self._heard = self._may_switch = self._switched = False
        self._sent = self._reading = True
        self._fields = 0
        self._writable: asyncio.Future[None] | None = None
        self._paused = False
        self._continue: asyncio.Future[bool] | None = None

    # Requests.

    def begin(self, exchange: Http1Exchange, request: UpstreamRequest) -> None:
        """Send a request's head; the exchange hears what comes back."""
        self._exchange = exchange
        self._bodiless = request.method == "HEAD"
        self._sent = request.body is None
        self._may_switch = request.upgrades
        self._over = self._in_body = self._heard = False
        self._fields = 0
        parts = [request.method.encode("ascii"), b" ", request.target, b" HTTP/1.1\r\n"]
        for name, value in request.headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n")
        self.transport.write(b"".join(parts))

    async def write(self, data: bytes) -> None:
        """Send a part of a body, as fast as the server takes it."""
        if self.transport.is_closing():
            raise self._broken("it closed the connection")
        if data:
            self.transport.write(data)
        if self._paused:
            await self._until_taken()

    async def _until_taken(self) -> None:
        self._writable, untaken = self.loop.create_future(), 0
        while not self._writable.done():
            before, untaken = untaken, self.transport.get_write_buffer_size()
            if untaken == before:
                raise too_slow(self._owner.address, f"took nothing of the request's body for {TAKES:g} seconds")
            await asyncio.wait({self._writable}, timeout=TAKES)

    async def may_go_on(self) -> bool:
        """Wait for a 100; False when the answer came instead."""
        self._continue = self.loop.create_future()
        done, _ = await asyncio.wait({self._continue}, timeout=CONTINUE)
        return self._continue.result() if done else True

    def request_is_over(self) -> None:
        """The whole request was sent."""
        self._sent = True
        self._release()

    def abort(self) -> None:
        """Close at once."""
        self._owner.closed(self)
        self._exchange = None
        self.transport.abort()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        enable_keep_alive(transport.get_extra_info("socket"))
        self._owner.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Closed by the server, or by us."""
        self._owner.closed(self)
        self.resume_writing()
        self._tell_pump(go_on=False)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        if self._ends_with_the_connection() and error is None:
            exchange.on_response_end([])
            return
        exchange.on_error(self._broken(str(error or "it closed the connection")), no_bytes=not self._heard)

    def eof_received(self) -> None:
        """Nothing more will come."""
        if self._exchange is None:
            self._owner.closed(self)

    def pause_writing(self) -> None:
        """The server does not take what is sent."""
        self._paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self._paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def resume_reading(self) -> None:
        """The client took what had been read."""
        if not self._reading:
            self._reading = True
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Parse."""
        exchange = self._exchange
        if exchange is None:
            self.abort()  # nobody asked
            return
        self._heard = True
        self._fields += len(data)
        try:
            rest = self._parse_head(data) if self._may_switch and not self._in_body else data
            if self._switched:
                self._upgrade(exchange, rest)
                return
            self._parser.feed_data(rest)
            self._hand_over(exchange, len(data))
        except httptools.HttpParserError as error:
            self._hand_over(exchange, len(data))
            if self._over:  # the answer is whole, what came after it is nobody's
                exchange.on_response_end(self._trailers)
            else:
                exchange.on_error(self._broken(f"what it sent is not HTTP: {error.__context__ or error}"))
            self.abort()
            return
        if self._over:
            self._release()
        elif self._fields > HEAD:
            section = "trailer section" if self._in_body else "head"
            exchange.on_error(self._broken(f"the {section} of its answer is larger than {HEAD} bytes"))
            self.abort()

    def _parse_head(self, data: bytes) -> bytes:
        """Parse line by line up to the end of a head, and return what follows it.

        After a 101, the next byte is no longer HTTP. llhttp gives its position only if the fields are complete, and
        servers send 101 without `Connection: Upgrade`.
        """
        while data and not self._in_body:
            end = data.find(b"\n") + 1 or len(data)
            try:
                self._parser.feed_data(data[:end])
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                if not self._switched:
                    raise
            data = data[end:]
        return data

    # llhttp's side.

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._over:
            raise ValueError("the server sent more than one answer")
        self._headers, self._trailers = [], []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field, of the head or of the trailer."""
        name, value = name.lower(), value.rstrip(b" \t")
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            raise ValueError(f"the transfer coding {value!r} was not asked for")
        (self._trailers if self._in_body else self._headers).append((name, value))

    def on_headers_complete(self) -> None:
        """A head is there."""
        exchange, status = self._exchange, self._parser.get_status_code()
        assert exchange is not None
        if status < 100:
            raise ValueError(f"the status {status:03} is none")
        if status == 100:
            self._tell_pump(go_on=True)
        elif status < 200 and status != 101:
            exchange.on_head(status, self._headers)
        else:
            self._begin_body(exchange, status)

    def _begin_body(self, exchange: Http1Exchange, status: int) -> None:
        """The head is the final one."""
        self._switched = status == 101
        if self._switched and not self._may_switch:
            raise ValueError("it changed to another protocol, and was not asked to")
        self._in_body, self._fields = True, 0
        self._keep = self._parser.should_keep_alive()  # llhttp forgets it with the message
        if not self._switched:
            self._tell_pump(go_on=False)
        exchange.on_head(status, self._headers)
        if self._bodiless:
            self._over = True

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self._over or not self._in_body:
            raise ValueError("an answer has a body that it must not have")
        self._parts.append(data)  # events are many and small: the exchange hears of all in one read at once

    def on_message_complete(self) -> None:
        """The end of an answer, or of an informational one."""
        if self._in_body and not self._over:
            self._over = True

    def _release(self) -> None:
        """The answer is over: keep the connection if both sides may, and tell the exchange."""
        exchange = self._exchange
        if exchange is None or not self._over:
            return
        keep = self._sent and self._keep and not self.transport.is_closing()
        self._exchange = None
        exchange.on_response_end(self._trailers)
        if not keep:
            self.abort()
            return
        if self._bodiless:
            self._parser = httptools.HttpResponseParser(self)
        self.resume_reading()
        self._in_body = self._over = False
        self._owner.give_back(self, self._headers)

    def _hand_over(self, exchange: Http1Exchange, size: int) -> None:
        if self._parts:
            parts, self._parts, self._fields = self._parts, [], 0
            if not exchange.on_response_body(parts, size) and self._reading:
                self._reading = False
                self.transport.pause_reading()

    def _upgrade(self, exchange: Http1Exchange, rest: bytes) -> None:
        self.transport.pause_reading()
        self._exchange = None
        self._owner.closed(self)
        exchange.on_upgrade(self.transport, rest)

    def _ends_with_the_connection(self) -> bool:
        names = {name for name, _ in self._headers}
        return self._in_body and not names & {b"content-length", b"transfer-encoding"}

    def _broken(self, why: str) -> UpstreamError:
        return broken_off(self._owner.address, why)

    def _tell_pump(self, *, go_on: bool) -> None:
        if self._continue is not None and not self._continue.done():
            self._continue.set_result(go_on)
