"""Many open and silent streams: whether the sidecar holds them, and how much memory each takes.

    python -m benchmarks idle [--streams 10000] [--minutes 10]
    python -m benchmarks idle --cycles 10 [--streams 1500]

With `--cycles`, all streams are opened and closed that many times, to show whether the memory is returned.

Each stream needs two file descriptors of the sidecar. If the hard limit (`ulimit -Hn`) is too low for them, the
benchmark opens as many streams as the limit allows, and reports that.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.table import show
from benchmarks.ways import Way, sidecar, stream_origin

OTHER_FILES = 40
"""File descriptors of a sidecar besides those of streams: log, listening socket, event loop and so on."""
STREAMS, STREAMS_PER_CYCLE = 10_000, 1_500
"""Number of streams, unless `--streams` is given."""
SAMPLES = 5
"""Number of measurements while the streams are open."""
GOAL_KIB = 60
PATIENCE = 60.0
"""Seconds within which the sidecar must close the sockets of all streams."""


@dataclass(frozen=True)
class Memory:
    """The memory of a process in KiB: all of it, with its share of shared pages, and without shared pages."""

    rss: int
    pss: int
    uss: int


def memory(pid: int) -> Memory:
    """Read the memory of a process from Linux's `/proc`."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    return Memory(kib["Rss"], kib["Pss"], kib["Private_Clean"] + kib["Private_Dirty"])


def sockets(pid: int) -> int:
    """Count the open sockets of a process."""
    count = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            count += str(file.readlink()).startswith("socket:")
    return count


def affordable(streams: int, files: int) -> int:
    """Return how many streams a sidecar can hold with a limit of open files."""
    return min(streams, (files - OTHER_FILES) // 2)


class Reader:
    """The process that opens the streams and reads them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input: IO[str] = process.stdin
        self._output: IO[str] = process.stdout

    def opened(self) -> int:
        """Wait until each stream is open or has failed; return the number of open ones."""
        return int(self._output.readline())

    def held(self) -> int:
        """Return the number of streams that are open now."""
        print(file=self._input, flush=True)
        return self.opened()


@contextmanager
def reading(url: str, streams: int) -> Iterator[Reader]:
    """Open streams, and hold them during the block."""
    command = [sys.executable, "-m", "benchmarks.streams", "hold", f"{url}/idle", str(streams)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Reader(process)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks idle", description="Many open streams, all silent.")
    parser.add_argument("--streams", type=int, help=f"{STREAMS:,}, or {STREAMS_PER_CYCLE:,} with --cycles")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cycles", type=int, default=0, help="open and close all streams this many times")
    given = parser.parse_args(arguments)
    wanted = given.streams or (STREAMS_PER_CYCLE if given.cycles else STREAMS)
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    streams = affordable(wanted, files)
    if streams < wanted:
        print(f"The hard limit of {files} open files lets a sidecar hold {streams} streams, not {wanted}.")
    with stream_origin() as origin, sidecar(origin) as way:
        with reading(way.url, OTHER_FILES) as few:
            few.opened()
        if given.cycles:
            _cycles(way, streams, given.cycles)
        else:
            _hold(way, streams, given.minutes)


def _hold(way: Way, streams: int, minutes: float) -> None:
    """Print the memory while the streams are open, at intervals."""
    (pid,) = way.pids
    before = memory(pid)
    with reading(way.url, streams) as reader:
        rows = [["before", 0, before.rss // 1024, "-", "-"]]
        began, held = time.monotonic(), reader.opened()
        rows.append(_row("opened", held, memory(pid), before))
        for sample in range(1, SAMPLES + 1):
            time.sleep(max(0, began + sample * minutes * 60 / SAMPLES - time.monotonic()))
            after, held = memory(pid), reader.held()
            rows.append(_row(f"{sample * minutes / SAMPLES:g} min", held, after, before))
    head = ["", "streams held", "MiB of the sidecar", "KiB a stream", "KiB a stream, by PSS"]
    show(f"{streams} silent streams: goal, all held, and under {GOAL_KIB} KiB each", head, rows)
    if held < streams:
        sys.exit(f"{streams - held} streams were not held.")


def _row(title: str, held: int, now: Memory, before: Memory) -> list[object]:
    added = now.rss - before.rss, now.pss - before.pss
    each = [f"{kib / held:.1f}" if held else "-" for kib in added]
    return [title, held, now.rss // 1024, *each]


def _cycles(way: Way, streams: int, cycles: int) -> None:
    """Print the memory before the first cycle, with the streams of each cycle open, and after it."""
    (pid,) = way.pids
    idle = sockets(pid)
    rows = [["before", "-", "-", *_mib(memory(pid))]]
    for cycle in range(1, cycles + 1):
        with reading(way.url, streams) as reader:
            held, opened = reader.opened(), memory(pid)
        _wait_until_closed(pid, idle)
        rows.append([str(cycle), str(held), _mib(opened)[0], *_mib(memory(pid))])
    head = ["cycle", "streams held", "MiB (PSS) with them", "MiB (PSS) after", "MiB (USS) after"]
    show(f"{streams} silent streams, opened and closed: goal, the last cycle ends where the second did", head, rows)


def _mib(now: Memory) -> tuple[str, str]:
    return f"{now.pss / 1024:.1f}", f"{now.uss / 1024:.1f}"


def _wait_until_closed(pid: int, idle: int) -> None:
    """Wait until a sidecar has no more sockets than when it was idle."""
    deadline = time.monotonic() + PATIENCE
    while (left := sockets(pid) - idle) > 0:
        if time.monotonic() > deadline:
            sys.exit(f"The sidecar still has {left} sockets of streams that were closed {PATIENCE:g} seconds ago.")
        time.sleep(0.1)
