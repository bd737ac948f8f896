"""ASGI without sockets: calling an app, noting what passes an app, and being the app of a recording."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ap_resume_shim import ResumeShim
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.flow_settings import FlowSettings
from tests.recordings import Document, Recording, is_stream, load_dialect, read_chunks, write_message
from tests.recordings.tidy import NOW, shim_times

GRACE = FlowSettings().stream_grace


@dataclass
class Heard:
    """An answer, as it is heard."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    late: bool = False
    """Whether the body began when the shim does not wait for a stream's first event any more."""
    _began: float = 0.0

    def hear(self, message: Message) -> None:
        """Take one ASGI message."""
        now = asyncio.get_running_loop().time()
        if message["type"] == "http.response.start":
            self.status, self._began = message["status"], now
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.late = self.late or (not self.chunks and now - self._began > GRACE)
            self.chunks.append(message.get("body", b""))

    def write(self) -> Document:
        """The answer as a recording has it."""
        message = write_message(self.status, self.headers, self.chunks)
        return {**message, "late": True} if self.late and is_stream(message["headers"]) else message


async def call(app: ASGIApp, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Heard:
    """One request, answered whole; the client stays until then."""
    fields = {"host": "shim.example", "content-type": "application/json", **headers}
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
    }
    unread, heard = [body], Heard()

    async def receive() -> Message:
        if not unread:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": unread.pop(), "more_body": False}

    async def send(message: Message) -> None:
        heard.hear(message)

    await app(scope, receive, send)
    return heard


class Recorder:
    """An app around an app, which notes requests and answers."""

    def __init__(self, app: ASGIApp, *, late: bool = False) -> None:
        """`late`: streams are held back, as by a server that has no worker free."""
        self._app, self._late = app, late
        self._noted: list[list[tuple[Document, Heard]]] = []
        self._unanswered = 0

    @property
    def exchanges(self) -> list[list[Document]]:
        """What was noted, as a recording has it."""
        return [[{"request": asked, "response": heard.write()} for asked, heard in step] for step in self._noted]

    @property
    def late(self) -> bool:
        """Whether a stream was."""
        return any(exchange["response"].get("late") for step in self.exchanges for exchange in step)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. What is asked before the answer to another has begun is asked beside it."""
        asked, heard = _request(scope), Heard()
        if not self._unanswered:
            self._noted.append([])
        self._noted[-1].append((asked, heard))
        self._unanswered += 1

        async def noting_receive() -> Message:
            message = await receive()
            if message.get("body"):
                asked["body"] = strictjson.read(message["body"])
            return message

        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._unanswered -= 1
            elif self._late and not heard.chunks and is_stream(heard.headers):
                await asyncio.sleep(2 * GRACE)
            heard.hear(message)
            await send(message)

        await self._app(scope, noting_receive, noting_send)


class Replayer:
    """The app of a recording: answers what was asked, in the recorded order, and nothing else."""

    def __init__(self, exchanges: Iterable[list[Document]]) -> None:
        self.left = [list(step) for step in exchanges]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the server did."""
        asked = _request(scope)
        if body := (await receive())["body"]:
            asked["body"] = strictjson.read(body)
        step = self.left[0] if self.left else []
        exchange = next((exchange for exchange in step if exchange["request"] == asked), None)
        assert exchange is not None, f"asked {asked}, but recorded is {[item['request'] for item in step]}"
        step.remove(exchange)
        if not step:
            del self.left[0]
        response = exchange["response"]
        headers = [(name.encode(), value.encode()) for name, value in response["headers"].items()]
        await send({"type": "http.response.start", "status": response["status"], "headers": headers})
        if response.get("late"):
            await asyncio.sleep(2 * GRACE)
        for chunk in read_chunks(response):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _request(scope: Scope) -> dict[str, Any]:
    query = scope["query_string"].decode()
    return {"method": scope["method"], "target": scope["raw_path"].decode() + (f"?{query}" if query else "")}


def replayed(recording: Recording) -> Document:
    """What the client of a recording gets from the shim as it is now."""
    app = Replayer(recording.exchanges)
    shim = ResumeShim(app, load_dialect(recording.backend), settle=recording.settle)
    with patch("ap_resume_shim.runtime.clock.now", lambda: NOW), asyncio.Runner(loop_factory=Hurried) as runner:
        heard = runner.run(call(shim, "PATCH", recording.mode.route, recording.headers, recording.body))
    assert not app.left, f"not asked: {app.left}"
    reply: Document = shim_times(heard.write(), recording.exchanges)
    return reply


class Hurried(asyncio.SelectorEventLoop):
    """A loop for which nothing takes time: where it would sleep, its clock leaps ahead."""

    def __init__(self) -> None:
        super().__init__(_Impatient(self))
        self.leapt = 0.0

    def time(self) -> float:
        """The clock, with what was leapt over."""
        return super().time() + self.leapt


class _Impatient(selectors.DefaultSelector):
    def __init__(self, loop: Hurried) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Do not wait; there is nothing in a replay that could come from outside."""
        self._loop.leapt += timeout or 0.0
        return super().select(0)
