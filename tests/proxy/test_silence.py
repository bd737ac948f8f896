"""Silence in what passes: no limit of its own, unless it is set; the kernel finds peers that vanished."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.http1.server_connection import Http1Protocol
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.sidecar.app import _proxy
from ap_resume_shim.sidecar.settings_sources import read
from ap_resume_shim.sidecar.sockets import listen_tcp
from tests.support.agent import METADATA, PROTOCOL, VALUES, Agent, says, streamed
from tests.support.calling import CLIENT
from tests.support.serving import serving
from tests.support.sockets import connect, read_head, until_closed, upstream

WISH = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Silent:
    """A server that sends this, with pauses, and is silent then."""

    def __init__(self, *parts: bytes, pause: float = 0) -> None:
        self.parts, self.pause = parts, pause
        self.left, self.over = threading.Event(), threading.Event()

    def __call__(self, connection: socket.socket) -> None:
        for part in self.parts:
            connection.sendall(part)
            self.over.wait(self.pause)
        if until_closed(connection):
            self.left.set()


@contextmanager
def proxied(silent: Any, *, transport: Any = Http1Transport, **options: Any) -> Iterator[str]:
    with upstream(silent) as behind:
        proxy = ReverseProxy(behind.url, transport=transport, **options)
        with serving(proxy, http=Http1Protocol) as url:
            yield url


@pytest.mark.parametrize("transport", [HttpxTransport, Http1Transport])
def test_an_answer_that_is_silent_for_too_long_is_broken_off_on_both_sides(transport: Any) -> None:
    silent = Silent(CHUNKED + b"2\r\nok\r\n")
    with proxied(silent, transport=transport, idle=0.2) as url:
        with pytest.raises(httpx.RemoteProtocolError):
            CLIENT.get(url)
        assert silent.left.wait(5)


def test_an_answer_that_is_never_silent_for_so_long_may_take_longer() -> None:
    with proxied(Silent(CHUNKED, *[b"2\r\nok\r\n"] * 6, b"0\r\n\r\n", pause=0.15), idle=0.5) as url:
        assert CLIENT.get(url).content == b"ok" * 6


def test_an_upgraded_connection_that_is_silent_for_too_long_is_broken_off_on_both_sides() -> None:
    silent = Silent(SWITCHED)
    with proxied(silent, idle=0.2) as url, connect(url) as client:
        client.sendall(WISH)
        assert b" 101 " in read_head(client)
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
        assert silent.left.wait(5)


@pytest.mark.parametrize("speaker", ["client", "server"])
def test_one_side_that_is_not_silent_is_enough(speaker: str) -> None:
    server = Silent(SWITCHED, *([b"x"] * 8 if speaker == "server" else []), pause=0.2)
    with proxied(server, idle=1.0) as url, connect(url) as client:
        client.sendall(WISH)
        assert b" 101 " in read_head(client)
        for _ in range(8):
            if speaker == "server":
                assert client.recv(1) == b"x"
            else:
                client.sendall(b"x")
                assert not server.left.wait(0.2)


def test_a_resume_has_limits_of_its_own() -> None:
    agent = Agent(says(METADATA, 0.6, VALUES))
    with serving(agent) as behind:
        shim = ResumeShim(ReverseProxy(behind, idle=0.2), PROTOCOL)
        with serving(shim) as url, streamed(url) as answer:
            assert answer.read().count(b"event: ") == 2


def test_there_is_no_limit_unless_it_is_set() -> None:
    default = _proxy(read(["--upstream", "http://127.0.0.1:9"]))
    chosen = _proxy(read(["--upstream", "http://127.0.0.1:9", "--passed-idle-timeout", "300"]))
    assert (default._idle_timeout, chosen._idle_timeout) == (None, 300)


def test_clients_are_probed_while_they_are_silent() -> None:
    with listen_tcp("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 4
