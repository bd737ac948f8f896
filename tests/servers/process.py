"""Child processes that end when they are told to, together with everything they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from random import SystemRandom
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")


class StartError(RuntimeError):
    """A process did not get ready; the message ends with the last lines of its log."""


class Process:
    """A command in a process group of its own, writing to a log file."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.log = log
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
                user=user,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], T | None], limit: float) -> T:
        """The first answer of `ready` that is not None; StartError when the process ends or takes too long."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if (answer := ready()) is not None:
                return answer
            if (code := self._child.poll()) is not None:
                raise StartError(f"the process ended with code {code}:\n{self.tail()}")
            time.sleep(0.1)
        raise StartError(f"not ready after {limit:.0f} s:\n{self.tail()}")

    def stop(self, signum: signal.Signals = signal.SIGTERM, patience: float = 8) -> None:
        """Ask the whole group to end, then make it."""
        self._signal(signum)
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(patience)
        self._signal(signal.SIGKILL)
        self._child.wait()

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.output().splitlines()[-lines:])

    def _signal(self, signum: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signum)


def free_port() -> int:
    """A port for a server that needs seconds to start.

    It is below those that systems give to connections (from 32768 on), of which one could take it in the meantime.
    """
    while True:
        port = SystemRandom().randrange(16384, 32768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
