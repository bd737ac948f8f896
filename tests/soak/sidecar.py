"""The sidecar whose leaks are looked for: what it holds, told by itself and seen from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.calling import CLIENT
from tests.support.sidecar import Sidecar, started
from tests.support.waiting import eventually

QUIET = 60.0
"""Seconds in which everything has to be let go of."""


@dataclass
class Watched:
    """The process."""

    sidecar: Sidecar
    _told: Any

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self.sidecar.process

    @property
    def port(self) -> int:
        return int(self.sidecar.url.rpartition(":")[2])

    @property
    def megabytes(self) -> float:
        """Memory in use."""
        (line,) = [line for line in self._proc("status").splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024

    def held(self) -> dict[str, Any]:
        """What it tells, and the descriptors, sockets, threads of the process."""
        self.process.send_signal(signal.SIGUSR1)
        told: dict[str, Any] = json.loads(self._told.readline())
        open_ = self._open()
        return told | {
            "descriptors": len(open_),
            "sockets": sum(name.startswith("socket:") for name in open_),
            "OS threads": len(list(Path(f"/proc/{self.process.pid}/task").iterdir())),
        }

    def counts(self) -> dict[str, int]:
        """What it holds, but for blocks of memory."""
        return {name: count for name, count in self.held().items() if name not in ("blocks", "doing")}

    def at_rest(self) -> dict[str, int]:
        """What it holds when it is asked for nothing, and keeps no connection."""
        eventually(lambda: not (now := self.counts())["connections"] and not now["UpstreamConnection"], patience=QUIET)
        return self.counts()

    def lets_go(self, to: dict[str, int]) -> None:
        """Wait until it holds what it is to hold, and nothing else."""
        deadline = time.monotonic() + QUIET
        while (now := self.counts()) != to and time.monotonic() < deadline:
            time.sleep(0.5)  # to answer takes it time
        leaked = {name: f"{count}, not {to[name]}" for name, count in now.items() if count != to[name]}
        assert not leaked, (leaked, self.held()["doing"])

    def _open(self) -> list[str]:
        """What the descriptors are of."""
        open_ = []
        for file in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                open_.append(str(file.readlink()))
        return open_

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.process.pid}/{name}").read_text()


@contextmanager
def watched(upstream: str, *options: str, patience: float = 60.0) -> Iterator[Watched]:
    """A sidecar in front of a server; `patience`: seconds for a head, a part of a body, a part of an answer."""
    reads, writes = os.pipe()
    env = {"AP_TEST_PATIENCE": str(patience), "AP_TEST_TELL": str(writes)}
    command = [sys.executable, "-m", "tests.soak.watched", "--upstream", upstream, "--port", "0"]
    # Its threads ask the same question for ever, so that no look could show that a resume has arrived.
    command += ["--backend", "agent-protocol", "--commit-timeout", "0.01", *options]
    with os.fdopen(reads, "rb") as told, started(command, env, [writes]) as sidecar:
        os.close(writes)
        sidecar.wait_until_it_listens()
        CLIENT.get(f"{sidecar.url}/-/healthz")  # from then on it listens to signals
        yield Watched(sidecar, told)
