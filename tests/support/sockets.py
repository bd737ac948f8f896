"""Raw sockets: a server and a client that can send invalid HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Script = Callable[[socket.socket], None]

OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"


@dataclass
class Upstream:
    """A server that calls one function for each connection, after it has read a request's head.

    `heads` are the heads of the requests, without the blank line.
    """

    url: str
    heads: list[bytes] = field(default_factory=list)

    @property
    def lines(self) -> list[bytes]:
        """The lines of the first request's head."""
        return self.heads[0].split(b"\r\n")


@contextmanager
def upstream(script: Script | bytes = OK) -> Iterator[Upstream]:
    """Run such a server during the block. `script` is the function, or the bytes of the response."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Upstream(f"http://127.0.0.1:{listening.getsockname()[1]}")
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(10)
            server.heads.append(read_head(connection).removesuffix(b"\r\n\r\n"))
            connection.sendall(script) if isinstance(script, bytes) else script(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threads.append(thread := threading.Thread(target=serve, args=(connection,), daemon=True))
                thread.start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for thread in (accepting, *threads):
            thread.join(timeout=10)


def read_head(connection: socket.socket) -> bytes:
    """Read a head up to its blank line, and nothing after it."""
    received = b""
    while not received.endswith(b"\r\n\r\n") and (more := connection.recv(1)):
        received += more
    return received


def connect(url: str) -> socket.socket:
    """Open a connection to the server at a URL."""
    parsed = urlsplit(url)
    return socket.create_connection((parsed.hostname or "", parsed.port or 80), timeout=10)


def talk(url: str, request: bytes) -> bytes:
    """Send bytes, and return everything until the server closes or resets the connection."""
    received = b""
    with connect(url) as connection, suppress(ConnectionResetError):
        connection.sendall(request)
        while more := connection.recv(65536):
            received += more
    return received


def until_closed(connection: socket.socket) -> bool:
    """Read until the peer closes. Return False if it does not within the connection's timeout."""
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True
