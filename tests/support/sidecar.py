"""The sidecar in a process of its own, for tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.calling import eventually

COMMAND = [sys.executable, "-m", "ap_resume_shim"]
START = 60.0
"""Seconds that a process may take to start."""


@dataclass
class Sidecar:
    """The process, where it listens, and what it has said so far."""

    process: subprocess.Popen[bytes]
    _log: Path

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        """For clients: an address, or `unix:` and a path."""
        return self._said(r"listening on ([^\s,]+),")

    @property
    def health(self) -> str:
        """Where its healthz and readyz are, when that is a port of their own."""
        return self._said(r"healthz and readyz are at (\S+)/")

    def _said(self, pattern: str) -> str:
        found = re.search(pattern, self.log)
        assert found, self.log
        return found[1]


@contextmanager
def sidecar(*options: str, **env: str) -> Iterator[Sidecar]:
    """Start it, and wait until it listens; in the end it is gone, and so are its workers."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AP_RESUME_SHIM_")}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("w") as output:
            command = [*COMMAND, "serve", *options]
            process = subprocess.Popen(command, stderr=output, stdout=output, env={**inherited, **env})
        try:
            assert eventually(lambda: "listening on" in log.read_text() or process.poll() is not None, START), (
                log.read_text()
            )
            yield Sidecar(process, log)
        finally:
            process.kill()  # workers end by themselves when their parent is gone
            process.wait(timeout=20)
