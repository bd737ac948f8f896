"""A WebSocket of an ASGI server, passed on to the server at an address: every message, and how it ended.

Each side has a connection of its own, with its own pings, fragments and compression, for ASGI knows whole messages
only. A side that does not read stops the other one: no more than a few messages are held between them.

Needs websockets, which the extra `serve` brings.
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
from ap_resume_shim.proxy.tcp_keepalive import keep_alive
from ap_resume_shim.proxy.transport import Address, broken_off, unreachable
from ap_resume_shim.proxy.websocket_connection import Handshake, WebSocketConnection

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

LIMIT = 16 * 1024 * 1024
"""Bytes of a message from the server. A client's are limited by the ASGI server."""

CLOSING = 10.0
"""Seconds that the server has to answer a client's close."""

NORMAL, NO_CODE, BROKEN = 1000, 1005, 1011
"""Close codes; `NO_CODE` is what a close without one is called, and is never sent."""

UNSENT = frozenset({1006, 1015})
"""Codes of connections that ended without a close."""

LONGEST_REASON = 123
"""Bytes that a close frame has for its reason."""


async def relay(
    scope: Scope,
    receive: Receive,
    send: Send,
    address: Address,
    target: bytes,
    headers: HeaderList,
    to_client: Callable[[HeaderList], HeaderList],
    *,
    limit: int = LIMIT,
) -> None:
    """Pass a WebSocket on to the server at `address` until one side ends it, which the other side is told.

    `target` and `headers`, without those that belong to one connection, go on as they are; `to_client` makes the
    client's fields of the server's. A server's refusal is passed on, one that cannot be reached is 502. One that breaks
    off is a close with 1011; a client that vanishes breaks off the server's connection. `limit`: bytes of a message
    from the server.
    """
    await receive()
    handshake = Handshake(target, headers, scope["subprotocols"], limit)
    opening = asyncio.create_task(_open(address, handshake))
    upwards = asyncio.create_task(_upwards(receive, opening))
    try:
        await asyncio.wait({opening, upwards}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            await _between(opening.result(), upwards, send, to_client)
    except InvalidStatus as refusal:
        response = refusal.response
        await _deny(scope, send, response.status_code, to_client(_fields(response)), bytes(response.body))
    except UpstreamFailure as failure:
        logger.warning("WEBSOCKET %s failed: %s", target.partition(b"?")[0].decode("latin-1"), failure)
        await refuse(scope, send, failure.http_status, failure.message)
    finally:
        await _stop(upwards, opening)
        if not opening.cancelled() and opening.exception() is None:
            opening.result().transport.abort()


async def refuse(scope: Scope, send: Send, status: int, message: str) -> None:
    """Refuse a WebSocket that is not accepted yet, and say why."""
    await _deny(scope, send, status, [(b"content-type", b"application/json")], strictjson.dumps({"message": message}))


async def _deny(scope: Scope, send: Send, status: int, headers: HeaderList, body: bytes) -> None:
    """Answer the handshake with something else than 101; an ASGI server without the extension says 403."""
    if "websocket.http.response" in (scope.get("extensions") or {}):
        framed = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "websocket.http.response.start", "status": status, "headers": framed})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close"})


async def _open(address: Address, handshake: Handshake) -> WebSocketConnection:
    """A connection that the server has accepted. Raises `InvalidStatus` where it answered otherwise."""
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
        raise unreachable(address, TimeoutError(f"it was not there within {address.connect:g} seconds")) from None
    except OSError as error:  # ssl's errors are some, too
        raise unreachable(address, error) from error
    keep_alive(made[0].get_extra_info("socket"))
    return made[1]


async def _between(
    server: WebSocketConnection,
    upwards: asyncio.Task[Message],
    send: Send,
    to_client: Callable[[HeaderList], HeaderList],
) -> None:
    """Accept, and pass messages on until one side ends it."""
    downwards = asyncio.create_task(_downwards(server, send, to_client))
    try:
        await asyncio.wait({upwards, downwards}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not downwards.done():
            await _stop(downwards)
    if upwards.done():
        await _close(server, upwards.result())
    else:
        downwards.result()


async def _upwards(receive: Receive, opening: asyncio.Task[WebSocketConnection]) -> Message:
    """Pass the client's messages on; gives the last one, which tells how it left."""
    while (message := await receive())["type"] == "websocket.receive":
        text, server = message.get("text"), await opening
        with suppress(ConnectionClosed):  # the other direction tells the client
            await server.send(message["bytes"] if text is None else text)
    return message


async def _downwards(server: WebSocketConnection, send: Send, to_client: Callable[[HeaderList], HeaderList]) -> None:
    """Accept, pass the server's messages on, and at last how it ended."""
    assert server.response is not None
    accepted = {"subprotocol": server.subprotocol, "headers": to_client(_fields(server.response))}
    await send({"type": "websocket.accept", **accepted})
    try:
        while True:
            message = await server.recv()
            await send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})
    except ConnectionClosed as end:
        await send({"type": "websocket.close", **_how(end)})


def _how(end: ConnectionClosed) -> dict[str, Any]:
    """The server's close, in ASGI's words: they have none for a close without a code, which is theirs for 1000."""
    if end.rcvd is not None and end.rcvd == end.sent:
        return {"code": NORMAL if end.rcvd.code == NO_CODE else end.rcvd.code, "reason": end.rcvd.reason}
    why = "The backend broke off." if end.sent is None else f"The backend's WebSocket failed: {end.sent.reason}"
    return {"code": BROKEN, "reason": why.encode()[:LONGEST_REASON].decode(errors="ignore")}


async def _close(server: WebSocketConnection, left: Message) -> None:
    """Close as the client did. One that vanished is not passed on as a close: the connection is broken off."""
    code, reason = left.get("code", NO_CODE), left.get("reason")
    vanished = code in UNSENT or (code == NO_CODE and reason is None)  # uvicorn has a reason for every close
    if vanished:
        return
    discarding = asyncio.create_task(_discard(server))  # what was sent before comes before the answer
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await server.close(cast("int", None if code == NO_CODE else code), reason or "")
    finally:
        await _stop(discarding)


async def _discard(server: WebSocketConnection) -> None:
    with suppress(ConnectionClosed):
        while True:
            await server.recv()


async def _stop(*tasks: asyncio.Task[Any]) -> None:
    """Stop tasks; what they raise then is of no interest any more."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


def _fields(response: Response) -> HeaderList:
    """A response's header fields, but for its framing and those that are about the WebSocket of one connection."""
    fields = [
        (name.lower().encode(), value.encode("latin-1", "surrogateescape"))  # websockets before 17 escapes
        for name, value in response.headers.raw_items()
    ]
    return [field for field in fields if not field[0].startswith(b"sec-websocket-") and field[0] != b"content-length"]
