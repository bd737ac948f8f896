"""A client on a bare socket: sends the bytes it is given, and tells how an answer ended."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from tests.differential.origin import FieldLines

PATIENCE = 2.0
"""Seconds without a byte."""

End = Literal["complete", "broken", "silent"]
"""As the framing says; cut off before that; or neither, within the client's patience."""


@dataclass(frozen=True)
class Answer:
    """An answer. `status` is 0 where none came; `interim` are the statuses of the 1xx before it."""

    status: int = 0
    reason: bytes = b""
    lines: FieldLines = ()  # type: ignore[assignment]
    body: bytes = b""
    trailers: bytes = b""
    end: End = "broken"
    interim: tuple[int, ...] = ()
    version: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field's lines, in order."""
        return [value for known, value in self.lines if known.lower() == name]


class Ended(Exception):
    """No more bytes: closed, reset, or silent for too long."""

    def __init__(self, how: Literal["closed", "reset", "silent"]) -> None:
        super().__init__(how)
        self.how = how


class Client:
    """One connection to a loopback port."""

    def __init__(self, port: int, *, patience: float = PATIENCE, window: int | None = None) -> None:
        """`window`: bytes of the receive buffer, for a client that reads slowly."""
        self.plug = socket.socket()
        self.plug.settimeout(patience)
        if window is not None:
            self.plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.plug.connect(("127.0.0.1", port))
        self.plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.plug.close()

    def send(self, data: bytes) -> None:
        """Send; a server that has closed is no error, its answer may still be read."""
        try:
            self.plug.sendall(data)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass

    def leave(self, *, rudely: bool = False) -> None:
        """Close, with FIN or with RST."""
        if rudely:
            self.plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.plug.close()

    def more(self) -> None:
        """Wait for more bytes. Raises `Ended`."""
        try:
            data = self.plug.recv(1 << 16)
        except TimeoutError:
            raise Ended("silent") from None
        except OSError:
            raise Ended("reset") from None
        if not data:
            raise Ended("closed")
        self.buffer += data

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self.buffer) < size:
            self.more()
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    def until(self, mark: bytes) -> bytes:
        """The next bytes up to and with `mark`."""
        while mark not in self.buffer:
            self.more()
        return self.take(self.buffer.index(mark) + len(mark))

    def rest(self) -> bytes:
        """Everything that still comes, to whatever end."""
        try:
            while True:
                self.more()
        except Ended:
            return self.take(len(self.buffer))

    def head(self) -> Answer:
        """The next head, be it of a 1xx or of an answer. Raises `Ended`."""
        first, *lines = self.until(b"\r\n\r\n")[:-4].split(b"\r\n")
        version, _, tail = first.partition(b" ")
        status, _, reason = tail.partition(b" ")
        split = [line.partition(b":") for line in lines]
        fields = [(name, value.strip(b" \t")) for name, _, value in split]
        return Answer(int(status) if status.isdigit() else 0, reason, fields, version=version)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer, read to its end; never raises."""
        interim: list[int] = []
        body = bytearray()
        head = Answer()
        try:
            while (head := self.head()).status in range(100, 200) and head.status != 101:
                interim.append(head.status)
            trailers = self._body(head, method, body)
        except Ended as ended:
            end: End = "silent" if ended.how == "silent" else "broken"
            return (
                _with(head, bytes(body), end, interim) if head.status >= 200 else Answer(end=end, interim=(*interim,))
            )
        return _with(head, bytes(body), "complete", interim, trailers)

    def _body(self, head: Answer, method: str, body: bytearray) -> bytes:
        """Read the body into `body` as it comes; gives the trailers."""
        if method == "HEAD" or head.status in (101, 204, 304):
            return b""
        if head.values(b"transfer-encoding"):
            return self._chunks(body)
        if length := head.values(b"content-length"):
            left = int(length[0])
            while left:
                if not self.buffer:
                    self.more()
                part = self.take(min(left, len(self.buffer)))
                left -= len(part)
                body += part
            return b""
        try:
            while True:
                body += self.take(len(self.buffer) or 1)
        except Ended as ended:
            if ended.how != "closed":
                raise
        return b""

    def _chunks(self, body: bytearray) -> bytes:
        while size := int(self.until(b"\r\n").split(b";")[0], 16):
            body += self.take(size)
            self.take(2)
        trailers = b""
        while (line := self.until(b"\r\n")) != b"\r\n":
            trailers += line
        return trailers


def _with(head: Answer, body: bytes, end: End, interim: list[int], trailers: bytes = b"") -> Answer:
    return Answer(head.status, head.reason, head.lines, body, trailers, end, (*interim,), head.version)
