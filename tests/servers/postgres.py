"""A private PostgreSQL server for the servers of one test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from .process import Process, StartError, free_port


class Postgres:
    """Context manager: a fresh cluster in a temporary folder with one empty database, reachable at `url`."""

    _server: Process | None = None

    def __init__(self, log: Path, database: str = "agents") -> None:
        self._bin = binaries()
        # The server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="ap-resume-shim-pg-"))
        self._port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}/{database}"
        try:
            self._start(log, database)
        except BaseException:
            self.stop()
            raise

    def _start(self, log: Path, database: str) -> None:
        data = self._folder / "data"
        if self._user:
            shutil.chown(self._folder, self._user)
        self._run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "max_connections": 200,
            "fsync": "off",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [str(self._bin / "postgres"), "-D", str(data), "-p", str(self._port), *options]
        self._server = Process(command, log, cwd=self._folder, user=self._user)
        self._server.wait_until(self._ready, 60)
        self._run("createdb", *self._address, "-U", "postgres", database)

    def stop(self) -> None:
        if self._server:
            self._server.stop(signal.SIGINT)  # a "fast" shutdown: does not wait for its clients
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _address(self) -> tuple[str, ...]:
        return "-h", "127.0.0.1", "-p", str(self._port)

    def _ready(self) -> bool | None:
        probe = subprocess.run([self._bin / "pg_isready", "-q", *self._address, "-U", "postgres"], check=False)
        return True if probe.returncode == 0 else None

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self._bin / program, *arguments]
        done = subprocess.run(command, cwd=self._folder, user=self._user, capture_output=True, text=True)
        if done.returncode:
            raise StartError(f"{program} failed:\n{done.stdout}{done.stderr}")


def binaries() -> Path:
    """The folder of the newest PostgreSQL that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    if on_path := shutil.which("postgres"):
        return Path(on_path).resolve().parent
    raise StartError("this server needs PostgreSQL, which is not installed: apt-get install postgresql")
