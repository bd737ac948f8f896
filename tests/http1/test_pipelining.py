"""Requests that come before the answer of the one before them: how much of them is read, and when they are dropped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim.http1.head import build_scope
from ap_resume_shim.http1.request_response_cycle import RequestResponseCycle
from tests.http1.test_server import GET, IDLE, LAST, START, bodies, body, echo, post, served
from tests.support.sockets import connect, talk

__all__ = ["served"]

Served = Callable[..., AbstractContextManager[str]]
MUCH = 100_000
"""Bytes, more than are read ahead. The kernel has to hold the rest: the end of the connection comes behind it."""


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The targets of all heads that were made a request."""
    targets: list[bytes] = []

    def seen(method: bytes, target: bytes, *rest: object, **options: object) -> dict[str, object]:
        targets.append(target)
        return build_scope(method, target, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("ap_resume_shim.http1.server_connection.build_scope", seen)
    return targets


class Hanging:
    """An app whose answer to `/idle` does not come before it is released."""

    def __init__(self) -> None:
        self.begun, self.noticed, self.release, self.over = (threading.Event() for _ in range(4))
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        if scope["path"] == "/unread":
            await self._wait()
        if scope["path"] != "/idle":
            await echo(scope, receive, send)
            return
        leaving = asyncio.create_task(self._listen(receive))
        await self._wait()
        leaving.cancel()
        try:
            await send({**START, "headers": [(b"content-length", b"4")]})
            await send(body(b"late"))
        finally:
            self.over.set()

    async def _wait(self) -> None:
        self.begun.set()
        while not self.release.is_set():
            await asyncio.sleep(0.01)

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.noticed.set()


@pytest.mark.parametrize("size", [1000, MUCH])
def test_requests_behind_one_without_its_answer_are_not_parsed(served: Served, parsed: list[bytes], size: int) -> None:
    app = Hanging()
    with served(app) as url, connect(url) as client:
        client.sendall(IDLE + GET * (size // len(GET)) + LAST)
        assert app.begun.wait(5)
        talk(url, b"GET /meanwhile HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        assert parsed == [b"/idle", b"/meanwhile"]
        app.release.set()
        got = client.makefile("rb").read()
    assert bodies(got) == [b"late", *[b"/="] * (size // len(GET)), b"/last="]


@pytest.mark.parametrize("size", [1000, MUCH])
def test_requests_of_a_client_that_has_left_are_not_begun(served: Served, size: int) -> None:
    app = Hanging()
    with served(app) as url:
        with connect(url) as client:
            client.sendall(IDLE + GET * (size // len(GET)))
            assert app.begun.wait(5)
        app.release.set()
        assert app.over.wait(5)
        talk(url, LAST)
    assert app.asked == ["/idle", "/last"]


@pytest.mark.parametrize("more", [GET * (MUCH // len(GET)), post(b"x" * MUCH)], ids=["requests", "a body"])
def test_a_client_that_has_left_is_noticed_although_nothing_is_read(served: Served, more: bytes) -> None:
    app = Hanging()
    with served(app) as url:
        with connect(url) as client:
            client.sendall(IDLE + more)
            assert app.begun.wait(5)
        assert app.noticed.wait(5)


def test_a_body_in_tiny_chunks_takes_no_more_memory_than_its_bytes_would(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[int] = []
    on_body = RequestResponseCycle.on_body

    def counted(self: RequestResponseCycle, data: bytes) -> None:
        parts.append(len(data))
        on_body(self, data)

    monkeypatch.setattr(RequestResponseCycle, "on_body", counted)
    app = Hanging()
    with served(app) as url, connect(url) as client:
        client.sendall(post(*[b"xx"] * 60_000, path=b"/unread") + LAST)
        assert app.begun.wait(5)
        talk(url, b"GET /meanwhile HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        assert len(parts) < 15_000
        app.release.set()
        got = client.makefile("rb").read()
    assert bodies(got) == [b"/unread=" + b"xx" * 60_000, b"/last="]


def test_requests_in_any_pieces_are_answered_in_order(served: Served) -> None:
    """Ends of heads and of chunks that are split over two reads are found."""
    asked = post(b"a\r\n\r\nb", path=b"/1") + GET + post(b"c", path=b"/2")[:-2] + b"x: y\r\n\r\n" + LAST
    for size in (1, 2, 3, 5, 7, len(asked)):
        with served(echo) as url, connect(url) as client:
            for at in range(0, len(asked), size):
                client.sendall(asked[at : at + size])
            got = client.makefile("rb").read()
        assert bodies(got) == [b"/1=a\r\n\r\nb", b"/=", b"/2=c", b"/last="], size
