"""The cost of a guard for a resume: without a guard, with the guard in memory, and with the one in Redis.

The backend responds at once, in the same process, so that it does not hide the cost. The variants alternate within each
round, so that other load on the machine affects all of them.
"""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from ap_resume_shim import ResumeShim
from ap_resume_shim.backends import load_backend
from ap_resume_shim.core.idempotency import digest
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import KeyRecord, UncommittedResume
from ap_resume_shim.guard import Guard, Ledger, MemoryGuard, MemoryLedger, ResumeKey
from ap_resume_shim.guard.redis import RedisGuard
from benchmarks.table import show
from tests.support.programs import find
from tests.support.redis_server import PROGRAMS, redis_server

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROUNDS, CALLS = 40, 50
"""Rounds, and resumes of each variant in a round; the first round, which opens connections, does not count."""
AT_ONCE = 16
FEW, MANY = 20_000, 100_000
PROTOCOL = load_backend("agent-protocol")
PROTOCOL.commit = "with_answer"
"""The servers here repeat the same question, so the shim must not wait until the state shows the resume."""
RESUME = (b'{"thread_id": "', b'", "input": "yes"}')

_numbers = count()
"""Numbers of threads and keys: each resume has its own."""


class NoGuard:
    """A guard that admits every resume, for comparison."""

    duplicate_window = 0.0

    def __init__(self) -> None:
        self.ledger: Ledger = MemoryLedger()

    def now(self) -> None:
        """Return None."""

    def begin(self, ticket: ResumeKey, arrived: None = None) -> NoGuard:
        """Return this guard, which is its own session."""
        return self

    run_id: str | None = None

    async def recall(self) -> KeyRecord | None:
        """Return None."""
        return None

    async def repeated(self) -> bool:
        """Return False."""
        return False

    async def known_ids(self) -> frozenset[str]:
        """Return no ids."""
        return frozenset()

    async def remember(self, ids: Iterable[str]) -> None:
        """Does nothing."""

    async def rival(self) -> None:
        """Return None."""

    async def had_run_in_flight(self) -> bool:
        """Return False."""
        return False

    async def uncommitted(self) -> UncommittedResume:
        """Return an empty record."""
        return UncommittedResume()

    async def claim(self, answered: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> None:
        """Return None: the claim succeeds."""

    async def forward(self) -> None:
        """Does nothing."""

    def still_held(self) -> bool:
        """Return True."""
        return True

    async def mark_accepted(self, run_id: str | None = None, *, hold: bool = False) -> None:
        """Does nothing."""

    async def mark_response_ended(self) -> None:
        """Does nothing."""

    async def mark_committed(self) -> None:
        """Does nothing."""

    async def mark_run_id(self, run_id: str) -> None:
        """Does nothing."""

    async def mark_rejected(self) -> None:
        """Does nothing."""

    async def keep(self, reply: Reply) -> None:
        """Does nothing."""

    async def mark_idle(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""

    async def check(self) -> tuple[str, ...]:
        """Return no warnings: there is no store."""
        return ()

    async def aclose(self) -> None:
        """Does nothing: there are no open resources."""


class CountedGuard(RedisGuard):
    """Logs each round trip to the store when it begins."""

    def __init__(self, url: str, log: list[str]) -> None:
        super().__init__(url)
        self._log = log

    async def call(self, script: str, ticket: ResumeKey, *arguments: Any) -> Any:
        """Make one round trip."""
        self._log.append(script)
        return await super().call(script, ticket, *arguments)


@dataclass
class Backend:
    """A server whose threads all have one question. Logs each response to a lookup, and each resume."""

    log: list[str] | None = None
    answers: dict[str, tuple[bytes, Any]] = field(init=False)

    def __post_init__(self) -> None:
        run = {"run_id": "r-1", "agent_id": "deploy", "status": "pending", "metadata": {}}
        run |= {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
        thread = {"thread_id": "t", "status": "interrupted", "interrupts": [{"id": "i-1", "value": "deploy?"}]}
        self.answers = {
            "/runs/search": _json([run]),
            "/runs": _json(run),
            "/runs/wait": _json({"run": run, "values": {"production": "4.2"}}),
            "/runs/stream": (b"text/event-stream", b'event: metadata\ndata: {"run_id": "r-1"}\n\n'),
            "": _json(thread),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond at once."""
        path = scope["path"]
        resumes = scope["method"] == "POST" and path != "/runs/search"
        if resumes and self.log is not None:
            self.log.append("SENT")
        media_type, body = self.answers.get(path) or self.answers[""]
        headers = [(b"content-type", media_type), (b"content-location", b"/runs/r-1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        if not resumes and self.log is not None:
            self.log.append("LOOKED")


def _json(value: Any) -> tuple[bytes, bytes]:
    return b"application/json", json.dumps(value).encode()


@dataclass(frozen=True)
class Way:
    """A variant: an app with its guard, and whether resumes have a key."""

    name: str
    app: ASGIApp
    keyed: bool


async def resume(app: ASGIApp, mode: Mode, *, keyed: bool) -> None:
    """Resume a new thread; calls the app as a server does."""
    number = str(next(_numbers)).encode()
    headers = [(b"host", b"here"), (b"authorization", b"Bearer me")]
    body = [{"type": "http.request", "body": number.join(RESUME), "more_body": False}]
    sent: list[Message] = []
    left = asyncio.Event()

    async def receive() -> Message:
        if body:
            return body.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "PATCH",
        "path": mode.route,
        "raw_path": mode.route.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [*headers, (b"idempotency-key", b"key-" + number)] if keyed else headers,
        "state": {},
    }
    await app(scope, receive, send)
    if sent[0]["status"] != 200:
        raise RuntimeError(f"{sent[0]['status']} {sent[1]['body']!r}")


@asynccontextmanager
async def ways(store: str | None) -> AsyncIterator[list[Way]]:
    """Yield the variants: no guard, the one in memory and the one in Redis, each without and with a key."""
    guards: dict[str, Guard] = {"none": NoGuard(), "memory": MemoryGuard()}
    if store is not None:
        guards["redis"] = RedisGuard(store)
    apps = {name: ResumeShim(Backend(), PROTOCOL, guard=guard) for name, guard in guards.items()}
    try:
        yield [
            Way(name + (", key" if keyed else ""), app, keyed) for keyed in (False, True) for name, app in apps.items()
        ]
    finally:
        for guard in guards.values():
            await guard.aclose()


async def one_by_one(all_ways: list[Way], rounds: int = ROUNDS) -> list[list[list[float]]]:
    """Return the seconds for each resume, by variant and round."""
    taken: list[list[list[float]]] = [[] for _ in all_ways]
    for index in _turns(len(all_ways), rounds):
        times = []
        for _ in range(CALLS):
            begin = perf_counter()
            await resume(all_ways[index].app, Mode.BACKGROUND, keyed=all_ways[index].keyed)
            times.append(perf_counter() - begin)
        taken[index].append(times)
    return [times[1:] for times in taken]


async def at_once(all_ways: list[Way], rounds: int = ROUNDS) -> list[list[float]]:
    """Return the resumes per second, by variant and round, with `AT_ONCE` of them in progress."""
    rates: list[list[float]] = [[] for _ in all_ways]

    async def some(way: Way) -> None:
        for _ in range(CALLS // 10):
            await resume(way.app, Mode.BACKGROUND, keyed=way.keyed)

    for index in _turns(len(all_ways), rounds):
        begin = perf_counter()
        await asyncio.gather(*(some(all_ways[index]) for _ in range(AT_ONCE)))
        rates[index].append(AT_ONCE * (CALLS // 10) / (perf_counter() - begin))
    return [rate[1:] for rate in rates]


def _turns(number: int, rounds: int) -> Iterator[int]:
    """Yield the indexes of the variants: each of them once in a round, and another one first in each round."""
    for shift in range(rounds + 1):
        yield from ((turn + shift) % number for turn in range(number))


async def trips(store: str, mode: Mode, *, keyed: bool) -> tuple[list[str], list[str], list[str]]:
    """Return the round trips of one resume: all of them, those before it was sent, and those that delayed it.

    A round trip that begins before the backend has responded to the lookup runs concurrently with the lookup.
    """
    log: list[str] = []
    guard = CountedGuard(store, log)
    app = ResumeShim(Backend(log), PROTOCOL, guard=guard)
    try:
        await resume(app, mode, keyed=keyed)  # the first call of each script needs another round trip
        log.clear()
        await resume(app, mode, keyed=keyed)
    finally:
        await guard.aclose()
    before = log[: log.index("SENT")]
    after_the_look = before[len(before) - before[::-1].index("LOOKED") :]
    made = [[event for event in part if event.islower()] for part in (log, before, after_the_look)]
    return made[0], made[1], made[2]


async def drive(guard: Guard, number: int) -> None:
    """Make the guard's calls of a whole resume with its own thread, key and answer."""
    ticket = ResumeKey(digest("thread", str(number)), digest("body"), digest("key", str(number)), digest(str(number)))
    arrival = guard.begin(ticket)
    await arrival.recall()
    await arrival.repeated()
    await arrival.claim()
    await arrival.forward()
    await arrival.mark_accepted(f"run-{number}")
    await arrival.keep(Reply(200, {"run": {"run_id": f"run-{number}"}, "values": {"text": f"{number:0300d}"}}))
    await arrival.close()


async def fill(guard: Guard, numbers: range, together: int) -> None:
    """Drive a guard with many keys, `together` of them concurrently."""
    waiting = iter(numbers)

    async def some() -> None:
        for number in waiting:
            await drive(guard, number)

    await asyncio.gather(*(some() for _ in range(together)))


def memory_of_this_process() -> tuple[list[int], int]:
    """Return the bytes of a `MemoryGuard` after few and after many keys, and how many keys it has stored then."""
    tracemalloc.start()
    try:
        guard = MemoryGuard(duplicate_window=3600)
        before = tracemalloc.get_traced_memory()[0]
        taken = []
        for numbers in (range(FEW), range(FEW, MANY)):
            asyncio.run(fill(guard, numbers, 1))
            taken.append(tracemalloc.get_traced_memory()[0] - before)
        return taken, len(guard.records)
    finally:
        tracemalloc.stop()


async def memory_of_redis(store: str) -> tuple[list[int], int]:
    """Return the bytes that the store reports for few and for many keys, and how many keys it has stored then."""
    async with Redis.from_url(store) as client:
        guard = RedisGuard(store)
        await client.flushdb()
        await fill(guard, range(MANY, MANY + AT_ONCE), AT_ONCE)  # opens the connections
        before = (await client.info("memory"))["used_memory"]
        taken = []
        for numbers in (range(FEW), range(FEW, MANY)):
            await fill(guard, numbers, AT_ONCE)
            taken.append((await client.info("memory"))["used_memory"] - before)
        await guard.aclose()
        return taken, await client.dbsize() // 2 - AT_ONCE  # each has a thread and a record


async def _show_costs(store: str | None) -> None:
    async with ways(store) as all_ways:
        taken, rates = await one_by_one(all_ways), await at_once(all_ways)
    rows = []
    for way, times, rate in zip(all_ways, taken, rates, strict=True):
        quiet, added = _quietest(times), _quietest(times) - _quietest(taken[0])
        half = median(median(mine) / median(none) for mine, none in zip(times, taken[0], strict=True))
        tail, tail_of_none = _p99(times), _p99(taken[0])
        ratio = median(mine / none for mine, none in zip(rate, rates[0], strict=True))
        figures = [f"{quiet:.0f}", f"{added:.0f}", f"{half:.2f}", f"{tail:.0f}", f"{tail / tail_of_none:.2f}"]
        rows.append([way.name, *figures, f"{max(rate):.0f}", f"{ratio:.2f}"])
    show(
        "A background resume by its guard, backend in the process. Microseconds: the median of the quietest round; "
        f"ratios: to none, medians over the rounds; resumes in a second: {AT_ONCE} at once, the best round",
        ["guard", "median us", "added us", "ratio", "p99 us", "p99 ratio", "resumes/s", "ratio"],
        rows,
    )


def _quietest(times: list[list[float]]) -> float:
    return min(median(some) for some in times) * 1e6


def _p99(times: list[list[float]]) -> float:
    return quantiles([time for some in times for time in some], n=100)[98] * 1e6


async def _show_trips(store: str) -> None:
    rows = []
    for mode in Mode:
        for keyed in (False, True):
            made, before, waited = await trips(store, mode, keyed=keyed)
            name = mode.name.lower() + (" + key" if keyed else "")
            rows.append([name, len(made), len(before), len(waited)])
            print(f"{name}: {', '.join(made)}")
    head = ["mode", "in all", "before it is sent", "of these, after a lookup"]
    show("Round trips to the store for one resume", head, rows)


def _show_memory(store: str | None) -> None:
    found = {"memory": memory_of_this_process()}
    if store is not None:
        found["redis"] = asyncio.run(memory_of_redis(store))
    rows = [
        [name, *(f"{size / 2**20:.1f}" for size in taken), f"{kept:,}", f"{taken[1] / kept:,.0f}"]
        for name, (taken, kept) in found.items()
    ]
    head = ["guard", f"MiB at {FEW:,}", f"MiB at {MANY:,}", "keys stored then", "bytes for each"]
    show("Memory for threads that were each resumed with a key, and answered with 350 bytes", head, rows)


def _show(store: str | None) -> None:
    asyncio.run(_show_costs(store))
    if store is not None:
        asyncio.run(_show_trips(store))
    _show_memory(store)


def main() -> None:
    """Measure, and print the tables; without redis-server, only those of the other variants."""
    if find(*PROGRAMS) is None:
        print("redis-server is not installed: no figures for the guard in Redis")
        _show(None)
        return
    with redis_server() as server:
        _show(server.url)
