"""HTTP: JSON bodies, and responses that notice when the client disconnects."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from ap_resume_shim.demo.legacy_server.state import Json, Run

KINDS = {
    "thread_id": str,
    "agent_id": str,
    "metadata": dict,
    "config": dict,
    "messages": list,
    "stream_mode": str | list,
    "limit": int,
    "offset": int,
}
"""The type of each field that the server reads; all may be absent or null."""


class Reply(JSONResponse):
    """JSON in ASCII, which can represent every string."""

    def render(self, content: Any) -> bytes:
        """Encode the content."""
        return json.dumps(content).encode()


class EventStream(Response):
    """A run's events, from number `start` on; `attend` describes `owner`."""

    media_type = "text/event-stream"

    def __init__(self, run: Run, start: int = 0, *, owner: bool = False) -> None:
        super().__init__(headers={"Content-Location": f"/runs/{run.run_id}", "Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._run, self._start, self._owner = run, start, owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await attend(self._run, self._send(send), receive, owner=self._owner)

    async def _send(self, send: Send) -> None:
        async for name, data in self._events():
            event = f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n"
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _events(self) -> AsyncIterator[tuple[str, Any]]:
        yield "metadata", {"run_id": self._run.run_id}
        async for event in self._run.follow(self._start):
            yield event


async def attend(run: Run, work: Coroutine[Any, Any, None], receive: Receive, *, owner: bool) -> None:
    """Run `work` until the client disconnects. If the client owns the run, that cancels it, unless the run has
    `on_disconnect: continue`.
    """
    working, leaving = asyncio.create_task(work), asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        working.cancel()
        if owner and run.body.get("on_disconnect") != "continue":
            run.cancel()
    if working.done():
        working.result()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def read(request: Request) -> Json:
    """Return the body, an object; an empty body counts as an empty object."""
    try:
        body = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, f"The body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise HTTPException(422, "The body is not a JSON object.")
    for key, kind in KINDS.items():
        if not isinstance(body.get(key), kind | None):
            raise HTTPException(422, f"`{key}` is of the wrong type.")
    return body
