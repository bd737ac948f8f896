"""A real Redis server for one test, on a free port."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.process import free_port
from tests.support.programs import need

PROGRAMS = ("redis-server", "valkey-server")


def need_redis() -> str:
    """Return the path of the server's program. If it is missing, skip the test, or fail with AP_TEST_REDIS=required."""
    return need(*PROGRAMS, required="AP_TEST_REDIS")


class RedisServer:
    """A server that can be stopped and restarted at the same address. It is empty after a restart.

    `options` are arguments of the program.
    """

    def __init__(self, *options: str) -> None:
        self._binary, self.port, self._options = need_redis(), free_port(), options
        if "--cluster-enabled" in options:  # the default, 10,000 above the first port, may be invalid
            self._options = (*options, "--cluster-port", str(free_port()))
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it responds."""
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self._options]
        self._process = subprocess.Popen([*command, "--dir", self._folder.name], stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(7).startswith((b"+PONG", b"-NOAUTH")):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"redis-server did not answer on port {self.port}")

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Suspend the process during the block: connections and bytes are accepted, but nothing is processed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._folder.cleanup()


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """Run a server during the block."""
    server = RedisServer(*options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
