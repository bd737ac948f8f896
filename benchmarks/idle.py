"""Many open streams on which nothing happens: are they held, and what does each cost the sidecar?

    python -m benchmarks idle [--streams 10000] [--minutes 10]

Each stream needs two file descriptors of the sidecar. Where the hard limit (`ulimit -Hn`) has too few for them, as many
streams are opened as it allows, and the report says so.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.table import show
from benchmarks.ways import sidecar, stream_origin

OTHER_FILES = 40
"""Of a process: its log, its listening socket, its event loop, and what comes up."""
SAMPLES = 10
"""Looks at the memory while the streams are held."""
GOAL_KIB = 60


@dataclass(frozen=True)
class Memory:
    """What a process occupies, in KiB: in all, and its share where pages belong to several processes."""

    rss: int
    pss: int

    def __sub__(self, other: Memory) -> Memory:
        return Memory(self.rss - other.rss, self.pss - other.pss)


def memory(pid: int) -> Memory:
    """As Linux tells it."""
    told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return Memory(*(int(told[name].split()[0]) for name in ("Rss", "Pss")))


def affordable(streams: int, files: int) -> int:
    """How many streams a sidecar can hold that may open so many files."""
    return min(streams, (files - OTHER_FILES) // 2)


class Reader:
    """The process that reads the streams."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input: IO[str] = process.stdin
        self._output: IO[str] = process.stdout

    def opened(self) -> int:
        """How many are open, once all were tried."""
        return int(self._output.readline())

    def held(self) -> int:
        """How many are open now."""
        print(file=self._input, flush=True)
        return self.opened()


@contextmanager
def reading(url: str, streams: int) -> Iterator[Reader]:
    """Open streams, and keep them for as long as the context lasts."""
    command = [sys.executable, "-m", "benchmarks.streams", "hold", f"{url}/idle", str(streams)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Reader(process)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks idle", description="Many open streams, all silent.")
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=10)
    given = parser.parse_args(arguments)
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    streams = affordable(given.streams, files)
    if streams < given.streams:
        print(f"The hard limit of {files} open files lets a sidecar hold {streams} streams, not {given.streams}.")
    with stream_origin() as origin, sidecar(origin) as way:
        with reading(way.url, OTHER_FILES) as few:
            few.opened()
        before = memory(way.pid)
        with reading(way.url, streams) as reader:
            rows = [["before", 0, before.rss // 1024, "-", "-"]]
            began, held = time.monotonic(), reader.opened()
            rows.append(_row("opened", held, memory(way.pid), before))
            for sample in range(1, SAMPLES + 1):
                time.sleep(max(0, began + sample * given.minutes * 60 / SAMPLES - time.monotonic()))
                after, held = memory(way.pid), reader.held()
                rows.append(_row(f"{sample * given.minutes / SAMPLES:g} min", held, after, before))
    head = ["", "streams held", "MiB of the sidecar", "KiB a stream", "KiB a stream, by PSS"]
    show(f"{streams} silent streams: goal, all held, and under {GOAL_KIB} KiB each", head, rows)
    if held < streams:
        sys.exit(f"{streams - held} streams were not held.")


def _row(title: str, held: int, now: Memory, before: Memory) -> list[object]:
    added = now - before
    each = [f"{kib / held:.1f}" if held else "-" for kib in (added.rss, added.pss)]
    return [title, held, now.rss // 1024, *each]
