"""Runs the sidecar in a separate process."""

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
"""Maximum start time of a process, in seconds."""


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

    def _logged(self, pattern: str) -> str:
        found = re.search(pattern, self.log)
        assert found, self.log
        return found[1]


@contextmanager
def sidecar(*options: str, **env: str) -> Iterator[Sidecar]:
    """Run a sidecar during the block, and wait until it listens. At the end, the process has ended."""
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
            process.kill()
            process.wait(timeout=20)
