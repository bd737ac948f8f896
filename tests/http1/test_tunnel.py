"""An upgraded connection through the sidecar: bytes, both ways, as they are, and the end of each side for itself."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.sidecar import sidecar
from tests.support.sockets import Script, connect, read_head, upstream
from tests.support.waiting import eventually

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"


@dataclass
class Stage:
    """A sidecar, and the server behind it, which does what a test says."""

    url: str = ""
    script: Script = field(default=lambda _: None)
    heads: list[bytes] = field(default_factory=list)

    @property
    def lines(self) -> list[bytes]:
        """The first request's head, line by line."""
        return self.heads[0].split(b"\r\n")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    made = Stage()

    def serve(connection: socket.socket) -> None:
        if head := behind.heads.pop():  # the sidecar looks whether somebody is there, and asks nothing
            made.heads.append(head)
            made.script(connection)

    with upstream(serve) as behind, sidecar("--upstream", behind.url, "--port", "0", "--backend", "native") as process:
        made.url = process.url
        yield made
        assert "Traceback" not in process.log


@pytest.fixture
def client(stage: Stage) -> Iterator[socket.socket]:
    """A client's connection to the sidecar."""
    stage.heads.clear()
    with connect(stage.url) as connection:
        yield connection


def asking(*fields: bytes, method: bytes = b"GET", upgrade: bytes = b"websocket") -> bytes:
    head = [method + b" / HTTP/1.1", b"host: here", b"connection: Upgrade", b"upgrade: " + upgrade, *fields]
    return b"\r\n".join([*head, b"", b""])


def read(connection: socket.socket, size: int) -> bytes:
    """So many bytes; fewer when the other side ends."""
    got = b""
    while len(got) < size and (more := connection.recv(size - len(got))):
        got += more
    return got


def test_the_handshake_is_between_the_two_ends(stage: Stage, client: socket.socket) -> None:
    offer = b"sec-websocket-extensions: permessage-deflate; client_max_window_bits; server_no_context_takeover"
    fields = [b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", b"sec-websocket-version: 13", offer]
    answer = [b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b"sec-websocket-extensions: permessage-deflate"]
    stage.script = lambda connection: connection.sendall(SWITCHED + b"\r\n".join([*answer, b"", b""]))
    client.sendall(asking(*fields))
    head = read_head(client)
    assert [line for line in stage.lines if line.startswith(b"sec-")] == fields
    assert [line for line in head.split(b"\r\n") if line.startswith(b"sec-")] == answer


FRAMES = [
    b"\x89\x05hello",  # a ping
    b"\x01\x02he\x89\x00\x80\x03llo",  # a message in fragments, and a ping between them
    b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",  # a compressed message
    b"\x8a\x00",  # a pong that nobody asked for
    b"\xf7\xff\x00",  # nothing that a frame could be
    bytes(range(256)),
]


def test_frames_go_through_as_they_are(stage: Stage, client: socket.socket) -> None:
    def echo(connection: socket.socket) -> None:
        connection.sendall(SWITCHED + b"\r\n")
        for frame in FRAMES:
            connection.sendall(read(connection, len(frame)))

    stage.script = echo
    client.sendall(asking())
    read_head(client)
    for frame in FRAMES:
        client.sendall(frame)
        assert read(client, len(frame)) == frame


def test_many_bytes_go_both_ways_at_once(stage: Stage, client: socket.socket) -> None:
    many = random.Random(0).randbytes(8 * 1024 * 1024)

    def both(connection: socket.socket) -> None:
        connection.sendall(SWITCHED + b"\r\n")
        for start in range(0, len(many), 65536):
            part = many[start : start + 65536]
            assert read(connection, len(part)) == part
            connection.sendall(part)

    stage.script = both
    client.sendall(asking())
    read_head(client)
    for start in range(0, len(many), 65536):
        client.sendall(many[start : start + 65536])
        assert read(client, 65536) == many[start : start + 65536]


def test_what_comes_right_behind_a_head_goes_through(stage: Stage, client: socket.socket) -> None:
    def early(connection: socket.socket) -> None:
        connection.sendall(SWITCHED + b"\r\nfirst words")
        connection.sendall(read(connection, 6))

    stage.script = early
    client.sendall(asking() + b"before")
    read_head(client)
    assert read(client, 17) == b"first wordsbefore"


def test_any_protocol_can_be_changed_to(stage: Stage, client: socket.socket) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 101 Yes\r\nconnection: Upgrade\r\nupgrade: chat/2\r\n\r\n")
        connection.sendall(read(connection, 5).upper())

    stage.script = script
    client.sendall(asking(b"x-b: 1", upgrade=b"chat/2"))
    head = read_head(client).lower()
    client.sendall(b"hello")
    assert read(client, 5) == b"HELLO"
    assert b"upgrade: chat/2" in stage.lines
    assert b"\r\nupgrade: chat/2\r\n" in head


def test_a_side_that_has_said_all_still_hears_the_other(stage: Stage, client: socket.socket) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(SWITCHED + b"\r\n")
        heard = read(connection, 1000)
        connection.sendall(b"heard " + heard)

    stage.script = script
    client.sendall(asking())
    read_head(client)
    client.sendall(b"all")
    client.shutdown(socket.SHUT_WR)
    assert read(client, 1000) == b"heard all"


def test_a_server_that_has_said_all_still_hears_the_client(stage: Stage, client: socket.socket) -> None:
    heard: list[bytes] = []

    def script(connection: socket.socket) -> None:
        connection.sendall(SWITCHED + b"\r\nall")
        connection.shutdown(socket.SHUT_WR)
        heard.append(read(connection, 1000))

    stage.script = script
    client.sendall(asking())
    read_head(client)
    assert read(client, 1000) == b"all"
    client.sendall(b"heard all")
    client.shutdown(socket.SHUT_WR)
    eventually(lambda: heard == [b"heard all"])


def reset(connection: socket.socket) -> None:
    """Close without an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_client_that_breaks_off_is_gone_for_the_server(stage: Stage, client: socket.socket) -> None:
    ends: list[bytes | Exception] = []

    def script(connection: socket.socket) -> None:
        connection.sendall(SWITCHED + b"\r\n")
        try:
            ends.append(connection.recv(1))
        except OSError as error:
            ends.append(error)

    stage.script = script
    client.sendall(asking())
    read_head(client)
    reset(client)
    eventually(lambda: ends)
    assert ends == [b""] or isinstance(ends[0], ConnectionResetError)


def test_a_server_that_breaks_off_is_gone_for_the_client(stage: Stage, client: socket.socket) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(SWITCHED + b"\r\nwords")
        connection.recv(1)
        reset(connection)

    stage.script = script
    client.sendall(asking())
    read_head(client)
    assert read(client, 5) == b"words"
    client.sendall(b"x")
    try:
        assert client.recv(1) == b""
    except ConnectionResetError:
        pass


def test_after_a_refusal_the_connection_is_still_http(stage: Stage, client: socket.socket) -> None:
    stage.script = lambda connection: connection.sendall(b"HTTP/1.1 426 No\r\ncontent-length: 2\r\n\r\nno")
    for _ in range(2):
        client.sendall(asking(b"x-b: 1"))
        assert b" 426 " in read_head(client)
        assert read(client, 2) == b"no"
    assert len(stage.heads) == 2


@pytest.mark.parametrize("framing", [b"content-length: 37", b"transfer-encoding: chunked"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_the_body_of_a_wish_for_an_upgrade_is_a_body(
    stage: Stage, client: socket.socket, framing: bytes, method: bytes
) -> None:
    """Some clients wish for HTTP/2 with every request. For one that reads it otherwise, the body would be a request."""
    body = b"DELETE /evil HTTP/1.1\r\nhost: here\r\n\r\n"
    if b"chunked" in framing:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    came: list[bytes] = []

    def script(connection: socket.socket) -> None:
        came.append(read(connection, len(body)))
        connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    for _ in range(2):
        stage.script = script
        client.sendall(asking(framing, method=method) + body)
        assert b" 200 " in read_head(client)
    assert came == [body] * 2
    assert [head.split(b" ")[0] for head in stage.heads] == [method] * 2


@pytest.mark.parametrize("protocol", [b"h2c", b"HTTP/2.0", b"TLS/1.2", b"h2c, websocket"])
def test_http_is_not_changed_to_http_past_the_proxy(stage: Stage, client: socket.socket, protocol: bytes) -> None:
    stage.script = lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    client.sendall(asking(upgrade=protocol))
    assert b" 200 " in read_head(client)
    assert not [line for line in stage.lines if line.lower().startswith(b"upgrade")]


@pytest.mark.parametrize("field", [b"connection: close", b"connection: keep-alive", b"x-b: 1"])
def test_an_upgrade_that_connection_does_not_name_is_none(stage: Stage, client: socket.socket, field: bytes) -> None:
    stage.script = lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    client.sendall(b"GET / HTTP/1.1\r\nhost: here\r\nupgrade: websocket\r\n" + field + b"\r\n\r\n")
    assert b" 200 " in read_head(client)
    assert not [line for line in stage.lines if line.lower().startswith(b"upgrade")]


def test_a_change_that_nobody_asked_for_is_a_bad_gateway(stage: Stage, client: socket.socket) -> None:
    stage.script = lambda connection: connection.sendall(SWITCHED + b"\r\nsurprise")
    client.sendall(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
    assert b" 502 " in read_head(client)
