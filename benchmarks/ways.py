"""The ways to an origin: directly, or through a proxy in a process of its own."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.origin import JSON
from benchmarks.origin import NGINX as NGINX_ORIGIN
from tests.servers.process import Process, free_port
from tests.servers.run import script_environment

DIRECT, NGINX, SIDECAR = "no proxy", "nginx", "sidecar"
HTTPX, FASTAPI_PROXY_LIB, ASGI_PROXY_LIB = "plain httpx", "fastapi-proxy-lib", "asgi-proxy-lib"
NAMES = (DIRECT, NGINX, SIDECAR, HTTPX, FASTAPI_PROXY_LIB, ASGI_PROXY_LIB)

PEERS = Path(__file__).parent / "peers"
INSTALLATION = 600.0
"""Seconds until a process must listen; the first start of a peer also installs its packages."""

NGINX_CONF = """
daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    {server}
}}
"""
NGINX_PROXY = """
    upstream origin {{ server {netloc}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        keepalive_requests 1000000000;
        client_max_body_size 0;
        location / {{
            proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 1h;
        }}
    }}
"""


@dataclass(frozen=True)
class Way:
    """Where clients find it; `pid` is 0 where there is no proxy."""

    name: str
    url: str
    pid: int = 0


class _Child(Process):
    @property
    def pid(self) -> int:
        return self._child.pid


@contextmanager
def running(command: Sequence[str | Path], port: int) -> Iterator[int]:
    """A process that listens on a port, for as long as the context lasts; gives its id."""
    with tempfile.TemporaryDirectory() as folder:
        process = _Child(command, Path(folder, "log"), env=script_environment())
        try:
            process.wait_until(lambda: _listens(port), INSTALLATION)
            yield process.pid
        finally:
            process.stop()


def _listens(port: int) -> bool | None:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0 or None


@contextmanager
def json_origin() -> Iterator[str]:
    """Answers everything with the same 600 bytes of JSON."""
    port = free_port()
    with _nginx(NGINX_ORIGIN.format(port=port, json=JSON), port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def stream_origin() -> Iterator[str]:
    """Streams and bodies."""
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
    """The command line's sidecar, as it is by default; it makes no resumes here."""
    port = free_port()
    serve = [sys.executable, "-m", "ap_resume_shim", "serve", "--upstream", origin, "--port", str(port)]
    with running([*serve, "--backend", "agent-protocol", "--log-level", "warning", *options], port) as pid:
        yield Way(SIDECAR, f"http://127.0.0.1:{port}", pid)


@contextmanager
def nginx(origin: str) -> Iterator[Way]:
    """nginx, which buffers nothing and keeps its connections."""
    port = free_port()
    with _nginx(NGINX_PROXY.format(port=port, netloc=origin.removeprefix("http://")), port) as pid:
        yield Way(NGINX, f"http://127.0.0.1:{port}", pid)


@contextmanager
def peer(name: str, origin: str, *interpreter: str) -> Iterator[Way]:
    """A script of `peers`; by default it brings an environment of its own."""
    port = free_port()
    script = PEERS / f"serve_{name.replace('-', '_').replace(' ', '_')}.py"
    by_uv = ("uv", "run", "--quiet", "--no-project", "--script")
    with running([*(interpreter or by_uv), script, origin, str(port)], port) as pid:
        yield Way(name, f"http://127.0.0.1:{port}", pid)


@contextmanager
def ways(origin: str, names: Sequence[str] = NAMES) -> Iterator[list[Way]]:
    """Those that are named, one worker each."""
    made = {
        DIRECT: lambda: _direct(origin),
        NGINX: lambda: nginx(origin),
        SIDECAR: lambda: sidecar(origin),
        HTTPX: lambda: peer(HTTPX, origin, sys.executable),
        FASTAPI_PROXY_LIB: lambda: peer(FASTAPI_PROXY_LIB, origin),
        ASGI_PROXY_LIB: lambda: peer(ASGI_PROXY_LIB, origin),
    }
    with ExitStack() as started:
        yield [started.enter_context(made[name]()) for name in names]


@contextmanager
def _direct(origin: str) -> Iterator[Way]:
    yield Way(DIRECT, origin)
