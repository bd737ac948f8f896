"""Calls an ASGI app directly, without a server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Scope

CLIENT = httpx.Client(timeout=30, verify=False, limits=httpx.Limits(max_keepalive_connections=0))
"""A client without idle connections. It is shared, since each new client would read all certificates."""


def http(method: str = "GET", path: str = "/", **more: Any) -> Scope:
    """Return the scope of a request, like uvicorn's; `more` replaces its keys."""
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
    """One call of an app: the request `body`, and the messages that it `sent`. Set `gone` to disconnect the client."""

    body: bytes = b""
    sent: list[Message] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _received: bool = False

    async def receive(self) -> Message:
        """ASGI `receive`: the whole body, then the disconnect once `gone` is set."""
        if not self._received:
            self._received = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ASGI `send`: record the message."""
        self.sent.append(message)

    async def __call__(self, app: ASGIApp, scope: Scope) -> None:
        await app(scope, self.receive, self.send)

    @property
    def status(self) -> int:
        """The status of the response."""
        return int(self.sent[0]["status"])

    @property
    def answer(self) -> bytes:
        """The body of the response."""
        return b"".join(message.get("body", b"") for message in self.sent[1:])


class Recorder:
    """An app that records the arguments of its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls.append((scope, receive, send))
