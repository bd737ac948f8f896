"""The sidecar between a client and an origin, both on bare sockets, and what the sidecar says meanwhile."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from tests.differential.client import Client, Ended
from tests.differential.origin import Door, Exchange, Request, answer, chunk, running_origin
from tests.differential.rows import eventually
from tests.fuzz import reading
from tests.support.sidecar import Sidecar, sidecar

PATIENCE = 10.0
"""Seconds after which an exchange that has neither been answered nor closed hangs."""
QUIET = 0.02
"""Seconds in which what must not come has its chance to come."""
RUN = {"run_id": "r", "agent_id": "a", "status": "success", "created_at": "then", "updated_at": "now", "metadata": {}}
OPTIONS = ("--port", "0", "--backend", "agent-protocol", "--settle", "0", "--commit-timeout", "0.01")


@dataclass
class World:
    """A sidecar, and its origin's door."""

    sidecar: Sidecar
    door: Door
    _seen: int = 0

    @property
    def port(self) -> int:
        """Where the sidecar listens."""
        return int(self.sidecar.url.rpartition(":")[2])

    def crashed(self) -> str:
        """What the sidecar has logged since the last look, if a traceback is in it."""
        log = self.sidecar.log
        new, self._seen = log[self._seen :], len(log)
        return new if "Traceback" in new else ""


@contextmanager
def world() -> Iterator[World]:
    """A sidecar in front of a door of an origin."""
    with running_origin() as origin:
        door = origin.door()
        with sidecar("--upstream", f"http://127.0.0.1:{door.port}", *OPTIONS) as process:
            yield World(process, door)


def digest(method: bytes, target: bytes, body: bytes) -> bytes:
    """A name for a request: whoever is answered it has been read as this one."""
    return hashlib.sha256(b"%b %b\n%b" % (method, target, body)).hexdigest().encode()


def digest_of(request: Request) -> bytes:
    """The name of what reached the origin."""
    return digest(request.method, request.target, request.body or b"")


async def agent(exchange: Exchange) -> bytes | None:
    """Read a request; an answer if it is one for an agent server, whose threads all wait for an answer."""
    request = exchange.request
    if request.values(b"expect"):
        await exchange.play(b"HTTP/1.1 100 Continue\r\n\r\n")
    body, path = await exchange.read(), request.target
    if path.startswith(b"/threads/"):
        thread = {"thread_id": path[9:].decode("latin-1"), "status": "interrupted", "interrupts": [], "values": {}}
        return _json({**thread, "interrupts": [{"id": "q", "value": "sure?"}], "updated_at": "now"})
    if path == b"/runs/search":
        return _json([RUN])
    if path == b"/runs/stream":
        events = b'event: metadata\ndata: {"run_id": "r"}\n\nevent: values\ndata: %b\n\n' % _heard(body)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head + chunk(events) + b"0\r\n\r\n"
    if path in (b"/runs", b"/runs/wait"):
        run = {**RUN, "metadata": json.loads(_heard(body))}
        return _json(run if path == b"/runs" else {"run": run, "values": run["metadata"]})
    return None


def _heard(body: bytes) -> bytes:
    return json.dumps({"heard": json.loads(body)["thread_id"]}).encode()


def _json(value: object) -> bytes:
    return answer(json.dumps(value).encode(), b"Content-Type: application/json")


@dataclass
class Heard:
    """What came back on a connection: bytes, and how the other side has ended it, if it has."""

    client: Client
    raw: bytes = b""
    ended: Literal["", "closed", "reset"] = ""

    def until(self, enough: Callable[[reading.Reading], bool], methods: list[bytes], patience: float) -> bool:
        """Read until there is enough or the connection is closed; False when neither happens in time."""
        deadline = time.monotonic() + patience
        while not self.ended and not enough(reading.answers(self.raw, methods)):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.client.plug.settimeout(left)
            try:
                self.client.more()
            except Ended as ended:
                self.ended = "" if ended.how == "silent" else ended.how
            self.raw += self.client.take(len(self.client.buffer))
        return True

    def leave(self) -> bool:
        """Say that nothing more will be sent; whether the other side closes then."""
        try:
            self.client.plug.shutdown(socket.SHUT_WR)
        except OSError:
            return True
        return self.until(lambda _: False, [], PATIENCE)


def settled(door: Door) -> bool:
    """Wait until every connection to the origin is closed or between two requests; whether that happens in time."""

    def at_rest() -> bool:
        open_ = [each for each in door.connections if each.raw and each.left is None]
        return all(reading.requests(bytes(each.raw)).end != "partial" for each in open_)

    return eventually(at_rest, PATIENCE)
