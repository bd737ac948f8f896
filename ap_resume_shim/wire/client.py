"""`WireTransport`: requests to the server behind, on kept connections, as exactly the bytes that they should be."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import httptools

from ap_resume_shim.core.errors import UpstreamError, UpstreamFailure
from ap_resume_shim.transports import Address, ClientLeft, HeaderList, Outgoing, broken_off, too_slow, unreachable

IDLE = 2.0
"""Seconds that a connection is kept for the next request: servers close theirs after five, and must not do it while a
resume is on its way."""
KEPT = 256
"""Connections kept at most."""
AHEAD = 64 * 1024
"""Bytes read ahead of the client, at most (and what one read brings)."""
HEAD = 256 * 1024
"""Bytes of an answer's head, at most."""
TAKES = 60.0
"""Seconds in which a server has to take a part of a body; one that takes none would hold what has left already."""
CONTINUE = 1.0
"""Seconds that a server is given to say 100 before the body is sent anyway (RFC 9110, section 10.1.1)."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class WireTransport:
    """Connections to one address. Raises no errors of its own: those of a request are raised by its passage."""

    upgrades = trailers = True

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def pass_on(self, request: Outgoing) -> WirePassage:
        """Begin to pass a request on; nothing is sent before `head` is awaited."""
        return WirePassage(self, request)

    async def aclose(self) -> None:
        """Close all connections; answers that are still on their way break off."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.abort()

    def take(self) -> _Connection | None:
        """A connection that is kept, if there is one that the server will not be closing."""
        while self._idle:
            connection = self._idle.pop()
            if connection.loop.time() - connection.since < IDLE and not connection.transport.is_closing():
                return connection
            connection.abort()
        return None

    async def connect(self) -> _Connection:
        """A new connection. Raises `UpstreamUnreachable`."""
        address, loop = self.address, asyncio.get_running_loop()
        tls = _context(address)
        try:
            async with asyncio.timeout(address.connect):
                if address.uds is not None:
                    _, made = await loop.create_unix_connection(lambda: _Connection(self, loop), address.uds)
                else:
                    _, made = await loop.create_connection(
                        lambda: _Connection(self, loop),
                        address.host,
                        address.port,
                        ssl=tls,
                        server_hostname=address.host if tls else None,
                    )
        except TimeoutError:
            late = TimeoutError(f"it was not there within {address.connect:g} seconds")
            raise unreachable(address, late) from None
        except OSError as error:  # ssl's errors are some, too
            raise unreachable(address, error) from error
        return made

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection for the next request."""
        if len(self._idle) >= KEPT:
            connection.abort()
            return
        connection.since = connection.loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = connection.loop.call_later(IDLE, self._close_idle)

    def _close_idle(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        kept = [connection for connection in self._idle if now - connection.since < IDLE]
        old, self._idle = set(self._idle) - set(kept), kept
        for connection in old:
            connection.abort()
        if kept:
            self._sweep = kept[0].loop.call_later(IDLE, self._close_idle)

    def opened(self, connection: _Connection) -> None:
        """A connection is there."""
        self._open.add(connection)

    def closed(self, connection: _Connection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


def _context(address: Address) -> Any:
    """What asyncio takes for `ssl`: a context, True for the system's certificates, None for none."""
    return None if address.scheme == "http" else address.tls or True


class WirePassage:
    """One request on its way, and its answer."""

    __slots__ = (
        "_chunks",
        "_complete",
        "_connection",
        "_error",
        "_heads",
        "_left",
        "_pump",
        "_request",
        "_rest",
        "_reused",
        "_size",
        "_transport",
        "_tunnel",
        "_unheard",
        "_waiter",
        "headers",
        "status",
        "trailers",
    )

    def __init__(self, transport: WireTransport, request: Outgoing) -> None:
        self._transport, self._request = transport, request
        self.status = 0
        self.headers: HeaderList = []
        self.trailers: HeaderList = []
        self._connection: _Connection | None = None
        self._reused = self._unheard = self._complete = self._left = False
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
    def over(self) -> bool:
        """Whether `read` would give nothing more."""
        return self._complete and not self._chunks

    def leave(self) -> None:
        """Be done. An answer that is not over is broken off."""
        self._left = True
        if self._pump is not None:
            self._pump.cancel()
        for open_ in (self._connection, self._tunnel):
            if open_ is not None:
                open_.abort()
        if self._error is None and not self._complete:
            self._error = ClientLeft()
        self._wake()

    def upgraded(self) -> tuple[asyncio.Transport, bytes]:
        """The bare connection after a 101."""
        assert self._tunnel is not None, "only after a 101"
        tunnel, self._tunnel = self._tunnel, None
        return tunnel, self._rest

    def _may_ask_again(self) -> bool:
        """Whether a kept connection turned out to be closed, and asking again is harmless (RFC 9110, section 9.2.2)."""
        return (
            self._reused
            and self._unheard
            and not self._left
            and self._request.fence is None
            and self._request.body is None
            and self._request.method in _SAFE
        )

    async def _begin(self, *, fresh: bool = False) -> None:
        connection = None if fresh else self._transport.take()
        self._reused = connection is not None
        if connection is None:
            connection = await self._transport.connect()
        request = self._request
        try:
            if self._left:
                raise ClientLeft
            if request.fence is not None:
                request.fence()
        except BaseException:
            self._transport.give_back(connection)
            raise
        self._connection = connection
        connection.begin(self, request)
        if request.body is not None:
            self._pump = connection.loop.create_task(self._send_body(connection, request))

    async def _send_body(self, connection: _Connection, request: Outgoing) -> None:
        """Send the body as it comes; a client that leaves in its middle breaks the request off."""
        assert request.body is not None
        try:
            if request.expects and not await connection.may_go_on():
                return
            more = True
            while more:
                data, more = await request.body.next()
                if request.chunked and data:
                    data = b"%x\r\n%b\r\n" % (len(data), data)
                if request.chunked and not more:
                    data += b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in request.body.trailers)
                await connection.write(data)
            self._pump = None
            connection.request_is_over()
        except (ClientLeft, UpstreamFailure) as error:
            self.broke(error)
            connection.abort()
        except Exception as error:  # of the server that the client's body comes from
            self.broke(UpstreamError("The request broke off.", detail=f"The request broke off: {error}."))
            connection.abort()
        finally:
            request.body.done()

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

    def came(self, status: int, headers: HeaderList) -> None:
        """A head."""
        self._heads.append((status, headers))
        self._wake()

    def came_body(self, parts: list[bytes], size: int) -> bool:
        """Parts of the body, `size` bytes or a little more; whether it may go on."""
        self._chunks += parts
        self._size += size
        self._wake()
        return self._size <= AHEAD

    def came_end(self, trailers: HeaderList) -> None:
        """The end of the answer; the connection is no longer ours."""
        self.trailers, self._complete, self._connection = trailers, True, None
        if self._pump is not None:
            self._pump.cancel()
        self._wake()

    def came_upgrade(self, transport: asyncio.Transport, rest: bytes) -> None:
        """The connection speaks something else from now on."""
        self._tunnel, self._rest, self._connection, self._complete = transport, rest, None, True
        self._wake()

    def broke(self, error: Exception, *, unheard: bool = False) -> None:
        """The answer will not be complete; `unheard`: not a byte of it came."""
        self._connection, self._unheard = None, unheard
        if self._error is None:
            self._error = error
        self._wake()


class _Connection(asyncio.Protocol):
    """One connection: writes requests, parses answers, one at a time."""

    transport: asyncio.Transport

    def __init__(self, owner: WireTransport, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.since = loop, 0.0
        self._owner = owner
        self._passage: WirePassage | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._bodiless = False
        self._headers: HeaderList = []
        self._trailers: HeaderList = []
        self._parts: list[bytes] = []
        self._in_body = self._over = self._keep = False
        self._sent = self._reading = True
        self._head = 0
        self._writable: asyncio.Future[None] | None = None
        self._paused = False
        self._continue: asyncio.Future[bool] | None = None

    # Requests.

    def begin(self, passage: WirePassage, request: Outgoing) -> None:
        """Send a request's head; the passage hears what comes back."""
        self._passage = passage
        self._bodiless = request.method == "HEAD"
        self._sent = request.body is None
        self._over = self._in_body = False
        self._head = 0
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
        self._passage = None
        self.transport.abort()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._owner.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Closed by the server, or by us."""
        self._owner.closed(self)
        self.resume_writing()
        self._tell_pump(go_on=False)
        passage, self._passage = self._passage, None
        if passage is None:
            return
        if self._ends_with_the_connection() and error is None:
            passage.came_end([])
            return
        passage.broke(self._broken(str(error or "it closed the connection")), unheard=not self._head)

    def eof_received(self) -> None:
        """Nothing more will come."""
        if self._passage is None:
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
        passage = self._passage
        if passage is None:
            self.abort()  # nobody asked
            return
        self._head += len(data)
        try:
            self._parser.feed_data(data)
            self._hand_over(passage, len(data))
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(passage, data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._hand_over(passage, len(data))
            if self._over:  # the answer is whole, what came after it is nobody's
                passage.came_end(self._trailers)
            else:
                passage.broke(self._broken(f"what it sent is not HTTP: {error}"))
            self.abort()
            return
        if self._over:
            self._release()
        elif not self._in_body and self._head > HEAD:
            passage.broke(self._broken(f"the head of its answer is larger than {HEAD} bytes"))
            self.abort()

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
        passage, status = self._passage, self._parser.get_status_code()
        assert passage is not None
        if status == 100:
            self._tell_pump(go_on=True)
        elif status < 200 and status != 101:
            passage.came(status, self._headers)
        else:
            self._in_body = True
            self._keep = self._parser.should_keep_alive()  # llhttp forgets it with the message
            if status != 101:
                self._tell_pump(go_on=False)
            passage.came(status, self._headers)
            if self._bodiless:
                self._over = True

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self._over or not self._in_body:
            raise ValueError("an answer has a body that it must not have")
        self._parts.append(data)  # events are many and small: the passage hears of all in one read at once

    def on_message_complete(self) -> None:
        """The end of an answer, or of an informational one."""
        if self._in_body and not self._over:
            self._over = True

    def _release(self) -> None:
        """The answer is over: keep the connection if both sides may, and tell the passage."""
        passage = self._passage
        if passage is None or not self._over:
            return
        keep = self._sent and self._keep and not self.transport.is_closing()
        self._passage = None
        passage.came_end(self._trailers)
        if not keep:
            self.abort()
            return
        if self._bodiless:
            self._parser = httptools.HttpResponseParser(self)
        self.resume_reading()
        self._in_body = self._over = False
        self._owner.give_back(self)

    def _hand_over(self, passage: WirePassage, size: int) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            if not passage.came_body(parts, size) and self._reading:
                self._reading = False
                self.transport.pause_reading()

    def _upgrade(self, passage: WirePassage, rest: bytes) -> None:
        self.transport.pause_reading()
        self._passage = None
        self._owner.closed(self)
        passage.came_upgrade(self.transport, rest)

    def _ends_with_the_connection(self) -> bool:
        names = {name for name, _ in self._headers}
        return self._in_body and not names & {b"content-length", b"transfer-encoding"}

    def _broken(self, why: str) -> UpstreamError:
        return broken_off(self._owner.address, why)

    def _tell_pump(self, *, go_on: bool) -> None:
        if self._continue is not None and not self._continue.done():
            self._continue.set_result(go_on)
