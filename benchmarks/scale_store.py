"""Redis without sidecars: repeats the calls of one resume, and renews many holds."""

from __future__ import annotations

import asyncio
import re
import shlex
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter, process_time
from typing import cast

from redis import Redis

from ap_resume_shim.guard import ResumeKey
from ap_resume_shim.guard.redis import RedisGuard
from tests.support.redis_server import RedisServer

RESUMES, CONNECTIONS = 20_000, 16
HOLDS, LEASE, SECONDS = 1_500, 3.0, 6.0
"""Holds that are renewed three times in each lease, for as many seconds."""

Call = list[str]
"""A command and its arguments."""


@contextmanager
def recording(port: int) -> Iterator[Callable[[], list[Call]]]:
    """Record the scripts that Redis runs during the block. Yields a function that returns their calls."""
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile() as lines:
        connection.sendall(b"MONITOR\r\n")
        lines.readline()
        calls: list[Call] = []

        def read() -> list[Call]:
            return calls

        yield read
        with Redis(port=port) as client:
            client.echo("end")
        for line in lines:
            _, _, command = line.partition("] ")
            call = shlex.split(command)
            if call == ["ECHO", "end"]:
                return
            if call[0] == "EVALSHA":
                calls.append(call)


def encoded(call: Call, thread: str) -> bytes:
    """Return the bytes of a call for another thread, whose deadline, if it has one, never comes."""
    words = [re.sub(r"\{\w+\}", "{%s}" % thread, word) for word in call]  # noqa: UP031
    words = ["9007199254740992" if re.fullmatch(r"\d{16}", word) else word for word in words]
    parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in map(str.encode, words))
    return b"*%d\r\n%b" % (len(words), parts)


class Connection(asyncio.Protocol):
    """A connection that sends calls one after the other. Each response is one small segment."""

    def __init__(self, calls: Iterator[bytes]) -> None:
        self._calls, self.held = calls, 0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first call."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(next(self._calls))

    def data_received(self, data: bytes) -> None:
        """Send the next call."""
        self.held += data == b"$4\r\nheld\r\n"
        following = next(self._calls, None)
        if following is None:
            self._transport.close()
        else:
            self._transport.write(following)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.ended.set_result(None)


@dataclass
class Alone:
    """The capacity of Redis when nothing else limits it."""

    rate: float
    us: float
    """Processor time for a resume."""
    cores: float


async def replay(server: RedisServer, calls: list[Call], resumes: int = RESUMES) -> Alone:
    """Make the calls of that many resumes, each of another thread. Raises `RuntimeError` if one was not held."""
    loop = asyncio.get_running_loop()

    def some(first: int) -> Iterator[bytes]:
        for number in range(first, resumes, CONNECTIONS):
            yield from (encoded(call, f"replay-{number}") for call in calls)

    made = [list(some(first)) for first in range(CONNECTIONS)]
    with Redis.from_url(server.url) as store:
        before, begin = _used(store), perf_counter()
        connections = [
            (await loop.create_connection(partial(Connection, iter(own)), "127.0.0.1", server.port))[1] for own in made
        ]
        await asyncio.gather(*(connection.ended for connection in connections))
        seconds, used = perf_counter() - begin, _used(store) - before
    if (held := sum(connection.held for connection in connections)) != resumes:
        raise RuntimeError(f"{resumes} resumes claimed their threads, and {held} held them.")
    return Alone(resumes / seconds, used / resumes * 1e6, used / seconds)


@dataclass
class Renewals:
    """Microseconds of processor time for the renewal of a hold, by part."""

    holds: int
    us: dict[str, float]


async def renew(server: RedisServer, holds: int = HOLDS, seconds: float = SECONDS) -> Renewals:
    """Hold threads, and measure while their leases are renewed."""
    guard = RedisGuard(server.url, lease=LEASE)
    sessions = [guard.begin(ResumeKey(f"hold-{number}")) for number in range(holds)]
    for session in sessions:
        await session.claim()
    with Redis.from_url(server.url) as store:
        before, own = _used(store), process_time()
        await asyncio.sleep(seconds)
        used = {"the process with the guard": process_time() - own, "redis": _used(store) - before}
    for session in sessions:
        await session.mark_rejected()
    await guard.aclose()
    renewals = holds * seconds / (LEASE / 3)
    return Renewals(holds, {part: each / renewals * 1e6 for part, each in used.items()})


def _used(store: Redis) -> float:
    used = store.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])
