"""What the agents of a real server have been through, told to the tests: `GET /__witness`.

Standard library and uvicorn only: it runs in the environment of each server. Agents call `note`; the tests read
`{"ref", "event", "value"}` in the order of what happened. `ref` is a name that the test gave when it started the run.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

EVENTS: list[dict[str, Any]] = []


def note(ref: str, event: str, value: Any = None) -> None:
    """Remember: `asked` a question, `got` an answer (the value as it arrived), `ended`, `failed`."""
    EVENTS.append({"ref": ref, "event": event, "value": value})


class Witness:
    """The server's app, with one path more."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/__witness":
            await self.app(scope, receive, send)
            return
        body = json.dumps(EVENTS).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def serve(app: App, port: int) -> None:
    """Run the app on a loopback port; uvicorn's log names the address."""
    import uvicorn

    uvicorn.run(Witness(app), host="127.0.0.1", port=port, log_level="info", access_log=False)
