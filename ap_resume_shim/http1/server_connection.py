"""`Http1Protocol`: one connection of a client.

No ASGI server's own protocol takes its place: a proxy has to refuse what two parsers could read differently, to bound
what a slow client holds, and to hand on what ASGI alone has no words for: 103, trailers, an empty query, an upgrade.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.http1 import tunnel
from ap_resume_shim.http1.ends import has_left
from ap_resume_shim.http1.head import Refused, head, plain, scope_of
from ap_resume_shim.http1.request_parser import RequestParser
from ap_resume_shim.http1.request_response_cycle import Request

if TYPE_CHECKING:
    from ap_resume_shim.http1.server import Http1Server

AHEAD = 64 * 1024
"""Bytes that are read ahead (and what one read brings): of a body that the app has not taken, or behind a request
without its answer. They are read because asyncio notices a client's leaving only by reading."""
LINGER = 2.0
"""Seconds in which a client that still sends may read an answer that did not wait for it."""


class Http1Protocol(asyncio.Protocol):
    """One connection of a client."""

    max_head = 64 * 1024
    """Bytes of a request's head, at most."""
    patience = 60.0
    """Seconds without a byte: of a body that is waited for, or of an answer that the client does not take."""
    patience_for_head = 20.0
    """Seconds for a whole head, from its first byte or from the connection's beginning."""

    transport: asyncio.Transport

    def __init__(self, server: Http1Server, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._server = server
        self._peers: dict[str, Any] = {}
        self._parser = RequestParser(self, self.max_head)
        self._closing = False
        self._rest = b""  # read, and not parsed
        self._current: Request | None = None  # without its whole answer
        self._newest: Request | None = None  # the one that is parsed, or was
        self._reading = True
        self._writable: asyncio.Future[None] | None = None
        self._write_paused = False
        self._untaken = 0
        self._deadline = 0.0

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._server.connections.add(self)
        self._peers = {
            "server": _address(transport.get_extra_info("sockname")),
            "client": _address(transport.get_extra_info("peername")),
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
            "root_path": "",
        }
        self._within(self.patience_for_head)
        self._server.clock.run(self.loop)

    def connection_lost(self, error: Exception | None) -> None:
        """The client has left, or we have closed."""
        self._server.connections.discard(self)
        self.resume_writing()
        self._rest = b""
        if self._current is not None:
            self._current.disconnect()

    def data_received(self, data: bytes) -> None:
        """Parse, as far as it is time to."""
        if self._closing:
            return  # unread, so that the client may read
        self._rest = self._rest + data if self._rest else data
        self._parse()

    def _parse(self) -> None:
        """Feed the parser to the end of a request, and no further before it is answered: what waits are bytes."""
        rest, at = self._rest, 0
        while at < len(rest) and self._wants_more():
            try:
                at = self._parser.feed(rest, at)
            except Refused as refused:
                self._refuse(refused.status, str(refused))
                break
        self._rest = b"" if self._closing else rest[at:]
        if self._is_full():
            self._pause_reading()

    def _wants_more(self) -> bool:
        if self._current is None:
            return not self._closing
        return self._current.more_body and self._current.ahead <= AHEAD

    def _is_full(self) -> bool:
        return len(self._rest) > AHEAD or (self._current is not None and self._current.ahead > AHEAD)

    def pause_writing(self) -> None:
        """The client does not take what is sent."""
        self._write_paused = True
        self._within(self.patience)

    def resume_writing(self) -> None:
        """It does again."""
        self._write_paused = False
        if self._current is not None:
            self._deadline = 0.0
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # The parser's side.

    def on_request_begin(self) -> None:
        """A request begins."""
        if self._current is not None:  # were the end of the one before not where it was looked for
            raise Refused(400, "A request began inside the one before it.")
        self._within(self.patience_for_head)

    def on_request_head(
        self,
        method: bytes,
        target: bytes,
        version: str,
        headers: HeaderList,
        upgrade: bool,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        """The head is whole: begin."""
        opens = self._open_tunnel if upgrade and method == b"GET" else None
        scope = scope_of(method, target, version, headers, upgrade=opens)
        scope.update(self._peers)
        self._newest = Request(self, scope, keep_alive=keep_alive, expects_continue=expects_continue)
        self._begin(self._newest)

    def on_request_body(self, data: bytes) -> None:
        """A part of the body."""
        assert self._newest is not None
        self._newest.on_body(data)
        if not self._write_paused and self._newest is self._current:
            self._deadline = 0.0

    def on_request_end(self, trailers: HeaderList) -> None:
        """The request is whole."""
        assert self._newest is not None
        if not self._newest.keep_alive:
            self._closing = True
        self._newest.on_body_end(trailers)

    # Requests, one after the other.

    def _begin(self, request: Request) -> None:
        self._current = request
        self._deadline = 0.0
        request.task = self.loop.create_task(request.run(self._server.app))
        self._server.tasks.add(request.task)

    def ended(self, request: Request) -> None:
        """The app has returned."""
        self._server.tasks.discard(request.task)

    def hold(self, request: Request) -> None:
        """A head was not written yet: its body may come in the same moment, and one write for both is half the work."""
        self._server.clock.hold(request)

    def answered(self, request: Request) -> None:
        """An answer is whole: go on with the next request, or wait for one."""
        self._current = None
        if self.transport.is_closing():
            return
        if request.more_body:
            request.discard_body = True
            self._linger(read=request.keep_alive)
        elif not request.keep_alive:
            self.transport.close()
        elif self._rest and has_left(self.transport):
            self.transport.close()  # nobody would see the answer to what comes next
        else:
            self._within(self._server.keep_alive)
            self.resume_reading()

    def on_drained(self, request: Request) -> None:
        """The rest of an answered request came."""
        self._within(self._server.keep_alive)

    def _linger(self, *, read: bool) -> None:
        """Let the client send on, for a while: one that is cut off would not see its answer (RFC 9112, 9.6).

        `read`: what it sends is the rest of a request, and another one may come after it.
        """
        self._closing = not read
        self._within(LINGER)
        self.resume_reading()

    async def writable(self) -> None:
        """Wait until the client takes what was sent."""
        if self._write_paused:
            self._writable = self.loop.create_future()
            await self._writable

    def waits_for_body(self) -> None:
        """The app wants more of a body."""
        if not self._write_paused:
            self._within(self.patience)
        self.resume_reading()

    def resume_reading(self) -> None:
        """Go on parsing, and then reading, unless too much waits already."""
        self._parse()
        if not self._reading and not self._is_full() and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

    def _pause_reading(self) -> None:
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    async def _open_tunnel(
        self, headers: HeaderList, other: asyncio.Transport, first: bytes, *, idle: float | None = None
    ) -> None:
        """Answer 101, and be joined to another connection from now on."""
        request = self._current
        assert request is not None
        request.started = request.complete = True
        self._server.connections.discard(self)
        self._pause_reading()
        self.transport.write(head(101, headers) + first)
        if self._rest:
            other.write(self._rest)
        await tunnel.join(self.transport, other, idle)

    # Ends.

    def _refuse(self, status: int, message: str) -> None:
        """Answer what cannot be read, and close: what follows it cannot be read either."""
        self._closing = True
        if self._newest is not None and self._newest.more_body:
            self._newest.disconnect()
            if self._newest.started:
                self.transport.abort()
                return
            self._current = None
        self.transport.write(plain(status, message))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger(read=False)

    def _within(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds

    def tick(self, now: float) -> None:
        """Close what has taken too long."""
        if self.transport.is_closing() and (untaken := self.transport.get_write_buffer_size()) != self._untaken:
            self._untaken = untaken  # the end of an answer, which a client may take as slowly as what came before
            self._within(self.patience)
            return
        if not self._reading and has_left(self.transport):
            self.transport.abort()
        if not self._deadline or now < self._deadline:
            return
        self._deadline = 0.0
        if self._current is not None or self.transport.is_closing():
            self.transport.abort()
        elif self._parser.in_head and not self._closing:
            self._refuse(408, f"The request's head was not there within {self.patience_for_head:g} seconds.")
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Take no more requests. One that is under way may end."""
        if self._current is None:
            self.transport.close()
        else:
            self._current.keep_alive = False


def _address(address: Any) -> tuple[str, int | None] | None:
    """ASGI's `client` or `server`, of a socket's name."""
    if isinstance(address, str) and address:
        return address, None
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None
