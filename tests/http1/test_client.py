"""The client's side of HTTP/1.1, against servers that are scripts on sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from ap_resume_shim.core.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from ap_resume_shim.http1 import client
from ap_resume_shim.http1.response_parser import MAX_HEAD
from ap_resume_shim.http1.upstream_exchange import READ_AHEAD
from ap_resume_shim.proxy.transport import ClientDisconnected
from tests.http1.driving import KEPT, Parts, again, ask, request, transport, whole
from tests.support.certificates import Authority
from tests.support.sockets import OK, read_head, until_closed, upstream

pytestmark = pytest.mark.anyio


async def test_fields_go_out_as_they_are_and_come_back_in_order() -> None:
    answer = b"HTTP/1.1 207 Odd\r\nSet-Cookie: a\r\nX-B:  \xe9 \r\nset-cookie: b\r\ncontent-length: 0\r\n\r\n"
    with upstream(answer) as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request(headers=[(b"X-Raw", b"\xff"), (b"x-raw", b"2")]))
            await exchange.head()
            exchange.close()
    assert behind.lines == [b"GET / HTTP/1.1", b"host: there", b"X-Raw: \xff", b"x-raw: 2"]
    assert exchange.status == 207
    cookies = [(b"set-cookie", b"a"), (b"x-b", b"\xe9"), (b"set-cookie", b"b")]
    assert exchange.headers == [*cookies, (b"content-length", b"0")]


async def test_a_connection_is_kept_for_the_next_request() -> None:
    with upstream(again) as behind:
        async with transport(behind.url) as through:
            assert [await ask(through) for _ in range(3)] == [(200, b"ok")] * 3
    assert len(behind.heads) == 1, "later heads came on the same connection"


async def test_a_connection_is_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "IDLE", 0.05)
    ended = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.sendall(KEPT)
        if until_closed(connection):
            ended.set()

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            await ask(through)
            assert await anyio.to_thread.run_sync(ended.wait, 5)


async def test_a_kept_connection_that_was_closed_is_found_out_before_it_is_used() -> None:
    with upstream(KEPT) as behind:  # and then the connection is closed
        async with transport(behind.url) as through:
            for _ in range(2):
                await ask(through)
                await anyio.sleep(0.1)
    assert len(behind.heads) == 2


def closing_late(connection: socket.socket) -> None:
    """Answer, and close when the next request comes, as a server whose time for idle connections is over."""
    connection.sendall(KEPT)
    read_head(connection)


async def test_a_safe_request_is_sent_again_where_a_kept_connection_was_being_closed() -> None:
    with upstream(closing_late) as behind:
        async with transport(behind.url) as through:
            assert [await ask(through) for _ in range(2)] == [(200, b"ok")] * 2
    assert len(behind.heads) == 2


async def test_nothing_else_is_ever_sent_twice() -> None:
    with upstream(closing_late) as behind:
        async with transport(behind.url) as through:
            await ask(through)
            with pytest.raises(UpstreamError, match="broke off"):
                await ask(through, request("POST"))
    assert len(behind.heads) == 1


async def test_an_answer_that_had_begun_is_not_asked_for_again() -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(KEPT)
        read_head(connection)
        connection.sendall(b"HTTP/1.1 2")

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            await ask(through)
            with pytest.raises(UpstreamError, match="broke off"):
                await ask(through)
    assert len(behind.heads) == 1


async def test_the_fence_is_asked_when_the_connection_is_there_and_nothing_was_sent() -> None:
    class Fallen(Exception):
        pass

    def fence() -> None:
        assert through._open, "a connection is there"
        raise Fallen

    with upstream(again) as behind:
        async with transport(behind.url) as through:
            with pytest.raises(Fallen):
                await ask(through, request("POST", fence=fence))
            assert await ask(through) == (200, b"ok")
    assert [head[:4] for head in behind.heads] == [b"GET "]


HINT = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"


@pytest.mark.parametrize(
    "final", [OK, KEPT, b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n"], ids=["closed", "kept", "upgraded"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_is_sent_once_although_its_whole_response_arrives_with_an_early_hint(
    method: str, final: bytes
) -> None:
    checks: list[None] = []
    with upstream(HINT + HINT + final) as behind:
        async with transport(behind.url) as through:
            body = Parts(b"{}") if method == "POST" else None
            exchange = through.start(request(method, body=body, upgrades=True, fence=lambda: checks.append(None)))
            statuses = []
            while exchange.status in (0, 103):
                await exchange.head()
                statuses.append(exchange.status)
            exchange.close()
    assert statuses == [103, 103, int(final[9:12])]
    assert (len(behind.heads), len(checks)) == (1, 1)


async def test_informational_answers_are_told_one_by_one() -> None:
    with upstream(b"HTTP/1.1 100 Continue\r\n\r\n" + HINT + HINT + OK) as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request())
            told = []
            while exchange.status < 200:
                await exchange.head()
                told.append((exchange.status, exchange.headers[:1]))
            assert await whole(exchange) == b"ok"
    link = [(b"link", b"</a>")]
    assert told == [(103, link), (103, link), (200, [(b"connection", b"close")])]


async def test_trailers_are_told_after_the_body() -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n"
    with upstream(answer) as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request())
            await exchange.head()
            assert (await whole(exchange), exchange.eof) == (b"ok", True)
    assert exchange.trailers == [(b"x-sum", b"1"), (b"x-sum", b"2")]
    assert exchange.headers == [(b"transfer-encoding", b"chunked")]


async def test_an_answer_may_end_with_its_connection() -> None:
    with upstream(b"HTTP/1.0 200 OK\r\n\r\nuntil the end") as behind:
        async with transport(behind.url) as through:
            assert await ask(through) == (200, b"until the end")


def reset(connection: socket.socket) -> None:
    """Break off."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK\r\ncontent-length: 9", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"],
)
async def test_an_answer_that_breaks_off_is_not_whole(head: bytes) -> None:
    read = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.sendall(head + b"\r\n\r\n" + (b"4\r\npart\r\n" if b"chunked" in head else b"part"))
        read.wait(5)
        reset(connection)

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request())
            await exchange.head()
            assert await exchange.read() == b"part"
            read.set()
            with pytest.raises(UpstreamError, match="broke off"):
                await exchange.read()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "closed the connection"),
        (b"nonsense\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nbody", "not valid HTTP"),
        (b"HTTP/1.1 199 Odd\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + KEPT, "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * MAX_HEAD * 2, "larger than"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
async def test_what_is_no_answer_is_an_error(answer: bytes, says: str) -> None:
    with upstream(answer) as behind:
        async with transport(behind.url) as through:
            with pytest.raises(UpstreamError, match=says):
                await ask(through)


async def test_what_follows_an_answer_is_not_the_next_one() -> None:
    with upstream(KEPT + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil") as behind:
        async with transport(behind.url) as through:
            assert [await ask(through) for _ in range(2)] == [(200, b"ok")] * 2
    assert len(behind.heads) == 2


@pytest.mark.parametrize("status", [200, 204, 304])
async def test_an_answer_without_a_body_leaves_its_connection_in_use(status: int) -> None:
    method = "HEAD" if status == 200 else "GET"
    answer = (
        f"HTTP/1.1 {status} OK\r\n{'' if status == 204 else 'content-length: 5'}\r\n".encode().rstrip() + b"\r\n\r\n"
    )

    def script(connection: socket.socket) -> None:
        connection.sendall(answer)
        read_head(connection)
        connection.sendall(KEPT)

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            assert await ask(through, request(method)) == (status, b"")
            assert await ask(through) == (200, b"ok")
    assert len(behind.heads) == 1


async def test_a_body_of_unknown_length_goes_out_in_chunks_and_its_trailers_after_it() -> None:
    came: list[bytes] = []

    def script(connection: socket.socket) -> None:
        while not came or not came[-1].endswith(b"\r\n\r\n"):
            came.append((came[-1] if came else b"") + connection.recv(100))
        connection.sendall(OK)

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            outgoing = request("POST", body=Parts(b"ab", b"", b"c"), chunked=True)
            assert await ask(through, outgoing) == (200, b"ok")
    assert came[-1] == b"2\r\nab\r\n1\r\nc\r\n0\r\nx-sum: 1\r\n\r\n"


async def test_a_body_is_held_back_until_the_server_says_so() -> None:
    body = Parts(b"ok")
    held: list[int] = []

    def script(connection: socket.socket) -> None:
        held.append(body.taken)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert connection.recv(10) == b"ok"
        connection.sendall(OK)

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            assert await ask(through, request("POST", body=body, expects_continue=True)) == (200, b"ok")
    assert held == [0]


async def test_a_body_that_is_not_wanted_is_not_read() -> None:
    body = Parts(b"ok")
    with upstream(b"HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n") as behind:
        async with transport(behind.url) as through:
            assert await ask(through, request("POST", body=body, expects_continue=True)) == (417, b"")
    assert body.taken == 0


async def test_a_body_goes_out_although_nobody_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ap_resume_shim.http1.upstream_connection.CONTINUE_TIMEOUT", 0.05)

    def script(connection: socket.socket) -> None:
        assert connection.recv(10) == b"ok"
        connection.sendall(OK)

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            assert await ask(through, request("POST", body=Parts(b"ok"), expects_continue=True)) == (200, b"ok")


async def test_an_answer_before_the_end_of_the_body_ends_the_body() -> None:
    class Endless(Parts):
        async def read(self) -> tuple[bytes, bool]:
            await anyio.lowlevel.checkpoint()
            return b"x" * 1000, True

    def script(connection: socket.socket) -> None:
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno")
        until_closed(connection)

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            assert await ask(through, request("POST", body=Endless(), chunked=True)) == (413, b"no")
            assert not through._idle, "the connection is in the middle of a request"


async def test_a_body_that_breaks_off_breaks_the_request_off() -> None:
    class Leaving(Parts):
        async def read(self) -> tuple[bytes, bool]:
            raise ClientDisconnected

    closed = threading.Event()
    with upstream(lambda connection: closed.set() if until_closed(connection) else None) as behind:
        async with transport(behind.url) as through:
            with pytest.raises(ClientDisconnected):
                await ask(through, request("POST", body=Leaving(), chunked=True))
            assert await anyio.to_thread.run_sync(closed.wait, 5)


async def test_a_server_that_does_not_take_the_body_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ap_resume_shim.http1.upstream_connection.WRITE_TIMEOUT", 0.1)
    over = threading.Event()

    def script(_: socket.socket) -> None:
        over.wait(10)

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            with pytest.raises(UpstreamTimeout, match="read nothing"):
                await ask(through, request("POST", body=Parts(b"x" * 20_000_000)))
            assert not through._open
        over.set()


@pytest.mark.parametrize("begun", [False, True])
async def test_leaving_closes_the_connection_at_once(begun: bool) -> None:
    closed = threading.Event()

    def script(connection: socket.socket) -> None:
        if begun:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
        if until_closed(connection):
            closed.set()

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request())
            if begun:
                await exchange.head()
            async with anyio.create_task_group() as group:

                async def waits() -> None:
                    with pytest.raises(ClientDisconnected):
                        await (exchange.read() if begun else exchange.head())

                group.start_soon(waits)
                await anyio.sleep(0.1)
                exchange.close()
            assert await anyio.to_thread.run_sync(closed.wait, 5)


async def test_what_the_client_does_not_take_is_not_read() -> None:
    sent = 0

    def script(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        connection.settimeout(1)
        with suppress(OSError):
            while True:
                sent += connection.send(b"x" * 100_000)

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request())
            await exchange.head()
            await anyio.sleep(1.5)
            held = exchange.body.buffered
            exchange.close()
    assert held < 2 * READ_AHEAD + 256 * 1024, "what one read brings comes on top"
    assert sent < 20_000_000


async def test_nobody_there_is_unreachable() -> None:
    async with transport("http://127.0.0.1:9") as through:
        with pytest.raises(UpstreamUnreachable, match="Is it running"):
            await ask(through)


async def test_a_server_that_does_not_take_the_connection_is_unreachable_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with transport(url, connect=0.2) as through:
            with pytest.raises(UpstreamUnreachable, match=r"took longer than 0\.2 seconds"):
                await ask(through)


async def test_leaving_while_the_connection_is_made_leaves_it_for_others() -> None:
    with upstream(again) as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request())
            exchange.close()
            with pytest.raises(ClientDisconnected):
                await exchange.head()
            assert await ask(through) == (200, b"ok")


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[str]:
    """A server on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path := str(tmp_path / "s"))
        listening.listen()

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    read_head(connection)
                    connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"unix:{path}"
        thread.join(5)


async def test_a_server_may_be_a_unix_socket(unix: str) -> None:
    async with transport(unix) as through:
        assert await ask(through) == (200, b"ok")


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[str, Authority]]:
    """A server with TLS, and who signed its certificate."""
    authority = Authority(tmp_path)
    pair = authority.pair("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection, context.wrap_socket(connection, server_side=True) as secure:
                    read_head(secure)
                    secure.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}", authority
        thread.join(5)


async def test_a_certificate_that_is_not_trusted_is_no_connection(https: tuple[str, Authority]) -> None:
    async with transport(https[0]) as through:
        with pytest.raises(UpstreamUnreachable, match=r"(?i)certificate"):
            await ask(through)


async def test_a_certificate_that_is_trusted_is_one(https: tuple[str, Authority]) -> None:
    url, authority = https
    async with transport(url, tls=ssl.create_default_context(cafile=authority.certificate)) as through:
        assert await ask(through) == (200, b"ok")


@pytest.mark.parametrize("part", ["head", "body"])
async def test_an_exchange_in_progress_fails_when_the_transport_is_closed(part: str) -> None:
    begun = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok"

    def script(connection: socket.socket) -> None:
        connection.sendall(begun if part == "body" else b"")
        connection.recv(1)

    with upstream(script) as behind:
        async with transport(behind.url) as through:
            exchange = through.start(request())
            if part == "body":
                await exchange.head()
                assert await exchange.read() == b"ok"
            waiting = asyncio.create_task(exchange.read() if part == "body" else exchange.head())
            await anyio.sleep(0.05)
            await through.aclose()
            with pytest.raises(UpstreamError, match="closed its connections"):
                await asyncio.wait_for(waiting, 5)
