"""What clients are told of failures names no address, port, path or system error; the log does."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.guard import load_guard
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from tests.servers.process import free_port
from tests.support.agent import PROTOCOL, Agent
from tests.support.calling import Call, http
from tests.support.sockets import upstream

TRANSPORTS = [HttpxTransport, Http1Transport]


@dataclass
class Failure:
    """A server that cannot be used: its address, what the log has to name, and how the proxy is told of it."""

    url: str
    named: str
    options: dict[str, Any] = field(default_factory=dict)


Making = Callable[[ExitStack, Path], Failure]


def refused(stack: ExitStack, folder: Path) -> Failure:
    bound = stack.enter_context(closing(socket.socket()))
    bound.bind(("127.0.0.1", 0))  # and does not listen
    return Failure(f"http://127.0.0.1:{bound.getsockname()[1]}", "127.0.0.1")


def no_such_name(stack: ExitStack, folder: Path) -> Failure:
    return Failure("http://secret-host.invalid:8123", "secret-host.invalid")


def not_accepted(stack: ExitStack, folder: Path) -> Failure:
    """A full backlog: connections are never there."""
    listening = stack.enter_context(closing(socket.socket()))
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    for _ in range(3):
        waiting = stack.enter_context(closing(socket.socket()))
        waiting.setblocking(False)
        waiting.connect_ex(listening.getsockname())
    return Failure(f"http://127.0.0.1:{listening.getsockname()[1]}", "127.0.0.1", {"connect": 0.2})


def silent(stack: ExitStack, folder: Path) -> Failure:
    listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return Failure(f"http://127.0.0.1:{listening.getsockname()[1]}", "127.0.0.1", {"answer": 0.2})


def reset(stack: ExitStack, folder: Path) -> Failure:
    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    return Failure((server := stack.enter_context(upstream(script))).url, server.url)


def nonsense(stack: ExitStack, folder: Path) -> Failure:
    return Failure((server := stack.enter_context(upstream(b"220 smtp.secret\r\n\r\n"))).url, server.url)


def no_tls(stack: ExitStack, folder: Path) -> Failure:
    server = stack.enter_context(upstream(b"this is no TLS at all\r\n\r\n"))
    return Failure(server.url.replace("http:", "https:"), "127.0.0.1")


def no_socket(stack: ExitStack, folder: Path) -> Failure:
    return Failure(f"unix:{folder}/secret.sock", "secret.sock")


FAILURES = [refused, no_such_name, not_accepted, silent, reset, nonsense, no_tls, no_socket]


def assert_confidential(told: str, failure: Failure) -> None:
    address = re.split(r"[:/]+", failure.url)[1:]
    for secret in (failure.url, failure.named, *filter(None, address), "rrno", "[SSL", "refused", "known"):
        assert secret not in told, told


async def ask(failure: Failure, transport: Any, scope: Any, body: bytes, shim: bool) -> Call:
    proxy = ReverseProxy(failure.url, transport=transport, **failure.options)
    try:
        await (call := Call(body))(ResumeShim(proxy, PROTOCOL) if shim else proxy, scope)
    finally:
        await proxy.aclose()
    return call


@contextmanager
def failing(making: Making, folder: Path) -> Iterator[Failure]:
    with ExitStack() as stack:
        yield making(stack, folder)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("making", FAILURES)
def test_a_passed_request_is_not_told_where_the_server_is(
    making: Making, transport: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with failing(making, tmp_path) as failure:
        call = asyncio.run(ask(failure, transport, http(path="/threads/t"), b"", shim=False))
    assert call.status in (502, 504)
    assert_confidential(call.answer.decode(), failure)
    assert failure.named in caplog.text
    assert "GET /threads/t failed" in caplog.text


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("making", FAILURES)
def test_a_resume_is_not_told_where_the_server_is(
    making: Making, transport: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"thread_id": "t", "input": 1}'
    with failing(making, tmp_path) as failure:
        call = asyncio.run(ask(failure, transport, http("PATCH", "/runs/resume"), body, shim=True))
    assert call.status in (502, 504)
    assert_confidential(call.answer.decode(), failure)
    assert failure.named in caplog.text


def test_a_resume_is_not_told_where_the_guards_store_is(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()

    async def scenario() -> Call:
        guard = load_guard(f"redis://user:secret@127.0.0.1:{port}/0")
        shim = ResumeShim(Agent(), PROTOCOL, guard=guard)
        await (call := Call(b'{"thread_id": "t", "input": 1}'))(shim, http("PATCH", "/runs/resume"))
        await guard.aclose()
        return call

    call = asyncio.run(scenario())
    assert call.status == 503
    assert_confidential(call.answer.decode(), Failure(f"redis://127.0.0.1:{port}", str(port)))
    assert str(port) in caplog.text
    assert "secret" not in caplog.text
