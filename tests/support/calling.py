"""Calling an ASGI app by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Scope

PATIENCE = 10.0
CLIENT = httpx.Client(timeout=30, verify=False, limits=httpx.Limits(max_keepalive_connections=0))
"""A client that keeps no connections; one for each request would read all certificates each time."""


def http(method: str = "GET", path: str = "/", **more: Any) -> Scope:
    """A request's scope, as uvicorn makes it."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"here")],
        "state": {},
        "extensions": {"http.response.pathsend": {}},
        **more,
    }


@dataclass
class Call:
    """One call of an app: what it is sent, and what it sends."""

    body: bytes = b""
    sent: list[Message] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: bool = False

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def __call__(self, app: ASGIApp, scope: Scope) -> None:
        await app(scope, self.receive, self.send)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def answer(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


class Recorder:
    """An app that remembers with what it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls.append((scope, receive, send))


def eventually(happened: Callable[[], Any], patience: float = PATIENCE) -> bool:
    """Whether it happens within generous time."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if happened():
            return True
        time.sleep(0.02)
    return False
