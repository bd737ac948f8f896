"""The clients' side of HTTP/1.1, as bytes on sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from contextvars import ContextVar
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ap_resume_shim.core.asgi import EARLY_HINT, TRAILERS
from ap_resume_shim.http1 import server_connection as wire
from ap_resume_shim.http1.server import Http1Server
from ap_resume_shim.http1.server_connection import Http1Protocol
from tests.support.serving import listening, serving
from tests.support.sockets import connect, read_head, talk, until_closed

GET = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"
IDLE = b"GET /idle HTTP/1.1\r\nhost: here\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"
START: Message = {"type": "http.response.start", "status": 200, "headers": []}


@pytest.fixture(params=["asyncio", "uvloop"])
def served(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[str]]:
    """Serve an app; options are those of the protocol."""

    def served(app: ASGIApp, *, timeout_keep_alive: float = 5, **options: Any) -> AbstractContextManager[str]:
        protocol = type("Protocol", (Http1Protocol,), options)
        return serving(app, http=protocol, loop=request.param, lifespan="off", timeout_keep_alive=timeout_keep_alive)

    return served


Served = Callable[..., AbstractContextManager[str]]


def body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def answering(*messages: Message) -> ASGIApp:
    """An app that sends this, whatever is asked."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The path and the body, once it is whole."""
    got, more = b"", True
    while more:
        message = await receive()
        got, more = got + message.get("body", b""), message.get("more_body", False)
    answer = scope["raw_path"] + b"=" + got
    await send({**START, "headers": [(b"content-length", b"%d" % len(answer))]})
    await send(body(answer))


def post(*parts: bytes, path: bytes = b"/") -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"POST %b HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % (path, chunks)


def bodies(answers: bytes) -> list[bytes]:
    """What came after each head, up to the next."""
    return [part.split(b"\r\n\r\n", 1)[1] for part in answers.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("method", [b"X", b"POST", b"REPORT-ALL"])
def test_the_body_behind_a_wish_for_an_upgrade_is_whole_whatever_the_method(served: Served, method: bytes) -> None:
    head = b" /1 HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: echo\r\ncontent-length: 5\r\n\r\n"
    with served(echo) as url:
        got = talk(url, method + head + b"hello" + LAST)
    assert bodies(got) == [b"/1=hello", b"/last="]


def test_requests_on_one_connection_are_answered_in_order(served: Served) -> None:
    with served(echo) as url:
        got = talk(url, post(b"a", b"b", path=b"/1") + GET + post(b"x" * 200_000, path=b"/3") + LAST)
    assert bodies(got) == [b"/1=ab", b"/=", b"/3=" + b"x" * 200_000, b"/last="]


def test_a_head_may_come_byte_by_byte(served: Served) -> None:
    with served(echo) as url, connect(url) as client:
        for byte in LAST:
            client.sendall(bytes([byte]))
        assert client.makefile("rb").read().endswith(b"/last=")


def test_the_first_version_of_http_gets_no_chunks_and_no_second_request(served: Served) -> None:
    with served(answering(START, body(b"a", more=True), body(b"b"))) as url:
        got = talk(url, b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" + GET)
    assert got == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nab"


def test_a_body_of_unknown_length_goes_in_chunks(served: Served) -> None:
    with served(answering(START, body(b"a", more=True), body(b"", more=True), body(b"bc"))) as url:
        got = talk(url, LAST)
    head, _, rest = got.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert rest == b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"


def test_a_head_does_not_wait_for_its_body(served: Served) -> None:
    more = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await asyncio.to_thread(more.wait, 5)
        await send(body(b"late"))

    with served(app) as url, connect(url) as client:
        client.sendall(LAST)
        assert read_head(client).startswith(b"HTTP/1.1 200 OK")
        more.set()
        assert client.makefile("rb").read() == b"4\r\nlate\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [(b"HEAD", 200, b"5"), (b"GET", 204, None), (b"GET", 304, b"5"), (b"HEAD", 200, None)],
)
def test_an_answer_without_a_body_has_none(served: Served, method: bytes, status: int, length: bytes | None) -> None:
    headers = [(b"content-length", length)] if length else []
    with served(answering({**START, "status": status, "headers": headers}, body(b"never"))) as url:
        got = talk(url, LAST.replace(b"GET", method))
    assert got.endswith(b"\r\n\r\n")
    assert (b"content-length: 5" in got, b"transfer-encoding" in got) == (length is not None, False)


def test_the_client_is_told_to_go_on_when_its_body_is_wanted(served: Served) -> None:
    with served(echo) as url, connect(url) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert read_head(client) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ok")
        assert read_head(client).startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_was_not_told_to_go_on_is_answered_and_the_connection_closed(served: Served) -> None:
    with served(answering({**START, "status": 417}, body(b"no"))) as url:
        request = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        got = talk(url, request)
    assert got.startswith(b"HTTP/1.1 417 ")
    assert b"connection: close" in got
    assert b"100 Continue" not in got


def test_hints_and_trailers_are_sent_where_they_belong(served: Served) -> None:
    start = {**START, "trailers": True}
    hint = {"type": EARLY_HINT, "links": [b"</a>", b"</b>"]}
    trailers = {"type": TRAILERS, "headers": [(b"x-sum", b"1")], "more_trailers": False}
    with served(answering(hint, start, body(b"a"), trailers)) as url:
        got = talk(url, LAST)
    first, _, rest = got.partition(b"\r\n\r\n")
    assert first == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>"
    assert rest.endswith(b"\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n")


@pytest.mark.parametrize(
    ("asked", "start"),
    [
        (LAST, {"headers": [(b"content-length", b"1")]}),
        (LAST.replace(b"GET", b"HEAD"), {}),
        (LAST, {"status": 204}),
        (b"GET / HTTP/1.0\r\n\r\n", {}),
    ],
    ids=["a length", "HEAD", "204", "HTTP/1.0"],
)
def test_trailers_are_dropped_where_an_answer_has_no_chunks(
    served: Served, caplog: pytest.LogCaptureFixture, asked: bytes, start: Message
) -> None:
    ended = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answering(
            {**START, **start, "trailers": True},
            body(b"a"),
            {"type": TRAILERS, "headers": [(b"x-sum", b"1")], "more_trailers": False},
        )(scope, receive, send)
        ended.set()

    with served(app) as url:
        got = talk(url, asked)
        assert ended.wait(5), caplog.text
    assert got.startswith(b"HTTP/1.1 20")
    assert b"x-sum" not in got
    assert not caplog.records


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("It went wrong.")


def test_an_app_that_fails_before_its_answer_is_a_500(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with served(fails) as url:
        got = talk(url, GET)
    assert got.startswith(b"HTTP/1.1 500 ")
    assert "It went wrong." in caplog.text


LENGTH = {**START, "headers": [(b"content-length", b"5")]}


@pytest.mark.parametrize(
    ("messages", "whole"),
    [
        ([START, body(b"part", more=True)], b"0\r\n\r\n"),
        ([LENGTH, body(b"part")], b"part5"),
        ([LENGTH, body(b"more than five")], b"more"),
        ([{**START, "headers": [(b"x", b"a\r\nb: c")]}, body()], b"b: c"),
    ],
    ids=["unfinished", "short", "long", "split"],
)
def test_an_answer_that_is_not_whole_looks_broken(served: Served, messages: list[Message], whole: bytes) -> None:
    with served(answering(*messages)) as url:
        got = talk(url, GET)
    assert whole not in got


def test_an_answer_that_ends_with_its_connection_is_reset_when_it_breaks(served: Served) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"part", more=True))
        await asyncio.sleep(0.2)
        raise RuntimeError

    with served(app) as url, connect(url) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while client.recv(1000):
                pass


def test_an_app_is_told_that_the_client_has_left(served: Served) -> None:
    told = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    with served(app) as url:
        with connect(url) as client:
            client.sendall(GET)
            read_head(client)
        assert told.wait(5)


def test_an_app_that_sends_to_a_client_that_has_left_gets_an_error(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(START)
            while True:
                await send(body(b"on", more=True))
                await asyncio.sleep(0.01)
        except OSError:
            failed.set()
            raise

    with served(app) as url:
        with connect(url) as client:
            client.sendall(GET)
            read_head(client)
        assert failed.wait(5)
    assert not caplog.records


def test_a_body_that_was_not_asked_for_is_not_waited_for(served: Served) -> None:
    """Who listens for the client's leaving asks for no body once the answer has begun."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        with suppress(TimeoutError):
            await asyncio.wait_for(receive(), 2.5)
        await send(body(b"late"))

    with served(app, io_timeout=0.1) as url:
        got = talk(url, b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
    assert b"100 Continue" not in got
    assert got.endswith(b"\r\n\r\n4\r\nlate\r\n0\r\n\r\n")


UPGRADE = b"GET /idle HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


@pytest.mark.parametrize(
    "asked",
    [
        IDLE + GET,
        GET * (17) + IDLE,
        post(b"x" * 200_000, path=b"/idle"),
        UPGRADE,
        UPGRADE + b"in another protocol",
    ],
    ids=["followed", "the last of many", "a body", "an upgrade", "and what comes after it"],
)
def test_an_app_is_told_that_a_client_has_left_who_had_sent_more_than_the_request(served: Served, asked: bytes) -> None:
    begun, told = threading.Event(), threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/idle":
            await echo(scope, receive, send)
            return
        begun.set()
        time.sleep(0.5)  # so that much of a body comes at once
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    with served(app) as url:
        with connect(url) as client:
            client.sendall(asked)
            assert begun.wait(5)
        assert told.wait(5)


def test_a_body_that_the_app_does_not_take_is_no_concern_of_the_client(served: Served) -> None:
    begun = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        asyncio.get_running_loop().call_soon(time.sleep, 0.5)  # so that much of the body comes at once
        await receive()
        await asyncio.sleep(3.5)
        await echo(scope, receive, send)

    head, end, chunk = post(b"x" * 1_000_000).partition(b"\r\n\r\n")
    with served(app, io_timeout=1) as url, connect(url) as client:
        client.sendall(head + end)
        assert begun.wait(5)
        client.sendall(chunk)
        assert read_head(client).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("at", [b"/", b"/?", b"/\r\nx: y"], ids=["target", "query", "field"])
def test_a_head_that_is_too_large_is_refused(served: Served, at: bytes) -> None:
    head = (
        GET.replace(b"/ ", b"/" + b"x" * 3000 + b" ") if at == b"/" else GET[:-2] + b"x: " + b"y" * 3000 + b"\r\n\r\n"
    )
    with served(echo, max_head=2000) as url:
        assert talk(url, head).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("endless", [b"GET /", b"GET / HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\n"])
def test_a_head_that_does_not_end_is_refused(served: Served, endless: bytes) -> None:
    filler = b"x: y\r\n" if endless.endswith(b"\n") else b"xxxx"
    with served(echo, max_head=2000) as url, connect(url) as client:
        client.sendall(endless)
        for _ in range(40):
            try:
                client.sendall(filler * 1000)
            except OSError:
                break
        assert client.recv(100).startswith(b"HTTP/1.1 431 ")


def test_trailers_that_do_not_end_are_refused(served: Served) -> None:
    with served(echo, max_head=2000) as url, connect(url) as client:
        client.sendall(post(b"a")[:-2] + b"x: ")
        for _ in range(20):
            try:
                client.sendall(b"y" * 1000)
            except OSError:
                break
        assert client.recv(100).startswith(b"HTTP/1.1 431 ")


def test_a_head_that_does_not_come_is_refused_in_time(served: Served) -> None:
    with served(echo, head_timeout=0.1) as url:
        assert talk(url, GET[:10]).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_says_nothing_is_left_in_time(served: Served) -> None:
    with served(echo, head_timeout=0.1) as url:
        assert talk(url, b"") == b""


def test_a_body_that_does_not_come_ends_the_request_in_time(served: Served) -> None:
    with served(echo, io_timeout=0.1) as url:
        assert talk(url, post(b"a")[:-5]) == b""


def test_a_client_that_does_not_read_is_left_in_time(served: Served) -> None:
    ended = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(START)
            for _ in range(10_000):
                await send(body(b"x" * 10_000, more=True))
        finally:
            ended.set()

    with served(app, io_timeout=0.1) as url, connect(url) as client:
        client.sendall(GET)
        assert ended.wait(10)
        assert until_closed(client)


@pytest.mark.parametrize("asked", [GET, LAST], ids=["kept", "closed"])
def test_a_client_that_does_not_read_the_end_of_its_answer_is_left_in_time(served: Served, asked: bytes) -> None:
    left = threading.Event()

    def connection_lost(self: Http1Protocol, error: Exception | None) -> None:
        Http1Protocol.connection_lost(self, error)
        left.set()

    options = {"io_timeout": 0.1, "timeout_keep_alive": 0.1, "connection_lost": connection_lost}
    with served(answering(START, body(b"x" * 20_000_000)), **options) as url, connect(url) as client:
        client.sendall(asked)
        assert left.wait(20)


def test_an_idle_connection_is_closed_in_time(served: Served) -> None:
    with served(echo, timeout_keep_alive=0.1) as url:
        assert bodies(talk(url, GET)) == [b"/="]


def test_what_is_no_request_is_answered_after_what_came_before_it(served: Served) -> None:
    with served(echo) as url:
        got = talk(url, GET + b"nonsense\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: here\r\n\r\n")
    assert bodies(got)[0] == b"/="
    assert b"smuggled" not in got


def test_a_body_that_cannot_be_read_ends_its_request(served: Served) -> None:
    told: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not told or told[-1].get("more_body"):
            told.append(await receive())

    with served(app) as url:
        got = talk(url, post(b"a").replace(b"0\r\n\r\n", b"nonsense"))
    assert got.startswith(b"HTTP/1.1 400 ")
    assert told[-1]["type"] == "http.disconnect"


def test_what_comes_after_the_last_request_is_nobodys(served: Served) -> None:
    with served(echo) as url:
        assert bodies(talk(url, LAST + GET)) == [b"/last="]


def test_the_rest_of_a_body_that_nobody_wanted_is_not_the_next_request(served: Served) -> None:
    inner = b"GET /smuggled HTTP/1.1\r\nhost: here\r\n\r\n"
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["raw_path"])
        await send(LENGTH)
        await send(body(b"enough"[:5]))

    with served(app) as url, connect(url) as client:
        client.sendall(b"POST /first HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n" % len(inner))
        read_head(client)
        client.recv(5)
        client.sendall(inner + LAST)
        client.makefile("rb").read()
    assert seen == [b"/first", b"/last"]


def test_a_client_that_sends_on_after_its_answer_is_left_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LINGER", 0.1)
    with served(answering(LENGTH, body(b"12345"))) as url, connect(url) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 1000\r\n\r\n")
        read_head(client)
        assert until_closed(client)


def test_a_server_that_stops_closes_idle_connections_and_ends_what_is_under_way(served: Served) -> None:
    begun, more = threading.Event(), threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.to_thread(more.wait, 5)
        await send(LENGTH)
        await send(body(b"whole"))

    with ExitStack() as clients:
        with served(app) as url:
            idle, busy = (clients.enter_context(connect(url)) for _ in range(2))
            busy.sendall(GET)
            begun.wait(5)
            threading.Timer(0.3, more.set).start()
        assert until_closed(idle)
        assert busy.makefile("rb").read().endswith(b"connection: close\r\n\r\nwhole")


@pytest.mark.anyio
@pytest.mark.parametrize("steps", [0, 2, 3, 4, 5])  # at 1, asyncio itself loses the connection before Python 3.12.8
async def test_a_connection_that_is_being_accepted_does_not_hold_up_a_server_that_stops(steps: int) -> None:
    """`steps` of the event loop after the client has connected. Another request is in progress meanwhile."""
    begun, more = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await more.wait()

    server = Http1Server(app)
    await server.start([listener := listening()])
    with socket.socket() as busy, socket.socket() as late:
        busy.connect(listener.getsockname())
        busy.sendall(GET)
        await begun.wait()
        late.connect(listener.getsockname())
        for _ in range(steps):
            await asyncio.sleep(0)
        closing = asyncio.create_task(server.close())
        await asyncio.sleep(0.1)
        more.set()
        async with asyncio.timeout(5):
            await closing


REQUEST: ContextVar[str] = ContextVar("REQUEST")


@pytest.mark.parametrize("size", [0, 300_000], ids=["pipelined", "after reading was paused and resumed"])
def test_a_request_does_not_inherit_the_context_of_the_one_before_it(served: Served, size: int) -> None:
    """Else a span that is current in one request would become the parent of the next one's."""
    inherited: list[str | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        inherited.append(REQUEST.get(None))
        REQUEST.set(scope["path"])
        await asyncio.sleep(0.05)
        await echo(scope, receive, send)

    with served(app) as url, connect(url) as client:
        client.sendall(post(b"x" * size, path=b"/first") if size else GET + GET)
        read_head(client)
        client.sendall(LAST)
        until_closed(client)
    assert inherited == [None] * (2 if size else 3)
