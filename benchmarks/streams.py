"""A client that reads many streams at once, in a process of its own.

    python -m benchmarks.streams latency URL STREAMS SECONDS    how late events are; prints JSON
    python -m benchmarks.streams hold URL STREAMS               for each line on its input, how many are open still

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
"""Streams that are being opened at the same time."""
PATIENCE = 30.0
"""Seconds until a stream's first event has to be there."""
SETTLING = 0.5
"""Seconds after the last stream was opened that are not counted."""
STAMP = re.compile(rb'"at": (\d+),')


class Stream(asyncio.Protocol):
    """One request, and the lateness of each of its events."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open = False
        self.begun = False
        self.late: list[int] = []
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Look at the time, and at the times in what came."""
        now = monotonic_ns()
        data = self.rest + data
        if not self.begun:
            self._begin(data)
            return
        end = 0
        for found in STAMP.finditer(data):
            self.late.append(now - int(found[1]))
            end = found.end()
        self.rest = data[end:][-40:]  # a stamp may come in two pieces

    def _begin(self, data: bytes) -> None:
        """The stream is open with its first event, which is not counted."""
        self.rest = data
        if STAMP.search(data):
            self.open = self.begun = data.startswith(b"HTTP/1.1 200 ")
            self.rest = b""
            if not self.opened.done():
                self.opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """No stream any more."""
        self.open = False
        if not self.opened.done():
            self.opened.set_result(None)


async def open_streams(url: str, streams: int) -> list[Stream]:
    """Open them, some at a time; those that fail are there too, and not open."""
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
    """How many are open."""
    return sum(stream.open for stream in streams)


async def latency(url: str, streams: int, seconds: float) -> dict[str, float]:
    """The median and the 99th percentile of how late events came, in milliseconds; how many streams were held."""
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
    """Keep them open until the input ends; say how many there are at first, and whenever asked."""
    opened = await open_streams(url, streams)
    loop = asyncio.get_running_loop()
    while True:
        print(held(opened), flush=True)
        if not await loop.run_in_executor(None, sys.stdin.readline):
            return


def main(command: str, url: str, streams: str, seconds: str = "0") -> None:
    """Do what the command says."""
    if command == "latency":
        print(json.dumps(asyncio.run(latency(url, int(streams), float(seconds)))))
    else:
        asyncio.run(hold(url, int(streams)))


if __name__ == "__main__":
    main(*sys.argv[1:])
