"""A server of the Agent Protocol as an ASGI app, with one interrupted thread; a test sets the response to a resume."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from ap_resume_shim import Guard, Limits, ResumeShim
from ap_resume_shim.backends import load_backend
from ap_resume_shim.runtime.telemetry import Telemetry
from tests.support.calling import CLIENT
from tests.support.serving import serving

Answering = Callable[["Agent", Receive, Send], Awaitable[None]]

METADATA = b'event: metadata\r\ndata: {"run_id": "r2"}\r\n\r\n'
VALUES = b'event: values\r\ndata: {"n": 2}\r\n\r\n'
RUN = {"run_id": "r2", "agent_id": "a", "status": "success", "created_at": "then", "updated_at": "now", "metadata": {}}
WAITED = json.dumps({"run": RUN, "values": {"n": 2}}).encode()
JSON = "application/json"
PROTOCOL = load_backend("agent-protocol")
PROTOCOL.commit = "with_answer"
"""The server's dialect: its thread is busy before it responds, and it always asks the same question."""
UNTIL_LEFT = None
"""In a script: send nothing until the client disconnects."""


@dataclass(frozen=True)
class Seen:
    """A request that the agent server received."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    scope: Scope

    @property
    def names(self) -> set[bytes]:
        """The names of its headers."""
        return {name for name, _ in self.headers}


@dataclass
class Agent:
    """The server. `answering` responds to a resume; `seen` are the requests, `left` is set when the client disconnects,
    and `sent` counts the chunks that were sent."""

    answering: Answering | None = None
    status: str = "interrupted"
    extra: dict[str, Any] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    sent: int = 0

    @property
    def resumes(self) -> list[Seen]:
        """The requests that start a run."""
        return [seen for seen in self.seen if seen.path in ("/runs", "/runs/wait", "/runs/stream")]

    @property
    def cancelled(self) -> bool:
        """True if a request to cancel the run was received."""
        return any(seen.path == "/runs/r2/cancel" for seen in self.seen)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path in self.extra:
            await self.extra[path](scope, receive, send)
            return
        self.seen.append(seen := Seen(scope["method"], path, scope["headers"], await read(receive), scope))
        if seen in self.resumes:
            self.status = "busy"
            await (self.answering or at_once)(self, receive, send)
            self.status = "idle" if self.status == "busy" else self.status
        elif path == "/runs/search":
            await reply(send, [{"run_id": "r2" if self.resumes else "r1", "agent_id": "a"}])
        elif path.startswith("/threads/") and path != "/threads/unknown":
            await reply(send, self.thread)
        elif path.startswith("/runs/"):
            await reply(send, RUN)
        else:
            await reply(send, {"detail": "not found"}, 404)

    @property
    def thread(self) -> dict[str, Any]:
        """The thread, as `GET /threads/{thread_id}` returns it."""
        asks = [{"id": "q1", "value": "sure?"}] if self.status == "interrupted" else []
        return {"thread_id": "t", "status": self.status, "interrupts": asks, "values": {"n": 1}, "updated_at": "now"}


async def at_once(agent: Agent, receive: Receive, send: Send) -> None:
    """Respond at once, as the route requires."""
    path = agent.resumes[-1].path
    if path == "/runs/stream":
        await says(METADATA, VALUES)(agent, receive, send)
    else:
        await reply(send, {"run": RUN, "values": {"n": 2}} if path == "/runs/wait" else RUN)


async def held(agent: Agent, receive: Receive, send: Send) -> None:
    """Respond when the test sets `agent.go`."""
    await asyncio.to_thread(agent.go.wait, 20)
    await at_once(agent, receive, send)


def says(
    *parts: bytes | float | Exception | None, kind: str = "text/event-stream", status: int = 200, late: float = 0
) -> Answering:
    """Return a script for the response: it sends bytes, sleeps for numbers (in seconds), and raises exceptions.

    None waits until the client disconnects. `late` is the delay before the head, in seconds.
    """

    async def answering(agent: Agent, receive: Receive, send: Send) -> None:
        await asyncio.sleep(late)
        await start(send, status, kind)
        for part in parts:
            if isinstance(part, bytes):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                agent.sent += 1
            elif isinstance(part, Exception):
                raise part
            elif part is None:
                await receive()
                agent.left.set()
                return
            else:
                await asyncio.sleep(part)
        await send({"type": "http.response.body", "body": b""})

    return answering


def waits(*parts: bytes | float | Exception | None, late: float = 0) -> Answering:
    """Return a script for a wait, whose response is JSON."""
    return says(*parts, kind=JSON, late=late)


async def floods(agent: Agent, receive: Receive, send: Send) -> None:
    """Stream without a pause until the client disconnects."""
    leaving = asyncio.create_task(_until_left(receive))
    await start(send, 200, "text/event-stream")
    await send({"type": "http.response.body", "body": METADATA, "more_body": True})
    while not leaving.done():
        await send({"type": "http.response.body", "body": b"data: " + b"x" * 8192 + b"\n\n", "more_body": True})
        agent.sent += 1
        await asyncio.sleep(0)
    agent.left.set()


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def start(send: Send, status: int, kind: str) -> None:
    """Send a head with the content type `kind`."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]})


async def reply(send: Send, value: Any, status: int = 200) -> None:
    """Send a whole JSON response."""
    await start(send, status, JSON)
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


async def read(receive: Receive) -> bytes:
    """Return the whole body of a request."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


@contextmanager
def shimmed(
    agent: ASGIApp,
    *,
    keepalive: float = 15.0,
    lookup: float = 30.0,
    commit: float = 30.0,
    guard: Guard | str = "memory",
    telemetry: Sequence[Telemetry] = (),
    **options: Any,
) -> Iterator[str]:
    """Serve a shim around the agent server on a real socket; yield its URL."""
    limits = Limits(keepalive=keepalive, lookup=lookup, commit=commit)
    with serving(
        ResumeShim(agent, PROTOCOL, guard=guard, limits=limits, settle=0.2, telemetry=telemetry), **options
    ) as url:
        yield url


def resume(url: str, route: str = "", headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    """Send a resume, and return the whole response."""
    body = {"thread_id": "t", "input": "yes", **body}
    return CLIENT.patch(f"{url}/runs/resume{route}", json=body, headers=headers, timeout=10)


@contextmanager
def streamed(url: str, route: str = "/stream", **body: Any) -> Iterator[httpx.Response]:
    """Send a resume, and yield the response before its body; the client disconnects at the end of the block."""
    body = {"thread_id": "t", "input": "yes", **body}
    with CLIENT.stream("PATCH", f"{url}/runs/resume{route}", json=body, timeout=10) as response:
        yield response
