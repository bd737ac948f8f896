"""The sidecar compared with no proxy, other proxies, and an edge that sends only resumes to it: one worker each.

    python -m benchmarks sidecar [--rounds 5] [--seconds 2] [--only json events ...]

Needs wrk, nginx, HAProxy and Caddy. The ways alternate within each round. Figures are the medians of the rounds. Ratios
are the medians of the ratios within each round. CPU is the user and system time of all processes of a proxy.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from math import isnan, nan
from statistics import median
from time import perf_counter
from urllib.parse import urlsplit

from benchmarks.origin import BODY_BYTES, MANY, STAGGERED
from benchmarks.table import show
from benchmarks.ways import DIRECT, EDGE, NAMES, NGINX, SIDECAR, Way, json_origin, stream_origin, ways
from tests.differential.proxies import PATHS

CONNECTIONS = 16
BODY = bytes(BODY_BYTES)
BODIES = 4
"""Number of large bodies in one turn."""
MEGA = 1_000_000
UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}

Figures = Mapping[str, Sequence[float]]
"""The measurements of each way, one for each round."""


@dataclass(frozen=True)
class Load:
    """The rate of a client in units per second, and its duration."""

    per_second: float
    seconds: float


@dataclass(frozen=True)
class Wrk:
    """The result of wrk, in requests and in bytes."""

    requests: Load
    bytes: Load


def read_wrk(output: str) -> Wrk:
    """Parse wrk's output. Raises `RuntimeError` unless every response had a status of 2xx."""
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"Not every request got a response with a status of 2xx:\n{output}")
    requests = re.search(r"^Requests/sec: +([\d.]+)$", output, re.MULTILINE)
    transfer = re.search(r"^Transfer/sec: +([\d.]+)([KMG]?)B$", output, re.MULTILINE)
    duration = re.search(r"^ +\d+ requests in ([\d.]+)s,", output, re.MULTILINE)
    if not requests or not transfer or not duration:
        raise RuntimeError(f"This is not what wrk 4 prints:\n{output}")
    seconds = float(duration[1])
    return Wrk(Load(float(requests[1]), seconds), Load(float(transfer[1]) * UNITS[transfer[2]], seconds))


def wrk(url: str, seconds: int) -> Wrk:
    """Run wrk with one thread and 16 connections."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "60s", url]
    return read_wrk(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def transfer(way: Way, method: str) -> Load:
    """Transfer bodies of 64 MiB one after the other, each from its request's first byte to its response's last one."""
    connection = HTTPConnection(urlsplit(way.url).netloc, timeout=120)
    buffer = bytearray(1024 * 1024)
    begin = perf_counter()
    for _ in range(BODIES):
        connection.request(method, "/body", BODY if method == "POST" else None)
        response = connection.getresponse()
        received = 0
        while read := response.readinto(buffer):
            received += read
        if response.status != 200 or received != (2 if method == "POST" else BODY_BYTES):
            raise RuntimeError(f"{method} through {way.name}: {response.status}, {received} bytes.")
    seconds = perf_counter() - begin
    connection.close()
    return Load(BODIES * BODY_BYTES / seconds, seconds)


def in_turns(among: Sequence[Way], rounds: int, measure: Callable[[Way], float]) -> Figures:
    """Measure every way in every round, each time another one first."""
    figures: dict[str, list[float]] = {way.name: [] for way in among}
    for number in range(rounds):
        for turn in range(len(among)):
            way = among[(number + turn) % len(among)]
            figures[way.name].append(measure(way))
    return figures


def ratio(figures: Figures, name: str, base: str = NGINX) -> float:
    """Return the median of the rounds' ratios."""
    return median(a / b for a, b in zip(figures[name], figures[base], strict=True))


@dataclass(frozen=True)
class Goal:
    """A figure, and its minimum or maximum."""

    title: str
    bound: float
    reached: float
    at_most: bool = False

    def row(self) -> list[str]:
        """Return the goal, the figure, and whether it reaches the goal."""
        met = self.reached <= self.bound if self.at_most else self.reached >= self.bound
        bound = f"{self.bound:g} or {'less' if self.at_most else 'more'}"
        return [self.title, bound, f"{self.reached:.2f}", "yes" if met else "no"]


@dataclass(frozen=True)
class Part:
    """Rows of the main table, with a cell for each way, and goals."""

    rows: list[list[str]]
    goals: list[Goal]


@dataclass(frozen=True)
class Costs:
    """The rate of each way, and the CPU time in microseconds that its proxy needed for one unit."""

    rate: Figures
    cpu: Figures

    @classmethod
    def measure(cls, among: Sequence[Way], rounds: int, run: Callable[[Way], Load]) -> Costs:
        """Measure every way under load in every round."""
        cpu: dict[str, list[float]] = {way.name: [] for way in among}

        def turn(way: Way) -> float:
            before = way.cpu_seconds()
            load = run(way)
            spent = way.cpu_seconds() - before
            cpu[way.name].append(spent * 1e6 / (load.per_second * load.seconds) if way.pids else nan)
            return load.per_second

        return cls(in_turns(among, rounds, turn), cpu)

    def rows(self, rate: tuple[str, float], cpu: tuple[str, float]) -> list[list[str]]:
        """Return two rows; the arguments are the titles and scales of the rates and of the CPU times."""
        return [_row(*rate, self.rate), _row(*cpu, self.cpu)]


def _row(title: str, scale: float, figures: Figures) -> list[str]:
    return [title, *(_cell(figures, name, scale) for name in figures)]


def _cell(figures: Figures, name: str, scale: float) -> str:
    figure = median(figures[name]) * scale
    return "-" if isnan(figure) else f"{_short(figure)} ({_short(ratio(figures, name))})"


def _short(figure: float) -> str:
    """Format a figure with two digits, or with all digits before the point."""
    return f"{figure:,.0f}" if figure >= 10 else f"{figure:.2g}"


def small_responses(rounds: int, seconds: int) -> Part:
    """Measure responses of 600 bytes of JSON."""
    with json_origin() as origin, ways(origin) as among:
        costs = Costs.measure(among, rounds, lambda way: wrk(f"{way.url}/json", seconds).requests)
    goals = [
        Goal("requests/s through the sidecar, of nginx's", 0.6, ratio(costs.rate, SIDECAR)),
        Goal("requests/s past the sidecar through the edge, of nginx's", 0.95, ratio(costs.rate, EDGE)),
        Goal("CPU of such a request at the edge, of nginx's", 1.05, ratio(costs.cpu, EDGE), at_most=True),
    ]
    return Part(costs.rows(("JSON of 600 bytes, requests/s", 1), ("CPU µs of a request", 1)), goals)


def events(rounds: int, seconds: int) -> Part:
    """Measure responses of 2,000 events of 250 bytes, which the origin writes in one piece or one by one."""

    def measure(path: str) -> Costs:
        return Costs.measure(among, rounds, lambda way: wrk(way.url + path, seconds).bytes)

    with stream_origin() as origin, ways(origin) as among:
        whole, singly = measure("/events"), measure("/events/singly")
    cpu = "CPU µs of an event", float(len(MANY[0]))
    rows = [
        *whole.rows(("2,000 events in one piece, MB/s", 1 / MEGA), cpu),
        *singly.rows(("2,000 events one by one, MB/s", 1 / MEGA), cpu),
    ]
    goals = [
        Goal("SSE bytes/s, events in one piece, of nginx's", 0.8, ratio(whole.rate, SIDECAR)),
        Goal("SSE bytes/s, events one by one, of nginx's", 0.8, ratio(singly.rate, SIDECAR)),
    ]
    return Part(rows, goals)


def streams(rounds: int, seconds: int) -> Part:
    """Measure the delay of events in milliseconds, in 200 streams of 20 events per second."""
    parts = ("p50", "p99", "held")
    read: dict[str, dict[str, list[float]]] = {part: {name: [] for name in NAMES} for part in parts}

    def measure(way: Way) -> float:
        reader = [sys.executable, "-m", "benchmarks.streams", "latency", f"{way.url}/ticks", str(STAGGERED)]
        printed = json.loads(subprocess.run([*reader, str(seconds)], capture_output=True, check=True).stdout)
        for part in parts:
            read[part][way.name].append(printed[part])
        return 0

    with stream_origin() as origin, ways(origin) as among:
        in_turns(among, rounds, measure)
    p50, p99, held = read.values()
    cells = [
        f"{median(p50[name]):.2f} / {median(p99[name]):.2f}"
        + ("" if min(held[name]) == STAGGERED else f" ({min(held[name]):.0f} held)")
        for name in NAMES
    ]
    added = [median(a - b for a, b in zip(part[SIDECAR], part[DIRECT], strict=True)) for part in (p50, p99)]
    goals = [
        Goal("ms that the sidecar delays an event, at 200 streams, median", 2, added[0], at_most=True),
        Goal("ms that the sidecar delays an event, at 200 streams, p99", 2, added[1], at_most=True),
    ]
    return Part([["200 streams, ms p50 / p99", *cells]], goals)


def bodies(rounds: int, _: int) -> Part:
    """Measure large bodies, one at a time."""

    def measure(method: str) -> Costs:
        return Costs.measure(among, rounds, lambda way: transfer(way, method))

    with stream_origin() as origin, ways(origin) as among:
        down, up = measure("GET"), measure("POST")
    cpu = "CPU ms of 64 MiB", BODY_BYTES / 1000
    rows = [*down.rows(("64 MiB down, MB/s", 1 / MEGA), cpu), *up.rows(("64 MiB up, MB/s", 1 / MEGA), cpu)]
    goals = [
        Goal("bytes/s of 64 MiB down, of nginx's", 1, ratio(down.rate, SIDECAR)),
        Goal("bytes/s of 64 MiB up, of nginx's", 1, ratio(up.rate, SIDECAR)),
    ]
    return Part(rows, goals)


PARTS: dict[str, Callable[[int, int], Part]] = {
    "json": small_responses,
    "events": events,
    "streams": streams,
    "bodies": bodies,
}


def main(arguments: Sequence[str]) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sidecar", description="The sidecar and other proxies.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="that each turn takes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    given = parser.parse_args(arguments)
    programs = "wrk", "nginx", "haproxy", "caddy"
    if missing := [program for program in programs if shutil.which(program, path=PATHS) is None]:
        sys.exit(f"Not installed: {', '.join(missing)}. They are Debian packages.")
    parts = [PARTS[part](given.rounds, given.seconds) for part in given.only]
    show(
        "One worker each; in brackets, the ratio to nginx",
        ["", *NAMES],
        [row for part in parts for row in part.rows],
    )
    show(
        "Goals of the sidecar and of the edge",
        ["", "goal", "reached", "met"],
        [goal.row() for part in parts for goal in part.goals],
    )
