"""A server that closes its connections unannounced, a millisecond after each answer: resumes are not lost to it."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from tests.support.agent import PROTOCOL, RUN, resume
from tests.support.serving import serving
from tests.support.sockets import read_head

THREAD = {"thread_id": "t", "status": "interrupted", "interrupts": [{"id": "q1", "value": "sure?"}]}


@dataclass
class Origin:
    """The server; `resumes` are the bodies that reached it."""

    url: str = ""
    connections: int = 0
    resumes: list[bytes] = field(default_factory=list)


@contextmanager
def origin(idle: int = 0) -> Iterator[Origin]:
    """Run the server. Its first `idle` connections are answered at the same time, and closed at their next request."""
    made, listening = Origin(), socket.create_server(("127.0.0.1", 0))
    together = threading.Barrier(max(idle, 1))
    made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def serve(connection: socket.socket, number: int) -> None:
        with connection:
            head = read_head(connection)
            length = re.search(rb"content-length: (\d+)", head)
            body = connection.recv(int(length[1])) if length and int(length[1]) else b""
            value: Any = [RUN] if b"/search" in head else RUN if head.startswith(b"POST") else THREAD
            if head.startswith((b"POST /runs ", b"POST /runs/wait ")):
                made.resumes.append(body)
            answer = json.dumps({"run": RUN, "values": {}} if b"/wait" in head else value).encode()
            if number <= idle:
                together.wait(10)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)
            if number <= idle:
                read_head(connection)
            else:
                time.sleep(0.001)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                made.connections += 1
                threading.Thread(target=serve, args=(connection, made.connections), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listening:
        yield made
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("transport", [HttpxTransport, Http1Transport])
def test_a_resume_is_never_sent_on_a_connection_that_may_be_closing(transport: Any) -> None:
    with origin() as behind, serving(ResumeShim(ReverseProxy(behind.url, transport=transport), PROTOCOL)) as url:
        answers = [resume(url, "/wait", agent_id="a") for _ in range(25)]
    assert [answer.status_code for answer in answers] == [200] * 25, answers[-1].text
    assert len(behind.resumes) == 25


@pytest.mark.parametrize("transport", [HttpxTransport, Http1Transport])
def test_a_lookup_is_retried_on_a_new_connection(transport: Any) -> None:
    """All idle connections are closed when they are used: trying the next of them would fail too."""
    with origin(idle=4) as behind:
        proxy = ReverseProxy(behind.url, transport=transport)
        with serving(ResumeShim(proxy, PROTOCOL)) as url:
            with ThreadPoolExecutor(4) as clients:
                read = list(clients.map(httpx.get, [f"{url}/threads/t"] * 4))
            answer = resume(url, "/wait", agent_id="a")
    assert [got.status_code for got in [*read, answer]] == [200] * 5, answer.text
    assert (len(behind.resumes), behind.connections > 5) == (1, True)
