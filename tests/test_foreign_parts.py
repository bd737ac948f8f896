"""What is used of other packages without being documented there: each test fails when a part is gone or has changed.

`pyproject.toml` allows no version newer than those of `constraints.txt`; to allow one, run these tests with it.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httptools
import pytest
from redis.asyncio import Redis
from uvicorn import Server
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import WebSocketURI

from ap_resume_shim._shutdown import SHUTDOWN

ROOT = Path(__file__).parents[1]


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def uses(function: Callable[..., Any], *names: str) -> bool:
    """Whether the source of a function calls methods of these names."""
    return all(re.search(rf"\.{name}\(", inspect.getsource(function)) for name in names)


def test_websockets_writes_a_handshake_by_a_method_that_can_be_replaced() -> None:
    protocol = ClientProtocol(WebSocketURI(False, "", 0, "", ""), subprotocols=None, max_size=1)
    assert parameters(ClientProtocol.send_request) == ["self", "request"]
    assert uses(ClientConnection.handshake, "send_request")
    assert (protocol.writes, protocol.available_subprotocols, type(protocol.key)) == ([], None, str)


def test_websockets_has_a_connection_that_can_be_made_by_hand() -> None:
    assert {"ping_interval", "close_timeout", "max_queue"} <= set(parameters(ClientConnection.__init__))
    assert parameters(ClientConnection.process_event) == ["self", "event"]
    assert uses(ClientConnection.data_received, "process_event")


def test_websockets_has_a_server_s_connection_that_can_be_made_by_hand() -> None:
    protocol = ServerProtocol(state=OPEN, max_size=1)
    fields = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers = Headers({**fields, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert protocol.accept(Request("/", headers)).headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert {"ping_interval", "ping_timeout", "close_timeout", "max_queue"} <= set(parameters(Connection.__init__))
    assert parameters(Connection.start_keepalive) == ["self"]


class Parsing:
    """What httptools calls."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.upgrades: list[bool] = []

    def on_headers_complete(self) -> None:
        self.upgrades.append(self.parser.should_upgrade())

    def on_body(self, data: bytes) -> None:
        raise ZeroDivisionError


def test_httptools_has_the_error_of_a_callback_as_the_context_of_its_own() -> None:
    with pytest.raises(httptools.HttpParserError) as caught:
        Parsing().parser.feed_data(b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\nx")
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_httptools_stops_at_a_wish_for_an_upgrade_which_it_shows_before() -> None:
    parsing = Parsing()
    with pytest.raises(httptools.HttpParserUpgrade):
        parsing.parser.feed_data(b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 1\r\n\r\nx")
    assert parsing.upgrades == [True]


def test_redis_refuses_an_option_that_there_is_not_when_a_connection_is_made() -> None:
    with pytest.raises(TypeError):
        Redis.from_url("redis://127.0.0.1?nonsense=1").connection_pool.make_connection()  # type: ignore[no-untyped-call]


def test_uvicorn_cancels_requests_with_the_words_by_which_they_know_its_end() -> None:
    """In an app under uvicorn; the sidecar does not need it."""
    assert SHUTDOWN in inspect.getsource(Server.shutdown)


@pytest.mark.parametrize("package", ["websockets", "httptools", "redis"])
def test_no_newer_minor_version_is_allowed_than_the_tested_one(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (bound,) = re.findall(rf"'{package}(?:\[\w+\])?>=[\d.]+,<([\d.]+)'", str(project["optional-dependencies"]))
    (tested,) = re.findall(rf"^{package}==(\d+)\.(\d+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert bound == f"{tested[0]}.{int(tested[1]) + 1}"
