"""A proxy whose requests come back to it: they are answered with 508, after few connections."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.http1.server_connection import Http1Protocol
from ap_resume_shim.proxy.forwarded import LoopDetected
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.proxy.loop_detection import LOOP_MARKER, SPACING, LoopDetector
from ap_resume_shim.sidecar.app import check
from ap_resume_shim.sidecar.settings_sources import read
from tests.support.agent import PROTOCOL, Agent, resume
from tests.support.calling import CLIENT
from tests.support.serving import listening, serving
from tests.support.sockets import connect, read_head, upstream


class Counted:
    """An app, and how many requests it got."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.requests = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += scope["type"] in ("http", "websocket")
        await self.app(scope, receive, send)


@pytest.fixture(params=[HttpxTransport, Http1Transport], ids=["httpx", "wire"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Of the proxies."""
    return {"transport": request.param}


@pytest.fixture(params=[1, 2, 3], ids=lambda length: f"round of {length}")
def first(request: pytest.FixtureRequest, options: dict[str, Any]) -> Iterator[tuple[str, Counted]]:
    """The address of the first of several sidecars in a round, each of which is the next one's client."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(listening()) for _ in range(request.param)]
        urls = [f"http://127.0.0.1:{bound.getsockname()[1]}" for bound in sockets]
        apps = [Counted(ResumeShim(ReverseProxy(url, **options), PROTOCOL)) for url in [*urls[1:], urls[0]]]
        for bound in sockets:
            bound.listen()
        for app, bound in zip(apps, sockets, strict=True):
            stack.enter_context(serving(app, at=bound, http=Http1Protocol))
        yield urls[0], apps[0]


def test_a_resume_in_a_round_says_so_after_a_few_requests(first: tuple[str, Counted]) -> None:
    url, app = first
    answer = resume(url)
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_error")
    assert "has come through this proxy before" in answer.json()["message"]
    assert app.requests <= 4, "the resume, and each lookup as it comes back"


def test_a_passed_request_in_a_round_ends_before_there_are_many(first: tuple[str, Counted]) -> None:
    url, app = first
    answer = CLIENT.get(f"{url}/threads")
    assert (answer.status_code, "has come through this proxy before" in answer.text) == (508, True)
    assert app.requests <= SPACING + 2
    assert CLIENT.get(f"{url}/threads").status_code == 508, "again, for the next one"


WISH = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
KEY = b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"


@pytest.mark.parametrize("protocol", ["ours", "uvicorn's"])
def test_a_websocket_in_a_round_ends_before_there_are_many(protocol: str) -> None:
    with listening() as bound:
        bound.listen()
        app = Counted(ReverseProxy(f"http://127.0.0.1:{bound.getsockname()[1]}", transport=Http1Transport))
        options: dict[str, Any] = {"http": Http1Protocol} if protocol == "ours" else {}
        with serving(app, at=bound, **options) as url, connect(url) as client:
            client.sendall(WISH + KEY)
            assert b" 508 " in read_head(client)
    assert app.requests <= SPACING + 2


def test_the_shims_own_requests_carry_the_field_and_those_that_pass_do_not(options: dict[str, Any]) -> None:
    with serving(agent := Agent()) as behind, serving(ResumeShim(ReverseProxy(behind, **options), PROTOCOL)) as url:
        CLIENT.get(f"{url}/threads/t")
        resume(url)
    passed, *own = agent.seen
    assert LOOP_MARKER not in passed.names
    assert own
    assert all(LOOP_MARKER in seen.names for seen in own)


def test_a_request_of_another_shim_goes_on_with_both_names() -> None:
    with upstream() as behind, serving(ReverseProxy(behind.url)) as url:
        CLIENT.get(url, headers=[(LOOP_MARKER.decode(), "another"), (LOOP_MARKER.decode(), "third")])
    (line,) = [line for line in behind.lines if line.startswith(LOOP_MARKER)]
    assert line.startswith(LOOP_MARKER + b": another, third, ")


def test_of_many_requests_under_way_few_carry_the_field() -> None:
    detector = LoopDetector()

    def begin() -> bool:
        mark = bool(detector.mark([], None, own=False))
        detector.in_flight += 1
        return mark

    assert [n for n in range(200) if begin()] == [64, 128, 192]
    detector.in_flight -= 150
    assert [n for n in range(50, 150) if begin()] == [114]
    for _ in range(30):
        detector.in_flight -= 1
        assert not begin(), "their number grew by nothing"


def test_its_own_name_is_recognised_among_others() -> None:
    detector = LoopDetector()
    ((_, name),) = detector.mark([], None, own=True)
    with pytest.raises(LoopDetected, match="this proxy before"):
        detector.mark([], b"another, " + name + b", third", own=False)


def problems(*options: str) -> list[str]:
    return check(read(list(options)))


ADDRESSES = ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "LOCALHOST", "127.1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_an_upstream_that_is_the_sidecar_is_refused_at_start(host: str, address: str) -> None:
    (problem,) = problems("--upstream", f"http://{address}:8063/base", "--host", host)
    assert problem == (
        f"The upstream http://{address}:8063/base is the sidecar itself, which listens on {host}:8063: "
        "pass the server's address as --upstream, or another --port."
    )


def test_so_is_one_by_any_of_the_machines_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = {"this.example": "127.0.5.5", "elsewhere.example": "192.0.2.7", "0.0.0.0": "0.0.0.0"}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: [(0, 0, 0, "", (resolved[host], 0))])
    assert problems("--upstream", "http://this.example:8063", "--host", "0.0.0.0")
    assert not problems("--upstream", "http://elsewhere.example:8063", "--host", "0.0.0.0")


@pytest.mark.parametrize(
    "options",
    [
        ("http://127.0.0.1:8064",),
        ("http://127.0.0.2:8063",),
        ("http://nobody.invalid:8063",),
        ("http://192.0.2.7:8063", "--host", "0.0.0.0"),
        ("http://127.0.0.1:8063", "--uds", "/nowhere/s"),
        ("unix:/nowhere/s",),
        ("unix:/nowhere/s", "--uds", "/nowhere/t"),
        ("http://127.0.0.1:8063", "--port", "0"),
    ],
    ids=" ".join,
)
def test_any_other_upstream_is_none_of_its_own(options: tuple[str, ...]) -> None:
    assert problems("--upstream", *options) == []


def test_its_unix_socket_and_its_health_port_are_the_sidecar_too(tmp_path: Path) -> None:
    (link := tmp_path / "link").symlink_to(tmp_path)
    (problem,) = problems("--upstream", f"unix:{link}/s", "--uds", str(tmp_path / "s"))
    assert "is the sidecar itself" in problem
    assert problem.endswith("or another --uds.")
    (problem,) = problems("--upstream", "http://127.0.0.1:8070", "--health-port", "8070")
    assert problem.endswith("or another --health-port.")
