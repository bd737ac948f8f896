"""A guarded vendor resume and its response, through the sidecar's own HTTP/1.1: the same bytes as if it passed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.http1.server_connection import Http1Protocol
from ap_resume_shim.middleware import VendorMode
from tests.support.agent import PROTOCOL
from tests.support.serving import serving
from tests.support.sockets import talk, upstream

BODY = b'{"thread_id": "t", "input": {"command": {"resume": "yes"}}}'
THREAD = json.dumps({"thread_id": "t", "status": "interrupted", "interrupts": [{"id": "q1", "value": "?"}]}).encode()
RUNS = b'[{"run_id": "r1", "agent_id": "a"}]'
HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </b>\r\n\r\n"
CHUNKS = b"transfer-encoding: chunked\r\nx-a: 1\r\nx-a: 2\r\n\r\n3\r\none\r\n"
TRAILERS = b"0\r\nx-sum: 1\r\nx-also: 2\r\n\r\n"
RESPONSES = {
    "hints": HINTS + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "trailers": b"HTTP/1.1 200 OK\r\n" + CHUNKS + TRAILERS,
    "hints and trailers": HINTS + b"HTTP/1.1 201 Created\r\n" + CHUNKS + TRAILERS,
    "trailers of a failure": b"HTTP/1.1 500 Oh\r\n" + CHUNKS + TRAILERS,
    "no trailers": b"HTTP/1.1 200 OK\r\n" + CHUNKS + b"0\r\n\r\n",
    "a length": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
}
WANTS_TRAILERS = b"te: trailers\r\n"


@contextmanager
def sidecar(response: bytes, mode: VendorMode) -> Iterator[tuple[str, list[bytes]]]:
    """The sidecar's server, shim and transport, in front of a server that says these bytes to a resume.

    Yields its URL, and the bodies of the resumes that reached the server.
    """
    bodies: list[bytes] = []

    def says(connection: socket.socket) -> None:
        head = server.heads[-1]
        if head.startswith(b"POST /runs HTTP"):
            bodies.append(read_body(connection, head))
            connection.sendall(response)
        else:
            value = THREAD if head.startswith(b"GET") else RUNS
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(value) + value)

    with upstream(says) as server:
        shim = ResumeShim(ReverseProxy(server.url, transport=Http1Transport), PROTOCOL, vendor_resumes=mode)
        with serving(shim, http=Http1Protocol) as url:
            yield url, bodies


def read_body(connection: socket.socket, head: bytes) -> bytes:
    """Read a body with its framing."""
    received = b""
    while not received.endswith(b"\r\n\r\n" if b"chunked" in head else BODY):
        received += connection.recv(65536)
    return received


def answer(response: bytes, mode: VendorMode, fields: bytes) -> bytes:
    """All bytes that a client receives."""
    head = b"POST /runs HTTP/1.1\r\nhost: here\r\nconnection: close\r\n%bcontent-length: %d\r\n\r\n"
    with sidecar(response, mode) as (url, _):
        return talk(url, head % (fields, len(BODY)) + BODY)


@pytest.mark.parametrize("fields", [b"", WANTS_TRAILERS], ids=["", "wants trailers"])
@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)
def test_the_response_is_the_servers_own(response: bytes, fields: bytes) -> None:
    passed, guarded = (answer(response, mode, fields) for mode in ("pass", "guard"))
    assert guarded == passed
    assert (b"x-sum: 1\r\nx-also: 2" in guarded) is (TRAILERS in response and fields == WANTS_TRAILERS)
    assert (guarded.count(b"103 Early Hints") == 2) is (HINTS in response)


def test_trailers_of_the_request_reach_the_server() -> None:
    head = b"POST /runs HTTP/1.1\r\nhost: here\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    framed = b"%x\r\n%b\r\n0\r\nx-sum: 1\r\n\r\n" % (len(BODY), BODY)
    with sidecar(RESPONSES["a length"], "guard") as (url, bodies):
        assert talk(url, head + framed).startswith(b"HTTP/1.1 200 OK")
    assert bodies == [framed]
