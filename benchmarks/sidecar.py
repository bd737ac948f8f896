"""The sidecar against no proxy at all, nginx and other proxies: one worker each, side by side in one run.

    python -m benchmarks sidecar [--rounds 5] [--seconds 2] [--only json events ...]

Needs wrk and nginx; the other proxies are installed by uv into environments of their own. In each round the ways take
turns; figures are medians over the rounds, and so are the ratios, which are taken within a round.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from statistics import median
from time import perf_counter
from urllib.parse import urlsplit

from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.demo import create_app
from benchmarks import resume
from benchmarks.origin import BODY_BYTES, STAGGERED
from benchmarks.table import show
from benchmarks.ways import DIRECT, FASTAPI_PROXY_LIB, NAMES, NGINX, SIDECAR, Way, json_origin, stream_origin, ways
from tests.support.sidecar import sidecar as resuming_sidecar

CONNECTIONS = 16
BODY = bytes(BODY_BYTES)
MEGA = 1_000_000
UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}

Figures = dict[str, list[float]]
"""What was measured, way by way, one figure a round."""


@dataclass(frozen=True)
class Told:
    """What wrk tells of a run."""

    requests_per_second: float
    bytes_per_second: float


def read_wrk(output: str) -> Told:
    """The two rates that wrk prints; raises when not all was answered, and with a status of 2xx."""
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"Not all was answered well:\n{output}")
    requests = re.search(r"^Requests/sec: +([\d.]+)$", output, re.MULTILINE)
    transfer = re.search(r"^Transfer/sec: +([\d.]+)([KMG]?)B$", output, re.MULTILINE)
    if not requests or not transfer:
        raise RuntimeError(f"This is not what wrk 4 prints:\n{output}")
    return Told(float(requests[1]), float(transfer[1]) * UNITS[transfer[2]])


def wrk(url: str, seconds: int) -> Told:
    """One thread, 16 connections."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "60s", url]
    return read_wrk(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def transfer(way: Way, method: str) -> float:
    """Bytes a second of one body of 64 MiB, from the request's first byte to the answer's last."""
    connection = HTTPConnection(urlsplit(way.url).netloc, timeout=120)
    buffer = bytearray(1024 * 1024)
    begin = perf_counter()
    connection.request(method, "/body", BODY if method == "POST" else None)
    response = connection.getresponse()
    received = 0
    while read := response.readinto(buffer):
        received += read
    taken = perf_counter() - begin
    connection.close()
    if response.status != 200 or received != (2 if method == "POST" else BODY_BYTES):
        raise RuntimeError(f"{method} through {way.name}: {response.status}, {received} bytes.")
    return BODY_BYTES / taken


def in_turns(among: Sequence[Way], rounds: int, measure: Callable[[Way], float]) -> Figures:
    """Measure every way in every round, each time another one first."""
    figures: Figures = {way.name: [] for way in among}
    for number in range(rounds):
        for turn in range(len(among)):
            way = among[(number + turn) % len(among)]
            figures[way.name].append(measure(way))
    return figures


def ratio(figures: Figures, name: str, base: str) -> float:
    """The median of the rounds' ratios."""
    return median(a / b for a, b in zip(figures[name], figures[base], strict=True))


@dataclass(frozen=True)
class Goal:
    """A figure, and the least or the most that it should be."""

    title: str
    bound: float
    reached: float
    at_most: bool = False

    def row(self) -> list[str]:
        """The goal, what was reached, and whether that is enough."""
        met = self.reached <= self.bound if self.at_most else self.reached >= self.bound
        bound = f"{self.bound:g} or {'less' if self.at_most else 'more'}"
        return [self.title, bound, f"{self.reached:.2f}", "yes" if met else "no"]


@dataclass(frozen=True)
class Found:
    """Rows of the large table, a cell for each way, and goals."""

    rows: list[list[str]]
    goals: list[Goal]


def rates(title: str, figures: Figures, scale: float = 1, decimals: int = 0) -> list[str]:
    """What each way reached, and in brackets how much of nginx's that is."""
    cells = [f"{median(of) / scale:,.{decimals}f} ({ratio(figures, name, NGINX):.2g})" for name, of in figures.items()]
    return [title, *cells]


def small_answers(rounds: int, seconds: int) -> Found:
    """JSON of 600 bytes."""
    with json_origin() as origin, ways(origin) as among:
        figures = in_turns(among, rounds, lambda way: wrk(f"{way.url}/json", seconds).requests_per_second)
    goals = [
        Goal("pass-through requests/s, of nginx's", 0.5, ratio(figures, SIDECAR, NGINX)),
        Goal("the same, against fastapi-proxy-lib", 20, ratio(figures, SIDECAR, FASTAPI_PROXY_LIB)),
    ]
    return Found([rates("JSON of 600 bytes, requests/s", figures)], goals)


def events(rounds: int, seconds: int) -> Found:
    """Answers of 2,000 events of 250 bytes, which the origin writes in one piece or one by one."""
    with stream_origin() as origin, ways(origin) as among:
        whole = in_turns(among, rounds, lambda way: wrk(f"{way.url}/events", seconds).bytes_per_second)
        singly = in_turns(among, rounds, lambda way: wrk(f"{way.url}/events/singly", seconds).bytes_per_second)
    rows = [
        rates("2,000 events in one piece, MB/s", whole, MEGA, 1),
        rates("2,000 events one by one, MB/s", singly, MEGA, 1),
    ]
    goals = [
        Goal("SSE bytes/s, of nginx's", 0.8, ratio(whole, SIDECAR, NGINX)),
        Goal("the same, each event written on its own", 0.8, ratio(singly, SIDECAR, NGINX)),
    ]
    return Found(rows, goals)


def streams(rounds: int, seconds: int) -> Found:
    """200 streams of 20 events a second, read by a process of its own: how late events come, in milliseconds."""
    parts = ("p50", "p99", "held")
    told: dict[str, Figures] = {part: {name: [] for name in NAMES} for part in parts}

    def read(way: Way) -> float:
        reader = [sys.executable, "-m", "benchmarks.streams", "latency", f"{way.url}/ticks", str(STAGGERED)]
        said = json.loads(subprocess.run([*reader, str(seconds)], capture_output=True, check=True).stdout)
        for part in parts:
            told[part][way.name].append(said[part])
        return 0

    with stream_origin() as origin, ways(origin) as among:
        in_turns(among, rounds, read)
    p50, p99, held = told.values()
    cells = [
        f"{median(p50[name]):.2f} / {median(p99[name]):.2f}"
        + ("" if min(held[name]) == STAGGERED else f" ({min(held[name]):.0f} held)")
        for name in NAMES
    ]
    added = [median(a - b for a, b in zip(part[SIDECAR], part[DIRECT], strict=True)) for part in (p50, p99)]
    goals = [
        Goal("ms by which an event is later than direct, at 200 streams, median", 2, added[0], at_most=True),
        Goal("the same, 99th percentile", 2, added[1], at_most=True),
    ]
    return Found([["200 streams, ms p50 / p99", *cells]], goals)


def bodies(rounds: int, _: int) -> Found:
    """One large body at a time."""
    with stream_origin() as origin, ways(origin) as among:
        down = in_turns(among, rounds, lambda way: transfer(way, "GET"))
        up = in_turns(among, rounds, lambda way: transfer(way, "POST"))
    return Found([rates("64 MiB down, MB/s", down, MEGA), rates("64 MiB up, MB/s", up, MEGA)], [])


def resumes(_: int, __: int) -> Found:
    """Look-up, create and answer through the sidecar, as a multiple of the two calls made directly."""
    with (
        resume.process(create_app) as legacy,
        resuming_sidecar("--upstream", legacy, "--port", "0", "--backend", "agent-protocol") as shim,
    ):
        placed = [
            resume.Way("direct", legacy, resume.directly_agent_protocol),
            resume.Way("sidecar", shim.url, resume.through_the_shim),
        ]
        taken = {mode: resume.seconds("agent-protocol", placed, mode) for mode in Mode}
    goals = [
        Goal(
            f"resume, {mode.name.lower()}: time of the two direct calls ({median(direct) * 1000:.1f} ms)",
            1.5,
            median(b / a for a, b in zip(direct, through, strict=True)),
            at_most=True,
        )
        for mode, (direct, through) in taken.items()
    ]
    return Found([], goals)


PARTS: dict[str, Callable[[int, int], Found]] = {
    "json": small_answers,
    "events": events,
    "streams": streams,
    "bodies": bodies,
    "resumes": resumes,
}


def main(arguments: Sequence[str]) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sidecar", description="The sidecar and other proxies.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="that each turn takes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    given = parser.parse_args(arguments)
    if missing := [program for program in ("wrk", "nginx", "uv") if shutil.which(program) is None]:
        sys.exit(f"Not installed: {', '.join(missing)}. Debian has wrk and nginx; uv is a Python package.")
    found = [PARTS[part](given.rounds, given.seconds) for part in given.only]
    show(
        "One worker each; in brackets: of nginx's",
        ["", *NAMES],
        [row for part in found for row in part.rows],
    )
    show(
        "The sidecar's goals",
        ["", "goal", "reached", "met"],
        [goal.row() for part in found for goal in part.goals],
    )
