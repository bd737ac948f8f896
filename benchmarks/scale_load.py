"""A client that sends background resumes of different threads, in a separate process.

    python -m benchmarks.scale_load NAME RESUMES AT_ONCE URL...

It prints as JSON: the latency of each resume in microseconds, its own time and processor time in seconds, and how many
resumes were sent again because the guard was unavailable. Each of `AT_ONCE` tasks has a connection to every URL, and
sends its resumes to them round robin.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from time import perf_counter, process_time
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.scale_origin import parse

RETRY_AFTER = 1.0
"""Seconds: the header of such a response."""


class Connection(asyncio.Protocol):
    """A kept-alive connection; a request at a time."""

    def __init__(self, netloc: str) -> None:
        self.head = f"PATCH /runs/resume HTTP/1.1\r\nhost: {netloc}\r\ncontent-type: application/json\r\n".encode()
        self.received = b""
        self.response: asyncio.Future[tuple[bytes, bytes]]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Collect the response."""
        self.received += data
        message = parse(self.received)
        if message is not None:
            self.received = b""
            self.response.set_result(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request in progress."""
        if hasattr(self, "response") and not self.response.done():
            self.response.set_exception(exc or ConnectionError("The sidecar closed the connection."))

    async def resume(self, thread: str) -> bool:
        """Resume a thread. Returns False if the guard was unavailable; raises `RuntimeError` for another refusal."""
        body = b'{"thread_id": "%b", "input": "yes"}' % thread.encode()
        self.response = asyncio.get_running_loop().create_future()
        self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (self.head, len(body), body))
        head, text = await self.response
        if head.startswith(b"HTTP/1.1 503 ") and b'"guard_unavailable"' in text:
            return False
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"{thread}: {head.decode()} {text.decode()}")
        return True


async def connect(url: str) -> Connection:
    """Open a connection."""
    parts = urlsplit(url)
    _, made = await asyncio.get_running_loop().create_connection(
        lambda: Connection(parts.netloc), parts.hostname or "", parts.port or 80
    )
    return made


async def load(name: str, resumes: int, at_once: int, urls: list[str]) -> dict[str, Any]:
    """Resume as many threads, some at once. Returns latencies in microseconds, and times in seconds."""
    threads = iter(range(resumes))
    latencies: list[int] = []
    unavailable = 0

    async def some(turns: Iterator[int], first: int, connections: list[Connection]) -> None:
        nonlocal unavailable
        for turn, number in enumerate(turns, first):
            sent = perf_counter()
            while not await connections[turn % len(connections)].resume(f"{name}-{number}"):
                unavailable += 1
                await asyncio.sleep(RETRY_AFTER)
            latencies.append(int((perf_counter() - sent) * 1e6))
        for connection in connections:
            connection.transport.close()

    opened = [[await connect(url) for url in urls] for _ in range(at_once)]
    begin, used = perf_counter(), process_time()
    await asyncio.gather(*(some(threads, first, connections) for first, connections in enumerate(opened)))
    seconds, cpu = perf_counter() - begin, process_time() - used
    return {"latencies": latencies, "seconds": seconds, "cpu": cpu, "unavailable": unavailable}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))))
