"""`Client`: who sent a request that passes: the body as it comes, and the leaving, which ends the request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ap_resume_shim.core.asgi import REQUEST_TRAILERS, TRAILERS, TUNNEL, HeaderList, extensions
from ap_resume_shim.proxy.hop_headers import FORBIDDEN_TRAILERS, ConnectionInfo
from ap_resume_shim.proxy.transport import ClientLeft, Transport, UpstreamExchange

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

LISTENING = 0.05
"""Seconds between two looks at requests that are still on their way: who is there at the second one is listened for."""


class Young:
    """Requests that nobody listens for yet: most are over before it is worth a task."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._now: dict[Client, UpstreamExchange] = {}
        self._before: dict[Client, UpstreamExchange] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, client: Client, exchange: UpstreamExchange) -> None:
        """Listen for the client's leaving if the request is still on its way at the second look from now."""
        self._now[client] = exchange
        if self._timer is None:
            self._timer = self._loop.call_later(LISTENING, self._look)

    def discard(self, client: Client) -> None:
        """It is over."""
        if self._now.pop(client, None) is None:
            self._before.pop(client, None)

    def _look(self) -> None:
        for client, exchange in self._before.items():
            client.listen(exchange)
        self._before, self._now = self._now, {}
        self._timer = self._loop.call_later(LISTENING, self._look) if self._before else None


class Client:
    """Who sent the request: the body as it comes, and after it the disconnect; one reader of `receive` at a time.

    Sending to one that has left raises `ClientLeft`, where the server says so (ASGI 2.4).
    """

    __slots__ = (
        "_first",
        "_listener",
        "_pending",
        "_receive",
        "_send",
        "_unread",
        "answered",
        "connection",
        "has_body",
        "trailers",
        "unannounced",
        "upgrades",
        "wants_trailers",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, transport: Transport) -> None:
        self.connection = connection = ConnectionInfo(scope["headers"])
        self.answered = self._unread = False
        self.has_body = connection.has_length or connection.is_chunked
        self.unannounced = not self.has_body and scope.get("http_version", "1.1") not in ("1.0", "1.1")
        self.upgrades = connection.wants_upgrade and transport.upgrades and TUNNEL in extensions(scope)
        self.wants_trailers = connection.accepts_trailers and transport.trailers and TRAILERS in extensions(scope)
        self.trailers: HeaderList = []
        self._receive, self._send = receive, send
        self._first: Message | None = None
        self._listener: asyncio.Task[None] | None = None
        self._pending: asyncio.Event | None = asyncio.Event() if self.has_body else None

    async def begin(self) -> None:
        """Find out whether there is a body: HTTP/1 announces one, later versions just send it. Raises `ClientLeft`."""
        self._first = await self._receive()
        if self._first["type"] == "http.disconnect":
            raise ClientLeft
        self.has_body = bool(self._first.get("body") or self._first.get("more_body"))
        if self.has_body:
            self._pending = asyncio.Event()

    async def next(self) -> tuple[bytes, bool]:
        """The next bytes of the body, and whether more will come."""
        more = False
        try:
            message, self._first = self._first or await self._receive(), None
            if message["type"] == "http.disconnect":
                raise ClientLeft
            more = message.get("more_body", False)
            if REQUEST_TRAILERS in message:
                self.trailers = [field for field in message[REQUEST_TRAILERS] if field[0] not in FORBIDDEN_TRAILERS]
            return message.get("body", b""), more
        finally:
            if not more and self._pending is not None:
                self._pending.set()

    def done(self) -> None:
        """No more of the body is read. To receive before the answer has begun would ask for it all the same."""
        self._unread = True
        if self.answered and self._pending is not None:
            self._pending.set()

    async def begin_answer(self, start: Message) -> None:
        """Send the head of the answer."""
        await self.send(start)
        self.answered = True
        if self._unread and self._pending is not None:
            self._pending.set()

    async def send(self, message: Message) -> None:
        """Send a part of the answer. Raises `ClientLeft`."""
        try:
            await self._send(message)
        except OSError:
            raise ClientLeft from None

    def listen(self, exchange: UpstreamExchange) -> None:
        """Listen for the client's leaving: also on an idle stream, the server behind notices at once."""
        self._listener = asyncio.get_running_loop().create_task(self._listen(exchange))

    async def _listen(self, exchange: UpstreamExchange) -> None:
        if self._pending is not None:
            await self._pending.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        exchange.close()

    def release(self) -> None:
        """Listen no longer."""
        if self._listener is not None:
            self._listener.cancel()
