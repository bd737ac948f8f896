"""The servers that are compared: real processes, each in front of a door of the origin, as transparent as can be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.differential.origin import Door
from tests.servers.process import free_port
from tests.support.programs import need

SIDECAR = "sidecar"
PEERS = ("nginx", "haproxy", "caddy")
NAMES = (SIDECAR, *PEERS)

NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 0;
  underscores_in_headers on;
  merge_slashes off;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_pass_header Server;
      proxy_pass_header Date;
      location /limited {{
        proxy_pass http://origin;
        proxy_read_timeout {limit}s;
      }}
      location /upgrade/bare {{
        proxy_pass http://origin;
        proxy_set_header Connection $http_connection;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Host $http_host;
      }}
    }}
  }}
}}
"""
HAPROXY = """
defaults
  mode http
  option http-no-delay
  option abortonclose
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:{port}
  default_backend origin
  use_backend limited if {{ path_beg /limited }}
backend origin
  server origin 127.0.0.1:{origin}
backend limited
  timeout server {limit}s
  server origin 127.0.0.1:{origin}
"""
# Caddy flushes streams by itself; with `flush_interval -1` it would not notice any more that a client has left.
CADDY = """
{{
  admin off
  auto_https off
  log {{
    output discard
  }}
  servers {{
    protocols h1
  }}
}}
http://:{port} {{
  bind 127.0.0.1
  reverse_proxy /limited/* 127.0.0.1:{origin} {{
    transport http {{
      response_header_timeout {limit}s
    }}
  }}
  reverse_proxy 127.0.0.1:{origin}
}}
"""
CONFIGURATIONS = {"nginx": NGINX, "haproxy": HAPROXY, "caddy": CADDY}
COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "nginx": lambda file: ["nginx", "-e", str(file.with_name("log")), "-p", str(file.parent), "-c", str(file)],
    "haproxy": lambda file: ["haproxy", "-db", "-q", "-f", str(file)],
    "caddy": lambda file: ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)],
}
LIMIT = 3
"""Seconds that an answer has to begin in: all of the sidecar's, and those below `/limited` elsewhere."""
NOBODY = "http://127.0.0.1:9"
"""A proxy of the environment, which the sidecar has to pay no attention to."""
PATHS = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""Debian's servers stand in sbin, which is not on everybody's path."""


def need_peers() -> None:
    """Skip where a peer is not installed, unless AP_TEST_PROXIES=required."""
    for name in PEERS:
        need(name, required="AP_TEST_PROXIES", path=PATHS)


@dataclass(frozen=True)
class Proxy:
    """A running server: its name, its port, the process, and the door of the origin behind it."""

    name: str
    port: int
    pid: int
    door: Door

    def grown(self, do: Callable[[], object]) -> int:
        """Bytes by which the process's memory grew at its largest while something is done."""
        status = Path(f"/proc/{self.pid}/status")
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the peak begins anew at what it has now
        before = _kilobytes(status, "VmRSS")
        do()
        return (_kilobytes(status, "VmHWM") - before) * 1024


def _kilobytes(status: Path, name: str) -> int:
    (line,) = [line for line in status.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1])


@contextmanager
def running(name: str, door: Door) -> Iterator[Proxy]:
    """A server in front of a door of the origin, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        port, log = free_port(), Path(folder, "output")
        command = _command(name, Path(folder), port, door.port)
        home = {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        more = {"http_proxy": NOBODY, "all_proxy": NOBODY} if name == SIDECAR else home
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "PATH": PATHS, **more})
        try:
            wait_for(port, process, log)
            yield Proxy(name, port, process.pid, door)
        finally:
            process.kill()
            process.wait()


def _command(name: str, folder: Path, port: int, origin: int) -> list[str]:
    if name == SIDECAR:
        upstream = f"http://127.0.0.1:{origin}"
        options = ["--upstream", upstream, "--port", str(port), "--backend", "agent-protocol"]
        options += ["--answer-timeout", str(LIMIT)]
        return [sys.executable, "-m", "ap_resume_shim", "serve", *options]
    file = folder / "configuration"
    file.write_text(CONFIGURATIONS[name].format(folder=folder, port=port, origin=origin, limit=LIMIT))
    return COMMANDS[name](file)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the port accepts connections. Raises `RuntimeError` with the log if the process ends."""
    for _ in range(3000):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.01)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}: {log.read_text()}")
