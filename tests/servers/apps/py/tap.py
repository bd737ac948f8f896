"""An ASGI middleware that remembers which requests reached the application behind it.

`GET /__tap` lists them as `{"method", "path", "body"}`, `DELETE /__tap` forgets them. Placed between the shim and
the agent server it shows what the shim really sent.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

SMALL = 64 * 1024
"""Longer bodies are not kept."""


class Tap:
    def __init__(self, app: App) -> None:
        self.app = app
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if scope["path"] == "/__tap":
            return await self.answer(scope["method"], send)

        entry = {"method": scope["method"], "path": scope["path"], "body": None}
        self.seen.append(entry)
        body = bytearray()

        async def listen() -> Message:
            message = await receive()
            if message["type"] == "http.request" and len(body) <= SMALL:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    entry["body"] = decoded(bytes(body))
            return message

        return await self.app(scope, listen, send)

    async def answer(self, method: str, send: Send) -> None:
        listing = json.dumps(self.seen).encode()
        if method == "DELETE":
            self.seen.clear()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(listing)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": listing})


def decoded(body: bytes) -> Any:
    """The JSON value of a small body, the text when it is no JSON, None when it is empty or too long."""
    if not body or len(body) > SMALL:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
