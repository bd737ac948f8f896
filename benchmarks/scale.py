"""The guard in Redis with 1, 2 and 4 sidecars: the cost of a resume in each process, and the capacity of one Redis.

    python -m benchmarks scale [--resumes 2000] [--rounds 5]

Needs redis-server. The processes share the machine's cores, so on a small machine more sidecars do not process more
resumes: the relevant figure is the processor time for a resume. Redis is also measured alone, by a resume's calls.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, cast
from urllib.request import urlopen

import uvloop
from redis import Redis

from benchmarks import scale_store
from benchmarks.cpu import cpu_seconds
from benchmarks.table import show
from benchmarks.ways import running
from tests.servers.process import free_port
from tests.support.programs import find
from tests.support.redis_server import PROGRAMS, RedisServer, redis_server
from tests.support.sidecar import sidecar, sidecars

MEMORY, SIDECARS = "1, memory guard", (1, 2, 4)
AT_ONCE = 16
"""Resumes in progress."""
PARTS = ("sidecars", "redis", "origin", "client")
CPU = [f"{part} us" for part in (*PARTS, "sum")]
QUIET = 0.3
"""Seconds without a call to Redis after which a round is over: a hold ends after the response to its client."""


@dataclass
class Round:
    """The measurements of a round: latencies in microseconds, processor times in seconds."""

    seconds: float
    latencies: list[int]
    cpu: dict[str, float]
    calls: int
    """Scripts that Redis ran."""
    script_us: int
    """Their time in Redis, in microseconds."""

    @property
    def rate(self) -> float:
        """Resumes per second."""
        return len(self.latencies) / self.seconds

    def each(self, part: str) -> float:
        """Microseconds of a part's processor time for a resume."""
        return self.cpu[part] / len(self.latencies) * 1e6


@dataclass
class Stage:
    """A Redis server, an origin, and sidecars; `pids` by part."""

    urls: list[str]
    """The URLs of the sidecars that share the Redis server."""
    alone: str
    """The URL of a sidecar with the guard in memory."""
    origin: str
    store: Redis
    pids: dict[str, list[int]]
    resumed: int = 0

    def counts(self) -> dict[str, int]:
        """Return how many resumes the origin received, and for how many threads."""
        with urlopen(f"{self.origin}/counts") as response:
            return cast("dict[str, int]", json.load(response))

    def round(self, urls: Sequence[str], resumes: int) -> Round:
        """Resume new threads through the sidecars at `urls`. Raises `RuntimeError` if one was not sent once."""
        cpu, calls, script_us = self._cpu(), *self._scripts()
        command = [sys.executable, "-m", "benchmarks.scale_load", f"t{self.resumed}", str(resumes), str(AT_ONCE)]
        client = json.loads(subprocess.run([*command, *urls], check=True, stdout=subprocess.PIPE).stdout)
        if client["unavailable"]:
            raise RuntimeError(f"The store of the guard was too slow for {client['unavailable']} resumes.")
        self._wait_until_quiet()
        used = {part: after - cpu[part] for part, after in self._cpu().items()} | {"client": client["cpu"]}
        calls_after, script_us_after = self._scripts()
        self.resumed += resumes
        if self.counts() != {"resumes": self.resumed, "threads": self.resumed}:
            raise RuntimeError(f"{self.resumed} threads were resumed, and the origin received {self.counts()}.")
        return Round(client["seconds"], client["latencies"], used, calls_after - calls, script_us_after - script_us)

    def _wait_until_quiet(self) -> None:
        calls = -1
        while calls != self._scripts()[0]:
            calls = self._scripts()[0]
            time.sleep(QUIET)

    def _scripts(self) -> tuple[int, int]:
        used = self.store.info("commandstats").get("cmdstat_evalsha", {"calls": 0, "usec": 0})
        return used["calls"], used["usec"]

    def _cpu(self) -> dict[str, float]:
        return {part: cpu_seconds(*pids) for part, pids in self.pids.items()}


@contextmanager
def stage(server: RedisServer, number: int) -> Iterator[Stage]:
    """Run an origin and `number` sidecars, and warm each of them up."""
    port = free_port()
    origin, store = f"http://127.0.0.1:{port}", Redis.from_url(server.url)
    options = "--upstream", origin, "--port", "0", "--backend", "agent-protocol"
    with (
        running([sys.executable, "-m", "benchmarks.scale_origin", str(port)], port) as origin_pid,
        sidecars(number, *options, "--guard", server.url) as started,
        sidecar(*options) as alone,
        store,
    ):
        pids = {
            "sidecars": [one.process.pid for one in (*started, alone)],
            "redis": [store.info("server")["process_id"]],
            "origin": [origin_pid],
        }
        made = Stage([one.url for one in started], alone.url, origin, store, pids)
        made.round([*made.urls, made.alone], 4 * AT_ONCE)
        yield made


def in_turns(on: Stage, rounds: int, resumes: int) -> dict[str, list[Round]]:
    """Measure every number of sidecars in every round, each time another one first."""
    ways = {MEMORY: [on.alone]} | {str(number): on.urls[:number] for number in SIDECARS}
    names = list(ways)
    measured: dict[str, list[Round]] = {name: [] for name in names}
    for index in range(rounds):
        for name in (*names[index % len(names) :], *names[: index % len(names)]):
            measured[name].append(on.round(ways[name], resumes))
    return measured


def main(arguments: Sequence[str]) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description="Sidecars that share a Redis.")
    parser.add_argument("--resumes", type=int, default=2_000, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    if find(*PROGRAMS) is None:
        sys.exit("Not installed: redis-server. It is a Debian package.")
    with redis_server() as server:
        with stage(server, max(SIDECARS)) as on:
            measured = in_turns(on, given.rounds, given.resumes)
            with scale_store.recording(server.port) as record:
                on.round(on.urls[:1], 1)
        calls = record()
        alone = uvloop.run(scale_store.replay(server, calls))
        renewals = uvloop.run(scale_store.renew(server))
    _show(measured, alone, renewals)


def _show(measured: dict[str, list[Round]], alone: scale_store.Alone, renewals: scale_store.Renewals) -> None:
    show(
        f"Background resumes, {AT_ONCE} at once: medians of {len(measured[MEMORY])} rounds; CPU us of a resume",
        ["sidecars", "resumes/s", "p50 ms", "p99 ms", *CPU, "cores used", "calls to Redis", "us for a call"],
        [[name, *_row(rounds)] for name, rounds in measured.items()],
    )
    every = [one for name, rounds in measured.items() if name != MEMORY for one in rounds]
    redis, sidecar = (median(one.each(part) for one in every) for part in ("redis", "sidecars"))
    show(
        "How far one Redis goes, if it has a core: from the processor times, and driven alone by the calls of a resume",
        ["", "us for a resume", "resumes/s of a core", "sidecars, with a core each", "resumes/s measured"],
        [
            ["behind the sidecars", *_reach(redis, sidecar), "-"],
            ["driven alone", *_reach(alone.us, sidecar), f"{alone.rate:,.0f} with {alone.cores:.2f} of a core"],
        ],
    )
    show(
        f"{renewals.holds:,} held threads with a lease of 30 s, each renewed every 10 s: processor time",
        ["", "us for a renewal", "% of a core"],
        [[part, f"{us:.0f}", f"{us * renewals.holds / 10 / 1e4:.1f}"] for part, us in renewals.us.items()],
    )


def _reach(redis: float, sidecar: float) -> list[str]:
    """Return Redis's time for a resume, the resumes/s of its core, and how many sidecars with a core each make them."""
    return [f"{redis:.0f}", f"{1e6 / redis:,.0f}", f"{sidecar / redis:.1f}"]


def _row(rounds: list[Round]) -> list[Any]:
    def middle(figure: Callable[[Round], float]) -> float:
        return median(figure(one) for one in rounds)

    cuts = [quantiles(one.latencies, n=100) for one in rounds]
    each = [median(one.each(part) for one in rounds) for part in PARTS]
    return [
        f"{middle(lambda one: one.rate):.0f}",
        *(f"{median(cut[at] for cut in cuts) / 1000:.1f}" for at in (49, 98)),
        *(f"{one:.0f}" for one in each),
        f"{sum(each):.0f}",
        f"{middle(lambda one: sum(one.cpu.values()) / one.seconds):.2f}",
        f"{middle(lambda one: one.calls / len(one.latencies)):.2f}",
        f"{middle(lambda one: one.script_us / max(1, one.calls)):.0f}",
    ]
