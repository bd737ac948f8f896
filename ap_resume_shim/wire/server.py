"""`Http1Protocol`: the clients' side of the sidecar, as a protocol class for uvicorn (`Config(http=Http1Protocol)`).

uvicorn stays the server: sockets, TLS, signals, workers, the end. This takes the place of its HTTP protocol, since a
proxy has to refuse what two parsers could read differently, to bound what a slow client holds, and to hand on what ASGI
alone has no words for: 103, trailers, an empty query, an upgrade.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import httptools

from ap_resume_shim.wire import tunnel
from ap_resume_shim.wire.heads import HeaderList, Refused, head, plain, refuse_large, scope_of
from ap_resume_shim.wire.request import Request

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

AHEAD = 64 * 1024
"""Bytes of a body that are read ahead of the app."""
PIPELINED = 16
"""Requests that wait for the one before; more are not read. What is not read tells nothing of a client's leaving."""
LINGER = 2.0
"""Seconds in which a client that still sends may read an answer that did not wait for it."""


METHODS = frozenset(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND "
    b"UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK "
    b"UNLINK SOURCE QUERY PRI".split()
)
"""Those that llhttp knows, and the beginning of HTTP/2, which is for it to refuse."""
FRAMING = frozenset({b"content-length", b"transfer-encoding"})
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Http1Protocol(asyncio.Protocol):
    """One connection of a client."""

    max_head = 64 * 1024
    """Bytes of a request's head, at most."""
    patience = 60.0
    """Seconds without a byte: of a body that is waited for, or of an answer that the client does not take."""
    patience_for_head = 20.0
    """Seconds for a whole head, from its first byte or from the connection's beginning."""

    transport: asyncio.Transport

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """As uvicorn calls it."""
        if not config.loaded:
            config.load()
        self.loop = _loop or asyncio.get_event_loop()
        self._app, self._root, self._app_state = config.loaded_app, config.root_path, app_state
        self._keep_alive: float = config.timeout_keep_alive
        self._state = server_state
        self._peers: dict[str, Any] = {}
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: HeaderList = []
        self._in_message = self._in_head = self._expects = self._closing = False
        self._method: bytes | None = None
        self._trailers: HeaderList = []
        self._framing: HeaderList = []
        self._progress = self._fruitless = self._read = self._fed = 0
        self._after_upgrade: bytearray | None = None
        self._current: Request | None = None
        self._newest: Request | None = None
        self._waiting: deque[Request] = deque()
        self._reading = True
        self._writable: asyncio.Future[None] | None = None
        self._write_paused = False
        self._untaken = 0
        self._deadline = 0.0
        self._clock: _Clock

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._state.connections.add(self)  # type: ignore[arg-type]
        self._peers = {
            "server": _address(transport.get_extra_info("sockname")),
            "client": _address(transport.get_extra_info("peername")),
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
            "root_path": self._root,
        }
        self._within(self.patience_for_head)
        self._clock = _Clock.of(self._state, self.loop)

    def connection_lost(self, error: Exception | None) -> None:
        """The client has left, or we have closed."""
        self._state.connections.discard(self)
        self.resume_writing()
        for request in (self._current, *self._waiting):
            if request is not None:
                request.disconnect()
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Parse."""
        if self._closing:
            return  # unread, so that the client may read
        if self._after_upgrade is not None:
            self._after_upgrade += data
            if len(self._after_upgrade) > AHEAD:
                self._pause_reading()
            return
        before = self._progress
        self._read = len(data)
        self._fed += self._read
        if not self._in_message:
            data = self._known(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self._framing:
                self._parse_body(rest)
            else:
                self._after_upgrade = bytearray(rest)
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, Refused):
                self._refuse(error.__context__.status, str(error.__context__))
            elif not self._closing:  # "Connection: close", and more after it: that is nobody's
                self._refuse(400, f"This is not a request that can be passed on: {str(error).rstrip('.')}.")
        else:
            self._fruitless = 0 if self._progress != before else self._fruitless + len(data)
            if self._fruitless > self.max_head:
                self._refuse(431, f"The request's head is larger than {self.max_head} bytes.")

    def _known(self, data: bytes) -> bytes:
        """llhttp knows the methods that it knows: any other that begins a read has a stand-in while it parses.

        A method in two reads, or in the middle of one, is refused unless llhttp knows it.
        """
        method, space, rest = data.partition(b" ")
        if method in METHODS or not space or not TOKEN.fullmatch(method):
            return data
        self._method = method
        return b"POST " + rest

    def _parse_body(self, rest: bytes) -> None:
        """httptools takes what follows a wish for an upgrade for another protocol. A body is one all the same: else it
        would be read as a request of its own. So a new parser is told how long it is.
        """
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b: %b\r\n\r\n" % self._framing[0])
        self._framing.clear()
        self.data_received(rest)

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

    # llhttp's side.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._framing:
            return
        self._url, self._headers, self._trailers = b"", [], []
        self._in_head, self._in_message, self._expects = True, True, False
        self._progress += 1
        if self._current is None:
            self._within(self.patience_for_head)

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        if self._framing:
            return
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or one after the body."""
        if self._framing:
            return
        name = name.lower()
        if name == b"expect":
            self._expects = self._in_head and value.lower() == b"100-continue"
        (self._headers if self._in_head else self._trailers).append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is whole: begin, or wait for the request before."""
        if self._framing:
            return
        self._in_head = False
        self._progress += 1
        parser = self._parser
        method, self._method = self._method or parser.get_method(), None
        if self._fed > self.max_head:  # with what came before it in the same read
            refuse_large(self._url, self._headers, self.max_head)
        if upgrades := parser.should_upgrade():
            self._framing = [field for field in self._headers if field[0] in FRAMING and field[1] != b"0"]
        scope = scope_of(
            method,
            self._url,
            parser.get_http_version(),
            self._headers,
            upgrade=self._open_tunnel if upgrades and not self._framing and method == b"GET" else None,
        )
        scope.update(self._peers)
        scope["state"] = self._app_state.copy()
        if self._root:
            scope["path"] = self._root + scope["path"]
            scope["raw_path"] = self._root.encode() + scope["raw_path"]
        self._newest = Request(self, scope, keep_alive=parser.should_keep_alive(), expects=self._expects)
        if self._current is None:
            self._begin(self._newest)
        else:
            self._waiting.append(self._newest)
            if len(self._waiting) >= PIPELINED:
                self._pause_reading()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        assert self._newest is not None
        self._progress += 1
        if self._newest.took(data) > AHEAD:
            self._pause_reading()
        if not self._write_paused and self._newest is self._current:
            self._deadline = 0.0

    def on_message_complete(self) -> None:
        """The request is whole."""
        assert self._newest is not None
        if self._framing:
            return
        self._progress += 1
        self._in_message, self._fed = False, self._read
        if not self._newest.keep_alive:
            self._closing = True
        self._newest.took_all(self._trailers)

    # Requests, one after the other.

    def _begin(self, request: Request) -> None:
        self._current = request
        self._deadline = 0.0
        request.task = self.loop.create_task(request.run(self._app))
        self._state.tasks.add(request.task)

    def ended(self, request: Request) -> None:
        """The app has returned."""
        self._state.tasks.discard(request.task)

    def hold(self, request: Request) -> None:
        """A head was not written yet: its body may come in the same moment, and one write for both is half the work."""
        self._clock.hold(request)

    def answered(self, request: Request) -> None:
        """An answer is whole: go on with the next request, or wait for one."""
        self._state.total_requests += 1
        self._current = None
        if self.transport.is_closing():
            return
        if request.more_body:
            request.drops = True
            self._linger(read=request.keep_alive)
        elif not request.keep_alive:
            self.transport.close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
            self.resume_reading()
        else:
            self._within(self._keep_alive)
            rest, self._after_upgrade = self._after_upgrade, None
            self.resume_reading()
            if rest:
                self.data_received(bytes(rest))

    def lingered(self, request: Request) -> None:
        """The rest of an answered request came."""
        self._within(self._keep_alive)

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
        """Go on reading, unless too much waits already."""
        if self._reading or self.transport.is_closing():
            return
        if self._after_upgrade is None and len(self._waiting) < PIPELINED:
            self._reading = True
            self.transport.resume_reading()

    def _pause_reading(self) -> None:
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    async def _open_tunnel(self, headers: HeaderList, other: asyncio.Transport, first: bytes) -> None:
        """Answer 101, and be joined to another connection from now on."""
        request, rest = self._current, self._after_upgrade
        assert request is not None
        request.started = request.complete = True
        self._state.connections.discard(self)
        self._pause_reading()
        self.transport.write(head(101, headers) + first)
        if rest:
            other.write(bytes(rest))
        await tunnel.join(self.transport, other)

    # Ends.

    def _refuse(self, status: int, message: str) -> None:
        """Answer what cannot be read, and close: what follows it cannot be read either.

        A request that is under way is answered instead, unless it is the one that cannot be read.
        """
        self._in_head, self._closing = False, True
        if self._newest is not None and self._newest.more_body:
            self._newest.disconnect()
            if self._newest in self._waiting:
                self._waiting.remove(self._newest)
            elif self._newest.started:
                self.transport.abort()
                return
            else:
                self._current = None
        for request in (self._current, *self._waiting):
            if request is not None:
                request.keep_alive = False
        if self._current is None:
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
        if not self._deadline or now < self._deadline:
            return
        self._deadline = 0.0
        if self._current is not None or self.transport.is_closing():
            self.transport.abort()
        elif self._in_head:
            self._refuse(408, f"The request's head was not there within {self.patience_for_head:g} seconds.")
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """No more requests (uvicorn's word for it). One that is under way may end."""
        if self._current is None:
            self.transport.close()
        else:
            self._current.keep_alive = False


class _Clock:
    """What the connections of a server share: a timer for each request would cost more than the request."""

    _all: WeakKeyDictionary[ServerState, _Clock] = WeakKeyDictionary()

    def __init__(self, connections: set[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._connections, self._loop = connections, loop
        self._running = False
        self._held: list[Request] = []

    @classmethod
    def of(cls, state: ServerState, loop: asyncio.AbstractEventLoop) -> _Clock:
        """The server's own; runs while there are connections."""
        clock = cls._all.get(state)
        if clock is None:
            clock = cls._all[state] = cls(state.connections, loop)
        if not clock._running:
            clock._running = True
            loop.call_later(1.0, clock._tick)
        return clock

    def _tick(self) -> None:
        """Once a second."""
        now = self._loop.time()
        for connection in list(self._connections):
            connection.tick(now)
        self._running = bool(self._connections)
        if self._running:
            self._loop.call_later(1.0, self._tick)

    def hold(self, request: Request) -> None:
        """Write a head at the end of this turn of the loop, if it was not written with its body by then."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(request)

    def _flush(self) -> None:
        held, self._held = self._held, []
        for request in held:
            request.flush()


def _address(address: Any) -> tuple[str, int | None] | None:
    """ASGI's `client` or `server`, of a socket's name."""
    if isinstance(address, str) and address:
        return address, None
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None
