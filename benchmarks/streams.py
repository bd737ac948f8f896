"""A client that reads many streams at once, in a separate process.

    python -m benchmarks.streams latency URL STREAMS SECONDS    prints the delay of events, as JSON
    python -m benchmarks.streams hold URL STREAMS               prints the number of open streams for each input line

Times are nanoseconds of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
from time import monotonic_ns
from urllib.parse import urlsplit

AT_ONCE = 100
"""Maximum number of streams that are being opened at the same time."""
PATIENCE = 30.0
"""Seconds within which a stream's first event has to arrive."""
SETTLING = 0.5
"""Seconds after the opening of the last stream that are not measured."""
STAMP = re.compile(rb'"at": (\d+),')


class Stream(asyncio.Protocol):
    """One request, and the delay of each of its events."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open = False
        self.begun = False
        self.late: list[int] = []
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Compare the times in the events with the current time."""
        now = monotonic_ns()
        data = self.rest + data
        if not self.begun:
            self._begin(data)
            return
        end = 0
        for found in STAMP.finditer(data):
            self.late.append(now - int(found[1]))
            end = found.end()
        self.rest = data[end:][-40:]  # a stamp may be split over two reads

    def _begin(self, data: bytes) -> None:
        """Mark the stream as open at its first event, whose delay is not measured."""
        self.rest = data
        if STAMP.search(data):
            self.open = self.begun = data.startswith(b"HTTP/1.1 200 ")
            self.rest = b""
            if not self.opened.done():
                self.opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Mark the stream as closed."""
        self.open = False
        if not self.opened.done():
            self.opened.set_result(None)


async def open_streams(url: str, streams: int) -> list[Stream]:
    """Open that many streams, some at a time. The result includes those that failed, which are not open."""
    parsed = urlsplit(url)
    host, port = parsed.hostname or "", parsed.port or 80
    request = f"GET {parsed.path} HTTP/1.1\r\nHost: {parsed.netloc}\r\nAccept: text/event-stream\r\n\r\n".encode()
    few = asyncio.Semaphore(AT_ONCE)
    loop = asyncio.get_running_loop()

    async def one() -> Stream:
        async with few:
            _, stream = await loop.create_connection(lambda: Stream(request), host, port)
            await asyncio.wait({stream.opened}, timeout=PATIENCE)
            return stream

    return await asyncio.gather(*(one() for _ in range(streams)))


def held(streams: list[Stream]) -> int:
    """Return the number of open streams."""
    return sum(stream.open for stream in streams)


async def latency(url: str, streams: int, seconds: float) -> dict[str, float]:
    """Return the median and the 99th percentile of the delay in milliseconds, and the number of open streams."""
    opened = await open_streams(url, streams)
    gc.freeze()
    gc.disable()
    await asyncio.sleep(SETTLING)
    for stream in opened:
        stream.late.clear()
    await asyncio.sleep(seconds)
    late = sorted(number for stream in opened if stream.open for number in stream.late)
    if not late:
        return {"held": held(opened), "events": 0, "p50": float("nan"), "p99": float("nan")}
    p50, p99 = (late[int(len(late) * part)] / 1e6 for part in (0.5, 0.99))
    return {"held": held(opened), "events": len(late), "p50": p50, "p99": p99}


async def hold(url: str, streams: int) -> None:
    """Hold streams until the input ends; print the number of open ones at first, and for each line of input."""
    opened = await open_streams(url, streams)
    loop = asyncio.get_running_loop()
    while True:
        print(held(opened), flush=True)
        if not await loop.run_in_executor(None, sys.stdin.readline):
            return


def main(command: str, url: str, streams: str, seconds: str = "0") -> None:
    """Run a command."""
    if command == "latency":
        print(json.dumps(asyncio.run(latency(url, int(streams), float(seconds)))))
    else:
        asyncio.run(hold(url, int(streams)))


if __name__ == "__main__":
    main(*sys.argv[1:])
