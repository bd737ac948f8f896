"""Relays a WebSocket between an ASGI server and the server at an address: every message, and the close.

The two connections are independent: each has its own pings, fragments and compression, since ASGI has only whole
messages. A side that does not read stops the other side: at most a few messages are buffered.

Needs websockets, which the extra `serve` installs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.http11 import Response

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.core.errors import UpstreamFailure
from ap_resume_shim.proxy.tcp_keepalive import enable_keep_alive
from ap_resume_shim.proxy.transport import Address, broken_off, unreachable
from ap_resume_shim.proxy.websocket_connection import Handshake, WebSocketConnection

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

MAX_MESSAGE = 16 * 1024 * 1024
"""Maximum size of a message from the server, in bytes. The ASGI server limits those of the client."""

CLOSE_TIMEOUT = 10.0
"""Seconds in which the server has to respond to a client's close."""

NORMAL, NO_CODE, INTERNAL_ERROR = 1000, 1005, 1011
"""Close codes (RFC 6455, section 7.4.1). `NO_CODE` stands for a close without a code, and is never sent."""

NOT_SENT = frozenset({1006, 1015})
"""Codes that stand for a connection that ended without a close, and are never sent."""

MAX_REASON = 123
"""Maximum length of the reason in a close frame, in bytes."""


async def relay(
    scope: Scope,
    receive: Receive,
    send: Send,
    address: Address,
    target: bytes,
    headers: HeaderList,
    to_client: Callable[[HeaderList], HeaderList],
    *,
    max_message: int = MAX_MESSAGE,
) -> None:
    """Connect to the server at `address`, and relay messages until one side closes; the other side gets the same close.

    - `target` and `headers` are sent unchanged; `headers` contains no hop-by-hop fields.
    - `to_client` converts the header fields of the server's response into those for the client.
    - `max_message`: maximum size of a message from the server, in bytes.

    If the server refuses the WebSocket, the client receives that response; if it cannot be reached, 502. If the server
    breaks off, the client receives a close with 1011; if the client vanishes, the server's connection is aborted.
    """
    await receive()
    handshake = Handshake(target, headers, scope["subprotocols"], max_message)
    opening = asyncio.create_task(_open(address, handshake))
    client_to_server = asyncio.create_task(_client_to_server(receive, opening))
    try:
        await asyncio.wait({opening, client_to_server}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            await _relay_messages(opening.result(), client_to_server, send, to_client)
    except InvalidStatus as refusal:
        response = refusal.response
        await _deny(scope, send, response.status_code, to_client(_end_to_end_headers(response)), bytes(response.body))
    except UpstreamFailure as failure:
        logger.warning("WEBSOCKET %s failed: %s", target.partition(b"?")[0].decode("latin-1"), failure)
        await refuse(scope, send, failure.http_status, failure.message)
    finally:
        await _stop(client_to_server, opening)
        if not opening.cancelled() and opening.exception() is None:
            opening.result().transport.abort()


async def refuse(scope: Scope, send: Send, status: int, message: str) -> None:
    """Refuse a WebSocket that is not accepted yet, with a JSON message."""
    await _deny(scope, send, status, [(b"content-type", b"application/json")], strictjson.dumps({"message": message}))


async def _deny(scope: Scope, send: Send, status: int, headers: HeaderList, body: bytes) -> None:
    """Respond to the handshake with another status than 101. An ASGI server without the extension responds with 403."""
    if "websocket.http.response" in (scope.get("extensions") or {}):
        framed = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "websocket.http.response.start", "status": status, "headers": framed})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close"})


async def _open(address: Address, handshake: Handshake) -> WebSocketConnection:
    """Connect and do the handshake. Raises `InvalidStatus` if the server refuses the WebSocket."""
    server = await _connect(address, handshake)
    try:
        await server.handshake()
    except BaseException as error:
        server.transport.abort()
        answered = isinstance(error, InvalidStatus) and error.response.status_code >= 200
        if isinstance(error, WebSocketException) and not answered:
            raise broken_off(address, error, "did not accept the WebSocket") from error
        raise
    return server


async def _connect(address: Address, handshake: Handshake) -> WebSocketConnection:
    loop = asyncio.get_running_loop()
    tls: Any = address.tls or True if address.scheme == "https" else None
    name = address.host if tls else None
    try:
        async with asyncio.timeout(address.connect):
            if address.uds is not None:
                made = await loop.create_unix_connection(lambda: WebSocketConnection(handshake), address.uds)
            else:
                made = await loop.create_connection(
                    lambda: WebSocketConnection(handshake), address.host, address.port, ssl=tls, server_hostname=name
                )
    except TimeoutError:
        raise unreachable(address, TimeoutError(f"it took longer than {address.connect:g} seconds")) from None
    except OSError as error:  # includes ssl.SSLError
        raise unreachable(address, error) from error
    enable_keep_alive(made[0].get_extra_info("socket"))
    return made[1]


async def _relay_messages(
    server: WebSocketConnection,
    client_to_server: asyncio.Task[Message],
    send: Send,
    to_client: Callable[[HeaderList], HeaderList],
) -> None:
    """Accept the client's WebSocket, and relay messages until one side closes."""
    server_to_client = asyncio.create_task(_server_to_client(server, send, to_client))
    try:
        await asyncio.wait({client_to_server, server_to_client}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not server_to_client.done():
            await _stop(server_to_client)
    if client_to_server.done():
        await _close(server, client_to_server.result())
    else:
        server_to_client.result()


async def _client_to_server(receive: Receive, opening: asyncio.Task[WebSocketConnection]) -> Message:
    """Send the client's messages to the server. Returns the last one, `websocket.disconnect`."""
    while (message := await receive())["type"] == "websocket.receive":
        text, server = message.get("text"), await opening
        with suppress(ConnectionClosed):  # the other direction reports it to the client
            await server.send(message["bytes"] if text is None else text)
    return message


async def _server_to_client(
    server: WebSocketConnection, send: Send, to_client: Callable[[HeaderList], HeaderList]
) -> None:
    """Accept the client's WebSocket, and send it the server's messages and close."""
    assert server.response is not None
    accepted = {"subprotocol": server.subprotocol, "headers": to_client(_end_to_end_headers(server.response))}
    await send({"type": "websocket.accept", **accepted})
    try:
        while True:
            message = await server.recv()
            await send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})
    except ConnectionClosed as end:
        await send({"type": "websocket.close", **_close_event(end)})


def _close_event(end: ConnectionClosed) -> dict[str, Any]:
    """Return the server's close as fields of ASGI's `websocket.close`, where a missing code means 1000."""
    if end.rcvd is not None and end.rcvd == end.sent:
        return {"code": NORMAL if end.rcvd.code == NO_CODE else end.rcvd.code, "reason": end.rcvd.reason}
    reason = "The backend broke off." if end.sent is None else f"The backend's WebSocket failed: {end.sent.reason}"
    return {"code": INTERNAL_ERROR, "reason": reason.encode()[:MAX_REASON].decode(errors="ignore")}


async def _close(server: WebSocketConnection, left: Message) -> None:
    """Close the server's connection with the client's code and reason. Does nothing if the client vanished."""
    code, reason = left.get("code", NO_CODE), left.get("reason")
    vanished = code in NOT_SENT or (code == NO_CODE and reason is None)  # uvicorn sets a reason for every close
    if vanished:
        return
    discarding = asyncio.create_task(_discard(server))  # the server may send messages before its close
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await server.close(cast("int", None if code == NO_CODE else code), reason or "")
    finally:
        await _stop(discarding)


async def _discard(server: WebSocketConnection) -> None:
    with suppress(ConnectionClosed):
        while True:
            await server.recv()


async def _stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and ignore their exceptions."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


def _end_to_end_headers(response: Response) -> HeaderList:
    """Return the header fields of a response, without `Content-Length` and `Sec-WebSocket-*`."""
    fields = [
        (
            name.lower().encode(),
            value.encode("latin-1", "surrogateescape"),
        )  # websockets before 17 decodes with surrogateescape
        for name, value in response.headers.raw_items()
    ]
    return [field for field in fields if not field[0].startswith(b"sec-websocket-") and field[0] != b"content-length"]
