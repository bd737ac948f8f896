"""What Windows and macOS do not have, or do in another way: played on the system at hand."""

from __future__ import annotations

import resource
import socket
import subprocess
from pathlib import Path

import pytest

from ap_resume_shim.sidecar import sockets
from ap_resume_shim.sidecar.server import _allow_many_files
from tests.support.sidecar import COMMAND, sidecar
from tests.support.sockets import connect, upstream

LACKING = """
import select, socket, sys
pair, kind = socket.socketpair, socket.AF_UNIX
socket.socketpair = lambda *_: pair(kind)  # asyncio needs some
del socket.AF_UNIX, select.poll, select.POLLRDHUP
sys.modules["uvloop"] = sys.modules["resource"] = None
"""
"""Run when Python starts: what it has not on Windows."""
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def windows(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that finds itself on a system that lacks as much as Windows."""
    (tmp_path / "sitecustomize.py").write_text(LACKING)
    return {"PYTHONPATH": str(tmp_path)}


def test_without_unix_sockets_a_broken_answer_of_the_first_http_is_reset(windows: dict[str, str]) -> None:
    half = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    with (
        upstream(half) as behind,
        sidecar("--upstream", behind.url, "--port", "0", "--backend", "native", **windows) as shim,
        connect(shim.url) as client,
    ):
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while client.recv(1000):
                pass


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--upstream", NOBODY, "--uds", "/shim.sock"), "use --host and --port in place of --uds"),
        (("--upstream", "unix:/run/agents.sock"), "write it as http://host:port"),
        (("--upstream", NOBODY, "--uds", "/shim.sock", "--check"), "use --host and --port in place of --uds"),
    ],
)
def test_without_unix_sockets_settings_that_need_them_are_refused(
    windows: dict[str, str], options: tuple[str, ...], says: str
) -> None:
    ended = subprocess.run(
        [*COMMAND, "serve", *options], env=windows, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "Unix socket" in ended.stderr and says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_where_an_address_can_be_shared_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows, SO_REUSEADDR lets a second process take a port that is in use."""
    alone = socket.SO_KEEPALIVE
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", alone, raising=False)
    with sockets.listen_tcp("127.0.0.1", 0) as listening:
        assert listening.getsockopt(socket.SOL_SOCKET, alone) == 1
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0


@pytest.mark.parametrize(("soft", "allowed"), [(256, 10_240), (20_000, 20_000)])
def test_as_many_files_as_macos_allows(monkeypatch: pytest.MonkeyPatch, soft: int, allowed: int) -> None:
    """It says that there is no limit, and takes none above OPEN_MAX."""
    limits = [(soft, resource.RLIM_INFINITY)]

    def setrlimit(_: int, wanted: tuple[int, int]) -> None:
        if not 0 <= wanted[0] <= 10_240:
            raise ValueError("current limit exceeds maximum limit")
        limits.append(wanted)

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    _allow_many_files()
    assert limits[-1] == (allowed, resource.RLIM_INFINITY)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", ["backends", "explain"])
def test_what_an_output_cannot_write_is_escaped(command: str, encoding: str) -> None:
    argv = {"backends": ["adk"], "explain": ["--backend", "agent-protocol"]}[command]
    ended = subprocess.run(
        [*COMMAND, command, *argv],
        input='{"thread_id": "t", "input": "日本 {…}"}'.encode(),
        env={"PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, b"Traceback" in ended.stderr) == (0, False), ended.stderr
    assert "…".encode(encoding, "backslashreplace") in ended.stdout
    assert command == "backends" or rb"\u65e5\u672c" in ended.stdout
