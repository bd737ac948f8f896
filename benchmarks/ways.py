"""The ways to an origin: directly, or through a proxy that has one worker."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cpu import cpu_seconds
from benchmarks.origin import JSON
from benchmarks.origin import NGINX as NGINX_ORIGIN
from tests.differential.proxies import PATHS
from tests.servers.process import Process, free_port

DIRECT, NGINX, HAPROXY, CADDY = "no proxy", "nginx", "HAProxy", "Caddy"
SIDECAR, EDGE, HTTPX = "sidecar", "edge", "plain httpx"
NAMES = (DIRECT, NGINX, EDGE, HAPROXY, CADDY, SIDECAR, HTTPX)

START = 60.0
"""Seconds within which a process must listen."""

NGINX_CONF = """
daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    {server}
}}
"""
NGINX_PROXY = """
    upstream origin {{ server {origin}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        keepalive_requests 1000000000;
        client_max_body_size 0;
        proxy_http_version 1.1; proxy_set_header Connection "";
        proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 1h;
        location / {{ proxy_pass http://origin; }}
        {more}
    }}
"""
TO_THE_SHIM = r"location ~ ^/runs/resume(/wait|/stream)?$ {{ proxy_pass http://{shim}; }}"
"""Added to nginx if it sends only resumes to the shim, as docs/how-to/edge-proxy.md recommends."""
HAPROXY_CONF = """
global
    nbthread 1
    maxconn 2000
defaults
    mode http
    option http-no-delay
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend in
    bind 127.0.0.1:{port}
    default_backend origin
backend origin
    server origin {origin}
"""
CADDY_CONF = """
{{
    admin off
    auto_https off
    servers {{
        protocols h1
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy {origin}
}}
"""


@dataclass(frozen=True)
class Way:
    """The URL for clients, and the processes between them and the origin: none without a proxy."""

    name: str
    url: str
    pids: tuple[int, ...] = ()

    def cpu_seconds(self) -> float:
        """Return the user and system time so far of all processes of the proxy."""
        return cpu_seconds(*self.pids)


class _Child(Process):
    @property
    def pid(self) -> int:
        return self._child.pid


@contextmanager
def running(command: Sequence[str | Path], port: int, **env: str) -> Iterator[int]:
    """Run a process that listens on a port during the block; yield its id. It leads a session."""
    with tempfile.TemporaryDirectory() as folder:
        process = _Child(command, Path(folder, "log"), env={**os.environ, "PATH": PATHS, **env})
        try:
            process.wait_until(lambda: _listens(port), START)
            yield process.pid
        finally:
            process.stop()


def _listens(port: int) -> bool | None:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0 or None


@contextmanager
def json_origin() -> Iterator[str]:
    """Run an origin that responds to every request with the same 600 bytes of JSON; yield its URL."""
    port = free_port()
    with _nginx(NGINX_ORIGIN.format(port=port, json=JSON), port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def stream_origin() -> Iterator[str]:
    """Run the origin of streams and bodies; yield its URL."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.origin", str(port)], port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _nginx(server: str, port: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "nginx.conf").write_text(NGINX_CONF.format(server=server))
        with running(["nginx", "-p", folder, "-c", "nginx.conf"], port) as pid:
            yield pid


@contextmanager
def sidecar(origin: str, *options: str) -> Iterator[Way]:
    """Run the sidecar with its defaults; it receives no resumes here."""
    serve = ["-m", "ap_resume_shim", "serve", "--upstream", origin, "--backend", "agent-protocol"]
    with _python(SIDECAR, *serve, "--log-level", "warning", *options, "--port") as way:
        yield way


@contextmanager
def _python(name: str, *arguments: str) -> Iterator[Way]:
    """Run a proxy in Python whose last argument is its port."""
    port = free_port()
    with running([sys.executable, *arguments, str(port)], port) as pid:
        yield Way(name, f"http://127.0.0.1:{port}", (pid,))


@contextmanager
def nginx(origin: str, shim: Way | None = None) -> Iterator[Way]:
    """Run nginx without buffering, with persistent connections; it sends only resumes to `shim`, if there is one."""
    port = free_port()
    more = TO_THE_SHIM.format(shim=_netloc(shim.url)) if shim else ""
    with _nginx(NGINX_PROXY.format(port=port, origin=_netloc(origin), more=more), port) as pid:
        name, pids = (EDGE, (pid, *shim.pids)) if shim else (NGINX, (pid,))
        yield Way(name, f"http://127.0.0.1:{port}", pids)


@contextmanager
def edge(origin: str) -> Iterator[Way]:
    """Run nginx that sends resumes to a sidecar, and all other requests to the origin."""
    with sidecar(origin) as shim, nginx(origin, shim) as way:
        yield way


@contextmanager
def _configured(name: str, configuration: str, origin: str, *command: str) -> Iterator[Way]:
    """Run a proxy with a configuration file, which is the last argument of its command."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "configuration")
        file.write_text(configuration.format(port=port, origin=_netloc(origin)))
        home = {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder, "GOMAXPROCS": "1"}
        with running([*command, file], port, **home) as pid:
            yield Way(name, f"http://127.0.0.1:{port}", (pid,))


@contextmanager
def ways(origin: str, names: Sequence[str] = NAMES) -> Iterator[list[Way]]:
    """Run the named ways, one worker each."""
    caddy = "caddy", "run", "--adapter", "caddyfile", "--config"
    made = {
        DIRECT: lambda: _direct(origin),
        NGINX: lambda: nginx(origin),
        EDGE: lambda: edge(origin),
        HAPROXY: lambda: _configured(HAPROXY, HAPROXY_CONF, origin, "haproxy", "-db", "-q", "-f"),
        CADDY: lambda: _configured(CADDY, CADDY_CONF, origin, *caddy),
        SIDECAR: lambda: sidecar(origin),
        HTTPX: lambda: _python(HTTPX, "-m", "benchmarks.plain_httpx", origin),
    }
    with ExitStack() as started:
        yield [started.enter_context(made[name]()) for name in names]


@contextmanager
def _direct(origin: str) -> Iterator[Way]:
    yield Way(DIRECT, origin)


def _netloc(url: str) -> str:
    return url.removeprefix("http://")
