"""`Http1Protocol`: one connection of a client.

The protocols of other ASGI servers do not fit a proxy. This one refuses requests that two parsers could read
differently, limits what a slow client can hold, and supports what ASGI lacks or makes optional: early hints (103),
trailers, an empty query, and upgrades.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.http1 import tunnel
from ap_resume_shim.http1.disconnect import is_disconnected
from ap_resume_shim.http1.head import Refused, build_scope, encode_error, encode_head
from ap_resume_shim.http1.request_parser import RequestParser
from ap_resume_shim.http1.request_response_cycle import RequestResponseCycle

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ap_resume_shim.http1.server import Http1Server

READ_AHEAD = 64 * 1024
"""Bytes that are read ahead, not counting the latest read: of a body that the app has not received, or after a request
that has no response yet. Reading must go on there, because asyncio notices a disconnect only while it reads."""
LINGER = 2.0
"""Seconds for which a connection stays open after a response that was sent before the end of its request, so that the
client can read it (RFC 9112, section 9.6)."""


class Http1Protocol(asyncio.Protocol):
    """One connection of a client. The limits are attributes of the class."""

    max_head = 64 * 1024
    """Maximum size of a request's head, in bytes."""
    max_message = 16 * 1024 * 1024
    """Maximum size of a client's message in a WebSocket that this server reads, in bytes."""
    io_timeout = 60.0
    """Maximum time without progress, in seconds: of a body that the app waits for, or of a response being sent."""
    head_timeout = 20.0
    """Maximum time for a complete head, in seconds, from its first byte; for the first request, from the connection."""

    transport: asyncio.Transport

    @staticmethod
    def reads_websocket(scope: Scope) -> bool:
        """Return True for a WebSocket that the app gets as one, with its messages, instead of a tunnel."""
        return False

    def __init__(self, server: Http1Server, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._server = server
        self._context = copy_context()  # while a request is parsed, the current one may be that of an earlier request
        self._connection_scope: dict[str, Any] = {}
        self._parser = RequestParser(self, self.max_head)
        self._closing = False
        self._unparsed = b""  # bytes that were read, but not parsed
        self._current: RequestResponseCycle | None = None  # the cycle whose response is incomplete
        self._latest: RequestResponseCycle | None = (
            None  # the cycle of the latest head, whose request may be incomplete
        )
        self._reading = True
        self._writable: asyncio.Future[None] | None = None
        self.write_paused = False
        self._unsent = 0
        self._deadline = 0.0

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock, and the time limit for the first head."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._server.connections.add(self)
        self._connection_scope = {
            "server": _asgi_address(transport.get_extra_info("sockname")),
            "client": _asgi_address(transport.get_extra_info("peername")),
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
            "root_path": "",
        }
        self._set_deadline(self.head_timeout)
        self._server.clock.run(self.loop)

    def connection_lost(self, error: Exception | None) -> None:
        """Report the disconnect to the app, unless its response is complete."""
        self._server.connections.discard(self)
        self.resume_writing()
        self._unparsed = b""
        if self._current is not None:
            self._current.disconnect()
        self._latest = None
        self._parser.close()
        del self._parser  # which refers to this connection

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, or keep them until the response of the current request is complete."""
        if self._closing:
            return  # discarded: the client may still be reading the response
        self._unparsed = self._unparsed + data if self._unparsed else data
        self._parse()

    def _parse(self) -> None:
        """Parse until the end of the current request. The bytes after it are parsed when its response is complete."""
        rest, at = self._unparsed, 0
        while at < len(rest) and self._may_parse():
            try:
                at = self._parser.feed(rest, at)
            except Refused as refused:
                self._refuse(refused.status, str(refused))
                break
        self._unparsed = b"" if self._closing else rest[at:]
        if self._is_full():
            self._pause_reading()

    def _may_parse(self) -> bool:
        if self._current is None:
            return not self._closing
        body = self._current.body
        return not body.complete and body.buffered <= READ_AHEAD

    def _is_full(self) -> bool:
        return len(self._unparsed) > READ_AHEAD or (
            self._current is not None and self._current.body.buffered > READ_AHEAD
        )

    def pause_writing(self) -> None:
        """The write buffer is full: the client does not read."""
        self.write_paused = True
        self._set_deadline(self.io_timeout)

    def resume_writing(self) -> None:
        """The write buffer has room again: wake `writable`."""
        self.write_paused = False
        if self._current is not None:
            self._deadline = 0.0
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # Called by the parser.

    def on_request_begin(self) -> None:
        """Start the time limit for the head."""
        if self._current is not None:  # `RequestFraming` and llhttp would have to disagree on where the last one ended
            raise Refused(400, "A request began inside the one before it.")
        self._set_deadline(self.head_timeout)

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
        """Create the cycle and start its task."""
        open_tunnel = self._open_tunnel if upgrade and method == b"GET" else None
        scope = build_scope(method, target, version, headers, upgrade=open_tunnel)
        scope.update(self._connection_scope)
        app: ASGIApp = self._server.app
        if open_tunnel is not None and _asks_for_websocket(headers) and self.reads_websocket(scope):
            app = self._call_with_websocket
        cycle = self._current = self._latest = RequestResponseCycle(self, scope, keep_alive, expects_continue)
        self._deadline = 0.0
        cycle.task = self.loop.create_task(cycle.run(app), context=self._context.copy())
        self._server.tasks.add(cycle.task)

    def on_request_body(self, data: bytes) -> None:
        """Hand the data to the cycle."""
        assert self._latest is not None
        self._latest.on_body(data)
        if not self.write_paused and self._latest is self._current:
            self._deadline = 0.0

    def on_request_end(self, trailers: HeaderList) -> None:
        """Complete the request of the cycle."""
        assert self._latest is not None
        if not self._latest.keep_alive:
            self._closing = True
        self._latest.on_body_end(trailers)

    # Called by the cycle.

    def on_app_returned(self, cycle: RequestResponseCycle) -> None:
        """Drop the reference to the task of the cycle."""
        self._server.tasks.discard(cycle.task)
        if cycle.disconnected:
            self._current = None

    def flush_soon(self, cycle: RequestResponseCycle) -> None:
        """Delay the head of a response: usually its body follows at once, and both are sent in one write."""
        self._server.clock.flush_soon(cycle)

    def on_response_complete(self, cycle: RequestResponseCycle) -> None:
        """Continue with the next request, or wait for one."""
        self._current = None
        if self.transport.is_closing():
            return
        if not cycle.body.complete:
            self._linger(reuse=cycle.keep_alive)
        elif not cycle.keep_alive:
            self.transport.close()
        elif self._unparsed and is_disconnected(self.transport):
            self.transport.close()  # nobody would receive the response to the next request
        else:
            self._set_deadline(self._server.keep_alive)
            self.resume_reading()

    def on_drained(self, cycle: RequestResponseCycle) -> None:
        """Start the time limit for the next request."""
        self._set_deadline(self._server.keep_alive)

    def _linger(self, *, reuse: bool) -> None:
        """Read and discard for a while, so that the client can read its response (RFC 9112, section 9.6).

        `reuse`: parse the rest of the request, after which another one may follow.
        """
        self._closing = not reuse
        self._set_deadline(LINGER)
        self.resume_reading()

    async def writable(self) -> None:
        """Wait until the write buffer has room; called while `write_paused`."""
        self._writable = self.loop.create_future()
        await self._writable

    def on_body_awaited(self) -> None:
        """Start the time limit for the next part of the body, and read on."""
        if not self.write_paused:
            self._set_deadline(self.io_timeout)
        self.resume_reading()

    def resume_reading(self) -> None:
        """Parse the buffered bytes, and read on unless too many remain."""
        if self._unparsed:
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
        """Respond with 101, and relay bytes between this connection and `other` until both are closed."""
        transport, unparsed = self._switch(headers, first)
        if unparsed:
            other.write(unparsed)
        await tunnel.relay(transport, other, idle)

    async def _call_with_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app with an upgrade as a WebSocket."""
        from ap_resume_shim.http1.websocket import WebSocket

        await WebSocket(scope, receive, send, self._switch, self.max_message).run(self._server.app)

    def _switch(self, headers: HeaderList, first: bytes = b"") -> tuple[asyncio.Transport, bytes]:
        """Respond with 101, and the `first` bytes after it.

        Return the connection, with reading paused, and the bytes that were already read from it. The caller owns the
        connection from now on.
        """
        cycle = self._current
        assert cycle is not None
        cycle.started = cycle.complete = True
        self._server.connections.discard(self)
        self._pause_reading()
        self.transport.write(encode_head(101, headers) + first)
        return self.transport, self._unparsed

    # The end of the connection.

    def _refuse(self, status: int, message: str) -> None:
        """Respond to a request that cannot be parsed, and close: the bytes after it cannot be parsed either."""
        self._closing = True
        if self._latest is not None and not self._latest.body.complete:
            self._latest.disconnect()
            if self._latest.started:
                self.transport.abort()
                return
            self._current = None
        self.transport.write(encode_error(status, message))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger(reuse=False)

    def _set_deadline(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds

    def tick(self, now: float) -> None:
        """Called once a second: close the connection if a time limit is over or the client has disconnected."""
        if self.transport.is_closing() and (unsent := self.transport.get_write_buffer_size()) != self._unsent:
            self._unsent = unsent  # the end of a response, with the same time limit as its beginning
            self._set_deadline(self.io_timeout)
            return
        if not self._reading and is_disconnected(self.transport):
            self.transport.abort()
        if not self._deadline or now < self._deadline:
            return
        self._deadline = 0.0
        if self._current is not None or self.transport.is_closing():
            self.transport.abort()
        elif self._parser.in_head and not self._closing:
            self._refuse(408, f"The request's head was not complete within {self.head_timeout:g} seconds.")
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Close an idle connection; a busy one is closed after its response."""
        if self._current is None:
            self.transport.close()
        else:
            self._current.keep_alive = False


def _asks_for_websocket(headers: HeaderList) -> bool:
    return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in headers)


def _asgi_address(address: Any) -> tuple[str, int | None] | None:
    """Return ASGI's `client` or `server` for a socket address; None for an unnamed Unix socket."""
    if isinstance(address, str) and address:
        return address, None
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None
