"""The client of a passed request: its body, its response, and its disconnect, which ends the request upstream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ap_resume_shim.core.asgi import REQUEST_TRAILERS, TRAILERS, TUNNEL, HeaderList, extensions
from ap_resume_shim.proxy.hop_headers import FORBIDDEN_TRAILERS, ConnectionInfo
from ap_resume_shim.proxy.transport import ClientDisconnected, Transport, UpstreamExchange

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

LISTEN_INTERVAL = 0.05
"""Seconds between ticks. A request that is in progress at two ticks gets a task that listens for the disconnect."""


class DisconnectListeners:
    """Starts listeners for disconnects, but not for short requests, which most are: a task for each would be costly."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._new: dict[DownstreamClient, UpstreamExchange] = {}
        self._old: dict[DownstreamClient, UpstreamExchange] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, client: DownstreamClient, exchange: UpstreamExchange) -> None:
        """Add a request. If it is still in progress at the second tick from now, its listener is started."""
        self._new[client] = exchange
        if self._timer is None:
            self._timer = self._loop.call_later(LISTEN_INTERVAL, self._tick)

    def discard(self, client: DownstreamClient) -> None:
        """Remove a request that has ended."""
        if self._new.pop(client, None) is None:
            self._old.pop(client, None)

    def _tick(self) -> None:
        for client, exchange in self._old.items():
            client.listen(exchange)
        self._old, self._new = self._new, {}
        self._timer = self._loop.call_later(LISTEN_INTERVAL, self._tick) if self._old else None


class DownstreamClient:
    """The client's side of one request, over ASGI's `receive` and `send`; also the `RequestBody` of the exchange.

    `receive` has one caller at a time: the reader of the body, and afterwards the listener for the disconnect.
    """

    __slots__ = (
        "_first_message",
        "_listener",
        "_may_listen",
        "_receive",
        "_stopped_reading",
        "body_unknown",
        "connection",
        "has_body",
        "response_started",
        "send",
        "trailers",
        "upgrades",
        "wants_trailers",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, transport: Transport) -> None:
        self.connection = connection = ConnectionInfo(scope["headers"])
        self.response_started = self._stopped_reading = False
        self.has_body = connection.has_length or connection.is_chunked
        self.body_unknown = not self.has_body and scope.get("http_version", "1.1") not in ("1.0", "1.1")
        self.upgrades = connection.wants_upgrade and transport.upgrades and TUNNEL in extensions(scope)
        self.wants_trailers = connection.accepts_trailers and transport.trailers and TRAILERS in extensions(scope)
        self.trailers: HeaderList = []
        self.send = send
        """ASGI's `send`. Raises `OSError` if the ASGI server reports the disconnect (ASGI 2.4)."""
        self._receive = receive
        self._first_message: Message | None = None
        self._listener: asyncio.Task[None] | None = None
        self._may_listen: asyncio.Event | None = asyncio.Event() if self.has_body else None

    async def detect_body(self) -> None:
        """Read the first message to set `has_body`. Raises `ClientDisconnected`.

        Needed where `body_unknown` is True: in HTTP/1 the head announces a body, in later versions it need not.
        """
        self._first_message = await self._receive()
        if self._first_message["type"] == "http.disconnect":
            raise ClientDisconnected
        self.has_body = bool(self._first_message.get("body") or self._first_message.get("more_body"))
        if self.has_body:
            self._may_listen = asyncio.Event()

    async def read(self) -> tuple[bytes, bool]:
        """Return the next bytes of the body, and True if more follow. Raises `ClientDisconnected`."""
        more = False
        try:
            message, self._first_message = self._first_message or await self._receive(), None
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            more = message.get("more_body", False)
            if REQUEST_TRAILERS in message:
                self.trailers = [field for field in message[REQUEST_TRAILERS] if field[0] not in FORBIDDEN_TRAILERS]
            return message.get("body", b""), more
        finally:
            if not more and self._may_listen is not None:
                self._may_listen.set()

    def stop_reading(self) -> None:
        """Read no more of the body.

        The listener waits until the response has begun, since `receive` would make the server send 100 (Continue).
        """
        self._stopped_reading = True
        if self.response_started and self._may_listen is not None:
            self._may_listen.set()

    def on_response_started(self) -> None:
        """Called when the head of the response was sent."""
        self.response_started = True
        if self._stopped_reading and self._may_listen is not None:
            self._may_listen.set()

    def listen(self, exchange: UpstreamExchange) -> None:
        """Start a task that closes the exchange when the client disconnects, even while a stream is idle."""
        self._listener = asyncio.get_running_loop().create_task(self._listen(exchange))

    async def _listen(self, exchange: UpstreamExchange) -> None:
        if self._may_listen is not None:
            await self._may_listen.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        exchange.close()

    def stop_listening(self) -> None:
        """Cancel the task."""
        if self._listener is not None:
            self._listener.cancel()
