"""A WebSocket whose messages the sidecar's server reads. `tests/proxy/test_websocket.py` has the relay behind it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from ap_resume_shim.core.asgi import TUNNEL
from ap_resume_shim.http1.server_connection import Http1Protocol
from ap_resume_shim.runtime.resume_log import AccessLog
from tests.support.serving import serving
from tests.support.sockets import connect as connect_tcp
from tests.support.sockets import read_head
from tests.support.waiting import PATIENCE, eventually

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Reading(Http1Protocol):
    """The sidecar's protocol, which reads each WebSocket."""

    @staticmethod
    def reads_websocket(scope: Scope) -> bool:
        return True


class Limited(Reading):
    max_message = 1000


class Stage:
    """A server, whose app a test sets, and which records the scope and the messages that the app receives."""

    def __init__(self) -> None:
        self.url, self.scope, self.got = "", dict[str, Any](), list[Any]()
        self.app: App = echo

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = dict(scope)

        async def noted() -> Any:
            self.got.append(message := await receive())
            return message

        await self.app(scope, noted, send)

    def connect(self, **options: Any) -> ClientConnection:
        made: ClientConnection = connect(f"{self.url.replace('http', 'ws')}/a%20b?c", proxy=None, **options)
        return made


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    with serving(AccessLog(made), http=Limited) as made.url:
        yield made


def test_messages_are_whole_and_of_their_kind(stage: Stage) -> None:
    with stage.connect(subprotocols=["x", "y"]) as client:
        client.send(["te", "xt"])
        assert client.recv(PATIENCE) == "text"
        client.send(b"\xff\0")
        assert client.recv(PATIENCE) == b"\xff\0"
        assert client.ping().wait(PATIENCE)
        assert client.subprotocol == "x"
        assert client.protocol.extensions == [], "messages are not compressed"
        client.close(4001, "done")
    eventually(lambda: stage.got[-1]["type"] == "websocket.disconnect", "the app receives the disconnect")
    assert stage.got[-1] == {"type": "websocket.disconnect", "code": 4001, "reason": "done"}
    assert (stage.scope["type"], stage.scope["scheme"], stage.scope["path"]) == ("websocket", "ws", "/a b")
    assert (stage.scope["raw_path"], stage.scope["query_string"]) == (b"/a%20b", b"c")
    assert stage.scope["subprotocols"] == ["x", "y"]
    assert "method" not in stage.scope


def test_a_message_above_the_limit_closes_the_connection(stage: Stage) -> None:
    with stage.connect() as client:
        client.send("x" * 1000)
        assert client.recv(PATIENCE) == "x" * 1000
        client.send("x" * 1001)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    eventually(lambda: stage.got[-1].get("code") == 1009, "the app receives the disconnect")


def test_a_client_that_vanishes_is_reported(stage: Stage) -> None:
    client = stage.connect()
    client.socket.shutdown(socket.SHUT_RDWR)
    eventually(
        lambda: stage.got[-1:] == [{"type": "websocket.disconnect", "code": 1006}], "the app receives the disconnect"
    )


def test_a_client_that_vanishes_before_it_is_accepted_is_reported(stage: Stage) -> None:
    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()

    stage.app = waits
    with connect_tcp(stage.url) as client:
        client.sendall(HANDSHAKE)
        eventually(lambda: stage.got, "the app is called")
    eventually(
        lambda: stage.got[-1] == {"type": "websocket.disconnect", "code": 1006}, "the app receives the disconnect"
    )


def test_the_app_that_fails_breaks_the_connection_off(stage: Stage) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        raise ZeroDivisionError

    stage.app = fails
    with stage.connect() as client, pytest.raises(ConnectionClosed) as closed:
        client.recv(PATIENCE)
    assert closed.value.rcvd is None


def test_what_is_sent_after_the_end_is_dropped(stage: Stage) -> None:
    done = asyncio.Event()

    async def goes_on(scope: Scope, receive: Receive, send: Send) -> None:
        await echo(scope, receive, send)
        await send({"type": "websocket.send", "text": "late"})
        await send({"type": "websocket.close", "code": 1000})
        done.set()

    stage.app = goes_on
    with stage.connect():
        pass
    eventually(done.is_set, "the app ends")


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nhost: here\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize(
    ("part", "other", "status"),
    [
        (b"upgrade: websocket", b"upgrade: websocket\r\nupgrade: chat", b"426"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"short", b"400"),
        (b"version: 13", b"version: 8", b"400"),
    ],
)
def test_what_is_no_handshake_is_refused(stage: Stage, part: bytes, other: bytes, status: bytes) -> None:
    with connect_tcp(stage.url) as client:
        client.sendall(HANDSHAKE.replace(part, other))
        assert read_head(client).split(b" ")[1] == status
    assert stage.got == []


def test_an_upgrade_to_another_protocol_is_a_tunnel(stage: Stage) -> None:
    async def notes(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 501, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    stage.app = notes
    with connect_tcp(stage.url) as client:
        client.sendall(HANDSHAKE.replace(b"upgrade: websocket", b"upgrade: chat/2"))
        assert read_head(client).split(b" ")[1] == b"501"
    assert TUNNEL in stage.scope["extensions"]


@pytest.mark.parametrize("whole", [True, False])
def test_the_app_may_refuse(stage: Stage, whole: bool) -> None:
    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if whole:
            await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x", b"y")]})
            await send({"type": "websocket.http.response.body", "body": b"who?"})
        else:
            await send({"type": "websocket.close"})

    stage.app = refuses
    with pytest.raises(InvalidStatus) as refused:
        stage.connect()
    response = refused.value.response
    assert (response.status_code, response.body) == ((401, b"who?") if whole else (403, b""))


def test_bytes_that_follow_the_handshake_at_once_are_read(stage: Stage) -> None:
    with connect_tcp(stage.url) as client:
        client.sendall(HANDSHAKE + b"\x81\x82\0\0\0\0hi")
        assert read_head(client).startswith(b"HTTP/1.1 101 ")
        assert client.recv(4) == b"\x81\x02hi"
