"""The sidecar's life, in real processes: where it listens, TLS on both sides, and the end."""

from __future__ import annotations

import asyncio
import resource as limits
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim.sidecar.app import check
from ap_resume_shim.sidecar.settings_sources import read
from tests.support.agent import Agent, reply, resume
from tests.support.certificates import Authority, Pair
from tests.support.redis_server import need_redis, redis_server
from tests.support.serving import listening, serving
from tests.support.sidecar import COMMAND, Sidecar, sidecar
from tests.support.waiting import eventually

STOPS = [signal.SIGTERM, signal.SIGINT]
PATIENCE = 60.0


class Server:
    """A backend that streams: a beginning, and an end when the test says so."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.seen: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"begun, ", "more_body": True})
            while not self.go.is_set():
                await asyncio.sleep(0.01)
            await send({"type": "http.response.body", "body": b"and ended"})
        elif scope["type"] == "http":
            self.seen.append(scope)
            await reply(send, {"path": scope["path"]})
        else:
            await Agent()(scope, receive, send)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.go.set()


@contextmanager
def sidecar_of(server: Any, *options: str) -> Iterator[Sidecar]:
    with serving(server) as upstream, sidecar("--upstream", upstream, "--port", "0", *options) as shim:
        yield shim


@contextmanager
def streaming(shim: Sidecar) -> Iterator[Iterator[bytes]]:
    """A stream that has begun; what is left of it."""
    with (
        httpx.Client(timeout=PATIENCE, trust_env=False) as client,
        client.stream("GET", f"{shim.url}/stream") as answer,
    ):
        parts = answer.iter_raw()
        assert next(parts) == b"begun, "
        yield parts


def refused(url: str) -> bool:
    """Whether nobody takes new connections."""
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def get(url: str, **options: Any) -> httpx.Response:
    return httpx.get(url, timeout=PATIENCE, trust_env=False, **options)


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_told_to_stop_it_lets_streams_end_and_takes_no_new_connections(server: Server, stop: signal.Signals) -> None:
    with sidecar_of(server) as shim, streaming(shim) as rest:
        shim.process.send_signal(stop)
        eventually(lambda: refused(shim.url))
        assert shim.process.poll() is None
        server.go.set()
        assert b"".join(rest) == b"and ended"
        assert shim.process.wait(PATIENCE) == 0
        assert "Traceback" not in shim.log


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_a_signal_during_the_start_stops_it_in_the_same_way(tmp_path: Path, stop: signal.Signals) -> None:
    path = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as store:  # it accepts, and never responds
        store.settimeout(PATIENCE)
        guard = f"redis://127.0.0.1:{store.getsockname()[1]}"
        with sidecar("--upstream", "http://127.0.0.1:9", "--uds", str(path), "--guard", guard) as shim:
            with store.accept()[0]:
                shim.process.send_signal(stop)
                assert shim.process.wait(PATIENCE) == 0
            assert "Traceback" not in shim.log
            assert not path.exists()


LATE = f"""
import os
from ap_resume_shim.sidecar.cli import main

class Late:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        for stop in {list(map(int, STOPS))}:
            kill(pid, stop)

late = Late()
main()
"""


def test_a_signal_while_the_interpreter_exits_changes_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.sidecar.COMMAND", [sys.executable, "-c", LATE])
    with sidecar_of(server) as shim:
        shim.process.terminate()
        assert shim.process.wait(PATIENCE) == 0


def test_a_stream_that_does_not_end_in_time_is_cut_and_looks_broken(server: Server) -> None:
    with sidecar_of(server, "--timeout-graceful-shutdown", "0.5") as shim, streaming(shim) as rest:
        shim.process.terminate()
        with pytest.raises(httpx.RemoteProtocolError):
            b"".join(rest)
        assert shim.process.wait(PATIENCE) == 0
        assert "Traceback" not in shim.log


def test_told_twice_it_does_not_wait(server: Server) -> None:
    with sidecar_of(server, "--timeout-graceful-shutdown", "600") as shim, streaming(shim) as rest:
        shim.process.terminate()
        eventually(lambda: refused(shim.url))
        shim.process.terminate()
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            b"".join(rest)
        assert shim.process.wait(PATIENCE) == 0


def test_health_on_a_port_of_its_own_tells_that_the_end_is_near(server: Server) -> None:
    options = ("--backend", "langgraph", "--health-port", "0", "--no-guard-required")
    with sidecar_of(server, *options) as shim, streaming(shim) as rest:
        eventually(lambda: status(f"{shim.health}/readyz") == 200)
        assert get(f"{shim.health}/readyz").json() == {"status": "ready", "backend": "langgraph"}
        assert get(f"{shim.health}/other").status_code == 404
        assert get(f"{shim.url}/-/readyz").json() == {"path": "/-/readyz"}
        shim.process.terminate()
        eventually(lambda: status(f"{shim.health}/readyz") == 503)
        assert status(f"{shim.health}/healthz") == 200
        server.go.set()
        assert b"".join(rest) == b"and ended"
        assert shim.process.wait(PATIENCE) == 0


def status(url: str) -> int | None:
    try:
        return get(url).status_code
    except httpx.TransportError:
        return None


def test_health_is_on_the_port_of_clients_unless_it_is_moved_or_off(server: Server) -> None:
    with sidecar_of(server, "--backend", "langgraph") as shim:
        assert get(f"{shim.url}/-/healthz").json() == {"status": "ok"}
        assert get(f"{shim.url}/-/readyz").json() == {"status": "ready", "backend": "langgraph"}
        assert get(f"{shim.url}/-/more").json() == {"path": "/-/more"}
    with sidecar_of(server, "--reserved-prefix", "/_ours") as shim:
        assert get(f"{shim.url}/_ours/healthz").json() == {"status": "ok"}
        assert get(f"{shim.url}/-/healthz").json() == {"path": "/-/healthz"}
    with sidecar_of(server, "--reserved-prefix", "") as shim:
        for path in ("/-/healthz", "/healthz", "/readyz"):
            assert get(shim.url + path).json() == {"path": path}


def test_no_secret_is_in_the_command_line_or_in_the_log(server: Server) -> None:
    with serving(server) as upstream, sidecar(
        *("--upstream", upstream, "--port", "0", "--guard", "redis://:${SECRET}@127.0.0.1:9"), SECRET="swordfish"
    ) as shim:  # fmt: skip
        assert b"swordfish" not in Path(f"/proc/{shim.process.pid}/cmdline").read_bytes()
        assert "swordfish" not in shim.log


def test_sidecars_that_share_a_guard_forward_one_of_many() -> None:
    need_redis()
    with redis_server() as redis, serving(agent := Agent()) as upstream, ExitStack() as stack:
        options = ("--upstream", upstream, "--port", "0", "--backend", "agent-protocol", "--guard", redis.url)
        urls = [stack.enter_context(sidecar(*options)).url for _ in range(2)]
        pool = stack.enter_context(ThreadPoolExecutor(10))
        answers = [answer.status_code for answer in pool.map(lambda n: resume(urls[n % 2]), range(10))]
    assert sorted(answers) == [200] + [409] * 9
    assert len(agent.resumes) == 1


# Sockets.


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "shim.sock")


def by_socket(path: str) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://here", timeout=PATIENCE)


def test_it_listens_on_a_unix_socket_and_removes_it_in_the_end(server: Server, path: str) -> None:
    with sidecar_of(server, "--uds", path) as shim, by_socket(path) as client:
        assert shim.url == f"unix:{path}"
        assert client.get("/x").json() == {"path": "/x"}
        shim.process.terminate()
        assert shim.process.wait(PATIENCE) == 0
    assert not Path(path).exists()


def test_a_socket_that_a_dead_server_left_is_replaced(server: Server, path: str) -> None:
    with sidecar_of(server, "--uds", path) as shim:
        shim.process.kill()
        shim.process.wait(PATIENCE)
    assert Path(path).is_socket()
    with sidecar_of(server, "--uds", path), by_socket(path) as client:
        assert client.get("/x").json() == {"path": "/x"}


def run(*options: str) -> Any:
    """A sidecar that does not get to serve."""
    command = [*COMMAND, "serve", "--upstream", "http://127.0.0.1:9", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_a_socket_that_is_served_is_left_alone(server: Server, path: str) -> None:
    with sidecar_of(server, "--uds", path), by_socket(path) as client:
        ended = run("--uds", path)
        assert (ended.returncode, ended.stderr) == (
            1,
            f"ap-resume-shim: cannot listen on unix:{path}: Address already in use. Pass another --uds.\n",
        )
        assert client.get("/x").json() == {"path": "/x"}


def test_the_socket_of_a_successor_is_not_removed(server: Server, path: str) -> None:
    with sidecar_of(server, "--uds", path) as first, by_socket(path) as client:
        Path(path).unlink()
        with sidecar_of(server, "--uds", path):
            first.process.terminate()
            assert first.process.wait(PATIENCE) == 0
            assert client.get("/x").json() == {"path": "/x"}


def test_a_file_that_is_no_socket_is_left_alone(path: str) -> None:
    Path(path).write_text("precious")
    assert run("--uds", path).returncode == 1
    assert Path(path).read_text() == "precious"


def test_a_taken_health_port_ends_with_1() -> None:
    with listening() as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run("--port", "0", "--health-port", port)
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use. Pass another --health-port" in ended.stderr


def test_the_server_may_listen_on_a_unix_socket(server: Server, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
        with sidecar("--upstream", f"unix:{path}", "--port", "0") as shim:
            assert f"in front of unix:{path}" in shim.log and f"no connection to unix:{path} yet" in shim.log
            with serving(server, at=bound):
                eventually(lambda: status(f"{shim.url}/x") == 200)


def test_a_head_that_is_too_large_is_refused_and_a_larger_one_can_be_allowed(server: Server) -> None:
    headers = {"x-large": "x" * 70_000}
    with sidecar_of(server) as shim:
        assert get(f"{shim.url}/x", headers=headers).status_code == 431
    with sidecar_of(server, "--max-head", "100000") as shim:
        assert get(f"{shim.url}/x", headers=headers).status_code == 200


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Somebody else who signs."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.pair("server")


def ours(pair: Pair) -> tuple[str, ...]:
    return ("--ssl-certfile", str(pair.certificate), "--ssl-keyfile", str(pair.key))


def trusting(authority: Authority, shows: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if shows is not None:
        context.load_cert_chain(shows.certificate, shows.key)
    return context


def test_it_listens_with_tls(server: Server, authority: Authority, pair: Pair) -> None:
    with sidecar_of(server, *ours(pair), "--health-port", "0") as shim:
        assert shim.url.startswith("https://127.0.0.1:")
        assert get(f"{shim.url}/x", verify=trusting(authority)).json() == {"path": "/x"}
        assert get(f"{shim.health}/healthz").status_code == 200


@pytest.mark.parametrize("reqs", ["required", "optional"])
def test_clients_show_a_certificate_where_they_have_to(
    server: Server, authority: Authority, stranger: Authority, pair: Pair, reqs: str
) -> None:
    options = (*ours(pair), "--ssl-ca-certs", str(authority.certificate), "--ssl-cert-reqs", reqs)
    with sidecar_of(server, *options) as shim:
        url = f"{shim.url}/x"
        assert get(url, verify=trusting(authority, authority.pair("client"))).status_code == 200
        if reqs == "optional":
            assert get(url, verify=trusting(authority)).status_code == 200
        else:
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                get(url, verify=trusting(authority))
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            get(url, verify=trusting(authority, stranger.pair("nobody")))


def test_a_key_may_have_a_password(server: Server, authority: Authority) -> None:
    secret = authority.pair("secret", "swordfish")
    with serving(server) as upstream, sidecar(
        *("--upstream", upstream, "--port", "0", *ours(secret), "--ssl-keyfile-password", "${SECRET}"),
        SECRET="swordfish",
    ) as shim:  # fmt: skip
        assert get(f"{shim.url}/x", verify=trusting(authority)).status_code == 200


@pytest.mark.parametrize("transport", ["http1", "httpx"])
def test_the_server_is_trusted_by_its_authority(
    server: Server, authority: Authority, stranger: Authority, pair: Pair, transport: str
) -> None:
    with serving(server, ssl_certfile=pair.certificate, ssl_keyfile=pair.key) as url:
        https = url.replace("http:", "https:")
        for trusted, expected in ((authority, 200), (stranger, 502)):
            options = ("--upstream-ca", str(trusted.certificate), "--transport", transport)
            with sidecar("--upstream", https, "--port", "0", *options) as shim:
                assert get(f"{shim.url}/x").status_code == expected


@pytest.mark.parametrize("transport", ["http1", "httpx"])
def test_the_server_is_shown_a_certificate(server: Server, authority: Authority, pair: Pair, transport: str) -> None:
    options: dict[str, Any] = {"ssl_ca_certs": authority.certificate, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    client = authority.pair("client")
    shown = ("--upstream-cert", str(client.certificate), "--upstream-key", str(client.key))
    with serving(server, ssl_certfile=pair.certificate, ssl_keyfile=pair.key, **options) as url:
        common = ("--upstream", url.replace("http:", "https:"), "--upstream-ca", str(authority.certificate))
        for more, expected in ((shown, 200), ((), 502)):
            with sidecar(*common, "--port", "0", "--transport", transport, *more) as shim:
                assert get(f"{shim.url}/x").status_code == expected


def problems(*options: str) -> list[str]:
    return check(read(["--upstream", "https://127.0.0.1:9", *options]))


def test_certificates_that_cannot_be_used_are_told(authority: Authority, stranger: Authority, pair: Pair) -> None:
    other, secret = stranger.pair("other"), authority.pair("secret", "swordfish")
    cert, key = str(pair.certificate), str(pair.key)
    for options, says in {
        ("--ssl-certfile", cert, "--ssl-keyfile", str(other.key)): "as certificate and key: key values mismatch",
        ("--ssl-certfile", cert): f"{cert} cannot be used as certificate and key",
        ("--ssl-keyfile", key): "TLS needs a certificate: pass it with --ssl-certfile",
        ("--ssl-certfile", __file__, "--ssl-keyfile", key): "cannot be used as certificate and key",
        (*ours(pair), "--ssl-ca-certs", __file__): f"No trusted certificates can be read from {__file__}",
        ours(secret): "is encrypted, and no password was passed",
        (*ours(secret), "--ssl-keyfile-password", "guess"): "cannot be used as certificate and key",
        ("--upstream-cert", cert, "--upstream-key", str(other.key)): "key values mismatch",
        ("--upstream-key", key): "pass it with --upstream-cert",
        ("--upstream-ca", __file__): f"No trusted certificates can be read from {__file__}",
        ("--upstream", "http://127.0.0.1:9", "--upstream-ca", cert): "write it as https://host:port",
    }.items():
        (line,) = problems(*options)
        assert says in line and "guess" not in line
    assert problems(*ours(pair), "--upstream-cert", cert, "--upstream-key", key) == []


def test_it_may_open_as_many_files_as_there_can_be() -> None:
    few, most = limits.getrlimit(limits.RLIMIT_NOFILE)
    limits.setrlimit(limits.RLIMIT_NOFILE, (256, most))
    try:
        with sidecar("--upstream", "http://127.0.0.1:9", "--port", "0") as shim:
            assert limits.prlimit(shim.process.pid, limits.RLIMIT_NOFILE) == (most, most)
    finally:
        limits.setrlimit(limits.RLIMIT_NOFILE, (few, most))
