"""An agent server that takes a fixed time for each request: `python -m benchmarks.agent_origin PORT MILLISECONDS`.

It has the routes of LangGraph's API that a resume uses, with the shapes of the current server. Its threads are in
memory, and their agent takes no time. A new thread waits at a question. With `{"asks": true}` in the body of
`POST /threads`, its next run stops at another question; otherwise the run ends.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
import uuid
from dataclasses import dataclass, field
from typing import Any

AGENT = "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
TIME = "2026-01-01T00:00:00+00:00"
_RUNS = re.compile(r"/threads/([^/]+)/runs(|/wait|/stream)")


@dataclass
class Thread:
    """A thread, and the question at which it waits."""

    asks: bool
    thread_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    question: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self._ask()

    def _ask(self) -> None:
        self.question = {"value": {"question": "approve?"}, "id": uuid.uuid4().hex}

    def run(self) -> None:
        """Resume the thread: it ends, or asks the next question."""
        self.run_id = str(uuid.uuid4())
        self.question = None
        if self.asks:
            self._ask()

    @property
    def row(self) -> dict[str, Any]:
        """`GET /threads/{thread_id}`."""
        return {
            "thread_id": self.thread_id,
            "created_at": TIME,
            "updated_at": TIME,
            "state_updated_at": TIME,
            "metadata": {"graph_id": "ask", "assistant_id": AGENT},
            "status": "idle" if self.question is None else "interrupted",
            "config": {"configurable": {}},
            "values": {"topic": "lunch"},
            "error": None,
            "interrupts": {} if self.question is None else {"task": [self.question]},
        }

    @property
    def state(self) -> dict[str, Any]:
        """`GET /threads/{thread_id}/state`."""
        asking = [] if self.question is None else [self.question]
        task = {"id": "task", "name": "approve", "error": None, "interrupts": asking, "state": None, "result": None}
        return {
            "values": {"topic": "lunch"},
            "next": ["approve"] if asking else [],
            "tasks": [task] if asking else [],
            "metadata": {"graph_id": "ask", "source": "loop"},
            "created_at": TIME,
            "checkpoint": {"checkpoint_id": self.run_id, "thread_id": self.thread_id, "checkpoint_ns": ""},
            "interrupts": asking,
        }

    @property
    def last_run(self) -> dict[str, Any]:
        """The newest run."""
        return {"run_id": self.run_id, "assistant_id": AGENT, "status": "success", "created_at": TIME}

    @property
    def result(self) -> dict[str, Any]:
        """The body of `POST /threads/{thread_id}/runs/wait`."""
        asking = {} if self.question is None else {"__interrupt__": [{**self.question, "response_schema": None}]}
        return {"topic": "lunch", **asking}


class Origin(asyncio.Protocol):
    """One connection; a request at a time."""

    def __init__(self, threads: dict[str, Thread], seconds: float) -> None:
        self._threads, self._seconds = threads, seconds
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Respond when the request is complete."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if not found or len(body) < (int(length[1]) if length else 0):
            return
        self._received = b""
        method, target, _ = head.split(b" ", 2)
        path = target.decode().partition("?")[0]
        if (method, path) == (b"POST", "/threads"):
            thread = Thread(asks=json.loads(body)["asks"])
            self._threads[thread.thread_id] = thread
            self._transport.write(_response(thread.row))
        else:
            self._loop.call_later(self._seconds, self._respond, method, path)

    def _respond(self, method: bytes, path: str) -> None:
        thread = self._threads[path.split("/")[2]]
        run = _RUNS.fullmatch(path)
        if run is None:
            self._transport.write(_response(thread.state if path.endswith("/state") else thread.row))
        elif method == b"GET":
            self._transport.write(_response([thread.last_run]))
        else:
            thread.run()
            self._transport.write(_resumed(thread, run[2]))


def _resumed(thread: Thread, form: str) -> bytes:
    location = f"content-location: /threads/{thread.thread_id}/runs/{thread.run_id}\r\n".encode()
    if form == "/stream":
        events = (("metadata", {"run_id": thread.run_id}), ("values", thread.result))
        body = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events).encode()
        return _message(location + b"content-type: text/event-stream\r\n", body)
    return _response(thread.result if form else {**thread.last_run, "status": "pending"}, location)


def _response(value: Any, fields: bytes = b"") -> bytes:
    return _message(fields + b"content-type: application/json\r\n", json.dumps(value).encode())


def _message(fields: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (fields, len(body), body)


async def serve(port: int, seconds: float) -> None:
    """Serve until the process ends."""
    threads: dict[str, Thread] = {}
    gc.freeze()
    server = await asyncio.get_running_loop().create_server(lambda: Origin(threads, seconds), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]) / 1000))
