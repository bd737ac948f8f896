"""A server of the Agent Protocol that responds at once, in a separate process; it counts the resumes of each thread.

    python -m benchmarks.scale_origin PORT

Every thread exists, and has one question until its first resume. `GET /counts` returns the counts.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections import Counter
from typing import Any, cast

import uvloop

RUN = {
    "run_id": "r-1",
    "agent_id": "deploy",
    "status": "pending",
    "metadata": {},
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}
QUESTION = {"id": "0" * 32, "value": "deploy?"}


class Threads:
    """The threads of the server, and how often each was resumed."""

    def __init__(self) -> None:
        self.resumes: Counter[str] = Counter()

    def respond(self, method: str, path: str, body: bytes) -> Any:
        """Return the value of a response."""
        if path == "/runs":
            self.resumes[json.loads(body)["thread_id"]] += 1
            return RUN
        if path == "/runs/search":
            return [RUN]
        if path == "/counts":
            return {"resumes": self.resumes.total(), "threads": len(self.resumes)}
        thread = path.removeprefix("/threads/")
        asks = thread not in self.resumes
        status = "interrupted" if asks else "idle"
        return {"thread_id": thread, "status": status, "interrupts": [QUESTION] if asks else []}


class Connection(asyncio.Protocol):
    """One connection of a client; a request at a time."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Respond when the request is complete."""
        self.received += data
        message = parse(self.received)
        if message is not None:
            head, body = message
            self.received = b""
            method, path, _ = head.split(b" ", 2)
            value = json.dumps(self.threads.respond(method.decode(), path.decode(), body)).encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            self.transport.write(b"content-length: %d\r\n\r\n%b" % (len(value), value))


def parse(received: bytes) -> tuple[bytes, bytes] | None:
    """Return the head and the body of a message with a length; None while it is incomplete."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return (head, body) if not found or len(body) >= int(rest.partition(b"\r\n")[0]) else None


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    threads = Threads()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Connection(threads), "127.0.0.1", port, backlog=4096) as server:
        gc.freeze()
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
