"""Runs the sidecar in a separate process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.support.waiting import eventually

COMMAND = [sys.executable, "-m", "ap_resume_shim"]
START = 180.0
"""Maximum start time of a process on a loaded machine, in seconds."""


@dataclass
class Sidecar:
    """The process, its addresses and its log."""

    process: subprocess.Popen[bytes]
    _log: Path

    @property
    def log(self) -> str:
        """The output of the process so far."""
        return self._log.read_text()

    @property
    def url(self) -> str:
        """The address for clients: a URL, or `unix:` and a path."""
        return self._logged(r"listening on ([^\s,]+),")

    @property
    def health(self) -> str:
        """The URL of healthz and readyz, if they have a separate port."""
        return self._logged(r"healthz and readyz are at (\S+)/")

    def wait_until_it_listens(self) -> None:
        """Return when clients can connect; fail with the log if the process ends before."""
        eventually(lambda: "listening on" in self.log or self.process.poll() is not None, "it listens", patience=START)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait(timeout=20)

    def pause(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def _logged(self, pattern: str) -> str:
        return eventually(lambda: re.search(pattern, self.log), f"the log has {pattern}")[1]


@contextmanager
def sidecar(*options: str, **env: str) -> Iterator[Sidecar]:
    """Run a sidecar during the block, and wait until it listens. At the end, the process has ended."""
    with started([*COMMAND, "serve", *options], env) as made:
        made.wait_until_it_listens()
        yield made


@contextmanager
def sidecars(count: int, *options: str) -> Iterator[list[Sidecar]]:
    """Run several with the same options, which start at the same time."""
    with ExitStack() as stack:
        made = [stack.enter_context(started([*COMMAND, "serve", *options])) for _ in range(count)]
        for one in made:
            one.wait_until_it_listens()
        yield made


@contextmanager
def started(
    command: list[str], env: Mapping[str, str] = MappingProxyType({}), pass_fds: Sequence[int] = ()
) -> Iterator[Sidecar]:
    """Run a command that starts a sidecar; it inherits the descriptors `pass_fds`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AP_RESUME_SHIM_")}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("w") as output:
            process = subprocess.Popen(
                command, stderr=output, stdout=output, env={**inherited, **env}, pass_fds=pass_fds
            )
            made = Sidecar(process, log)
        try:
            yield made
        finally:
            made.kill()
