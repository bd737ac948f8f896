"""A request that this server handles as a WebSocket, with ASGI's `websocket` scope, instead of a tunnel.

Messages are not compressed. Needs websockets, which the extra `serve` installs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from websockets.asyncio.connection import Connection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from ap_resume_shim.core.asgi import TARGET, HeaderList, extensions

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PING_INTERVAL = 20.0
"""Seconds between pings, without which a proxy on the way would close a silent connection."""
CLOSE_TIMEOUT = 10.0
"""Seconds in which the client has to respond to a close."""
ABNORMAL = 1006
"""The code that stands for a connection that ended without a close (RFC 6455, section 7.4.1)."""

Switch = Callable[[HeaderList], "tuple[asyncio.Transport, bytes]"]


class WebSocket:
    """One WebSocket, with ASGI's `receive` and `send`."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, switch: Switch, max_message: int) -> None:
        """`receive` and `send` are those of the request, and `switch` responds to it with 101.

        `max_message`: maximum size of a message from the client, in bytes; above it, the close code is 1009.
        """
        self._request_receive, self._request_send, self._switch = receive, send, switch
        self._request_scope = scope
        self._protocol = ServerProtocol(state=OPEN, max_size=max_message)
        self._connection: Connection | None = None
        self._accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connected = False
        self._accept_key = b""

    async def run(self, app: ASGIApp) -> None:
        """Check the handshake, and call the app."""
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._request_scope["headers"]]
        response = self._protocol.accept(Request(self._request_scope["path"], Headers(fields)))
        if response.status_code != 101:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await self._deny(response.status_code, headers, bytes(response.body or b""))
            return
        self._accept_key = response.headers["Sec-WebSocket-Accept"].encode()
        try:
            await app(self._scope(), self.receive, self.send)
        except BaseException:
            if self._connection is not None:
                self._connection.transport.abort()
            raise
        if self._connection is not None:
            self._connection.transport.close()

    def _scope(self) -> Scope:
        scope = self._request_scope
        offered = [value.decode("latin-1") for name, value in scope["headers"] if name == b"sec-websocket-protocol"]
        kept = {TARGET: extensions(scope)[TARGET]} if TARGET in extensions(scope) else {}
        return {
            **{name: value for name, value in scope.items() if name != "method"},
            "type": "websocket",
            "scheme": "wss" if scope["scheme"] == "https" else "ws",
            "subprotocols": [name.strip() for value in offered for name in value.split(",")],
            "extensions": {**kept, "websocket.http.response": {}},
        }

    async def receive(self) -> Message:
        """ASGI's `receive`: the next message. A cancelled call loses none."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        if (connection := self._connection or await self._accepted_or_left()) is None:
            return {"type": "websocket.disconnect", "code": ABNORMAL}
        try:
            message = await connection.recv()
        except ConnectionClosed as end:
            return _disconnect(end)
        kind = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.receive", kind: message}

    async def _accepted_or_left(self) -> Connection | None:
        """Wait until the app accepts the WebSocket; None if the client disconnects before."""
        left = asyncio.create_task(self._left())
        try:
            await asyncio.wait({left, self._accepted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
        return self._connection

    async def _left(self) -> None:
        while (await self._request_receive())["type"] != "http.disconnect":
            pass

    async def send(self, message: Message) -> None:
        """ASGI's `send`. A message after the end of the connection is dropped: `receive` reports it."""
        kind, connection = message["type"], self._connection
        if connection is not None:
            try:
                if kind == "websocket.send":
                    text = message.get("text")
                    await connection.send(message["bytes"] if text is None else text)
                elif kind == "websocket.close":
                    await connection.close(message.get("code", 1000), message.get("reason") or "")
            except ConnectionClosed:
                pass
        elif kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            await self._deny(403, [], b"")
        else:
            await self._request_send({**message, "type": kind.removeprefix("websocket.")})

    def _accept(self, message: Message) -> None:
        """Respond with 101, and read messages from now on."""
        headers = [
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-accept", self._accept_key),
        ]
        if message.get("subprotocol"):
            headers.append((b"sec-websocket-protocol", message["subprotocol"].encode()))
        transport, unparsed = self._switch([*headers, *message.get("headers", ())])
        self._connection = connection = Connection(
            self._protocol,
            ping_interval=PING_INTERVAL,
            ping_timeout=None,
            close_timeout=CLOSE_TIMEOUT,
            max_queue=0,
        )
        connection.connection_made(transport)
        transport.set_protocol(connection)
        connection.start_keepalive()
        self._accepted.set_result(None)
        transport.resume_reading()
        if unparsed:
            connection.data_received(unparsed)

    async def _deny(self, status: int, headers: HeaderList, body: bytes) -> None:
        framed = [*headers, (b"content-length", b"%d" % len(body))]
        await self._request_send({"type": "http.response.start", "status": status, "headers": framed})
        await self._request_send({"type": "http.response.body", "body": body})


def _disconnect(end: ConnectionClosed) -> Message:
    """Return the client's close, or that of this server after a violation of the protocol."""
    close = end.rcvd or end.sent
    if close is None:
        return {"type": "websocket.disconnect", "code": ABNORMAL}
    return {"type": "websocket.disconnect", "code": close.code, "reason": close.reason}
