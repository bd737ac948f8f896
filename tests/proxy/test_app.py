"""The reverse proxy: byte for byte both ways, and what breaks on one side looks broken on the other."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import httpx
import pytest
import respx
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message

from ap_resume_shim import ConfigurationError, ResumeShim, ReverseProxy
from ap_resume_shim.core.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from ap_resume_shim.http1.client import Http1Transport
from ap_resume_shim.http1.server_connection import Http1Protocol
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.proxy.transport import Address
from ap_resume_shim.runtime.exchange import Exchange
from tests.support.agent import METADATA, PROTOCOL, UNTIL_LEFT, Agent, says
from tests.support.calling import CLIENT, Call, http
from tests.support.serving import listening, serving
from tests.support.sockets import OK, Upstream, connect, read_head, talk, until_closed, upstream
from tests.support.waiting import eventually

LEAN: dict[str, Any] = {"server_header": False, "date_header": False, "proxy_headers": False}


Proxied = Callable[..., AbstractContextManager[tuple[str, Upstream]]]


@pytest.fixture(params=["httpx", "http1"])
def stack(request: pytest.FixtureRequest) -> str:
    """Who speaks HTTP on both sides: uvicorn and httpx, or what is ours."""
    made: str = request.param
    return made


@pytest.fixture
def proxied(stack: str) -> Iterator[Proxied]:
    """A proxy in front of a server made of one function."""

    @contextmanager
    def proxied(script: Any = OK, base: str = "", **options: Any) -> Iterator[tuple[str, Upstream]]:
        transport: Any = {"httpx": HttpxTransport, "http1": Http1Transport}[stack]
        if stack == "http1":
            options["http"] = Http1Protocol
        proxy = ReverseProxy((behind := stacks.enter_context(upstream(script))).url + base, transport=transport)
        with serving(proxy, **LEAN, **options) as url:
            yield url, behind

    with ExitStack() as stacks:
        yield proxied


def get(target: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join(
        [method + b" " + target + b" HTTP/1.1", b"host: here", b"connection: close", *headers, b"", b""]
    )


TARGETS = [
    b"/",
    b"/a%2Fb/c",
    b"/a/../b/./c",
    b"//double//slashes/",
    b"/%e4%BD%a0?q=%e4",
    b"/a;p=1,2:3@4/!$&'()*+~",
    b"/{curly}|pipe^caret`?x={y}&z='\"<>",
    b"/?a=1&a=2&b=&c",
    b"/a+b%20c?d+e%2B",
]


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_the_target_goes_on_as_it_came(proxied: Proxied, http: str) -> None:
    with proxied(http=http) as (url, behind):
        answers = [talk(url, get(target))[:12] for target in TARGETS]
    assert answers == [b"HTTP/1.1 200"] * len(TARGETS)
    assert [head.split(b" ")[1] for head in behind.heads] == TARGETS


def test_a_base_path_stands_before_the_target(proxied: Proxied) -> None:
    with proxied(base="/v1/x/") as (url, behind):
        talk(url, get(b"/a%2Fb?c"))
    assert behind.lines[0] == b"GET /v1/x/a%2Fb?c HTTP/1.1"


def test_the_method_goes_on(proxied: Proxied) -> None:
    methods = [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PURGE"]
    with proxied() as (url, behind):
        for method in methods:
            talk(url, get(b"/", method=method))
    assert [head.split(b" ")[0] for head in behind.heads] == methods


def test_headers_go_on_in_their_order(proxied: Proxied) -> None:
    sent = [b"x-b: 1", b"cookie: a=1", b"x-a: \xe9", b"x-b: 2", b"accept-encoding: br", b"authorization: Bearer t"]
    with proxied() as (url, behind):
        talk(url, get(b"/", *sent))
    assert behind.lines[1:] == [b"host: here", *sent], "and nothing is added"


def test_headers_of_one_connection_do_not_go_on(proxied: Proxied, stack: str) -> None:
    hops = [b"keep-alive: 5", b"te: trailers", b"proxy-connection: x", b"x-hop: 1", b"upgrade: h2c", b"x-b: 2"]
    with proxied(http="h11", ws="none") as (url, behind):
        talk(url, get(b"/", b"connection: close, X-Hop", *hops))
    mine = [b"connection: TE", b"te: trailers"] if stack == "http1" else []  # asked of the server by the proxy itself
    assert behind.lines[1:] == [b"host: here", b"x-b: 2", *mine]


def test_headers_come_back_in_their_order(proxied: Proxied) -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-B: \xe9\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n"
    with proxied(answer) as (url, _):
        head = talk(url, get(b"/")).split(b"\r\n")
    assert head[1:5] == [b"set-cookie: a=1", b"x-b: \xe9", b"set-cookie: b=2", b"content-length: 0"]


def test_headers_of_the_upstream_connection_do_not_come_back(proxied: Proxied) -> None:
    answer = b"HTTP/1.1 200 OK\r\nconnection: x-hop, close\r\nx-hop: 1\r\nkeep-alive: 5\r\nx-b: 2\r\n\r\nbody"
    with proxied(answer) as (url, _):
        head, _, body = talk(url, get(b"/")).partition(b"\r\n\r\n")
    assert (b"x-hop" in head, b"keep-alive" in head, b"x-b: 2" in head) == (False, False, True)
    assert b"body" in body


def test_a_compressed_body_stays_as_it_is(proxied: Proxied) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x00\xff"
    with proxied(answer) as (url, _):
        assert talk(url, get(b"/")).endswith(b"\r\n\r\n\x1f\x8b\x00\xff")


def test_redirects_are_not_followed(proxied: Proxied) -> None:
    with proxied(b"HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n") as (url, behind):
        answer = CLIENT.get(url)
    assert (answer.status_code, answer.headers["location"], len(behind.heads)) == (302, "/there", 1)


def test_cookies_of_one_client_do_not_reach_another(proxied: Proxied) -> None:
    answer = b"HTTP/1.1 200 OK\r\nset-cookie: session=secret\r\ncontent-length: 0\r\n\r\n"
    with proxied(answer) as (url, behind):
        httpx.get(url)
        httpx.get(url)
    assert b"secret" not in behind.heads[1]


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 123\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b'HTTP/1.1 304 Not Modified\r\netag: "x"\r\n\r\n'),
        (b"GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ],
)
def test_answers_without_a_body(proxied: Proxied, method: bytes, answer: bytes) -> None:
    with proxied(answer) as (url, _):
        got = talk(url, get(b"/", method=method))
    head, _, body = got.partition(b"\r\n\r\n")
    assert (head.split(b" ")[1], body) == (answer.split(b" ")[1], b"")
    assert all(line in head for line in answer.split(b"\r\n")[1:])


def test_a_body_of_known_length_goes_on_with_it(proxied: Proxied) -> None:
    with proxied(echo) as (url, behind):
        assert CLIENT.post(url, content=b"x" * 300_000).content == b"x" * 300_000
    assert b"content-length: 300000" in behind.lines


def echo(connection: socket.socket) -> None:
    """Answer with the body, which is of 300,000 bytes."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n")
    left = 300_000
    while left and (more := connection.recv(65536)):
        connection.sendall(more)
        left -= len(more)


def test_a_body_is_streamed_as_it_comes(proxied: Proxied) -> None:
    got: list[bytes] = []

    def script(connection: socket.socket) -> None:
        got.append(connection.recv(100))
        connection.sendall(OK)

    with proxied(script) as (url, behind), connect(url) as client:
        client.sendall(get(b"/", b"transfer-encoding: chunked", method=b"POST") + b"5\r\nfirst\r\n")
        eventually(lambda: b"first" in b"".join(got), "the first part arrives although the second was not sent")
        client.sendall(b"0\r\n\r\n")
        assert read_head(client).startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding: chunked" in [line.lower() for line in behind.lines]


def test_an_answer_is_streamed_as_it_comes(proxied: Proxied) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        until_closed(connection)

    with proxied(script) as (url, _), CLIENT.stream("GET", url) as answer:
        assert next(answer.iter_raw()) == b"first"


def test_a_slow_client_slows_the_upstream(proxied: Proxied) -> None:
    sent: list[int] = []

    def script(connection: socket.socket) -> None:
        connection.settimeout(2)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        try:
            for _ in range(15_000):
                connection.sendall(b"x" * 65536)
                sent.append(65536)
        except TimeoutError:
            sent.append(0)

    with proxied(script) as (url, _), connect(url) as client:
        client.sendall(get(b"/"))
        eventually(lambda: sent and sent[-1] == 0, "the upstream cannot send on")
    assert sum(sent) < 100_000_000


def test_a_client_that_leaves_an_idle_answer_is_noticed_upstream(proxied: Proxied) -> None:
    closed: list[bool] = []

    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        closed.append(until_closed(connection))

    with proxied(script) as (url, _):
        with connect(url) as client:
            client.sendall(get(b"/"))
            assert read_head(client)
        eventually(lambda: closed == [True])


@pytest.mark.parametrize("stack", ["http1"], indirect=True)
@pytest.mark.parametrize("idle", [True, False], ids=["idle", "running"])
def test_a_client_that_leaves_an_answer_that_did_not_wait_for_its_body_is_noticed_upstream(
    proxied: Proxied, idle: bool
) -> None:
    """It waits to be asked for the body (`Expect: 100-continue`), and nobody asks."""
    closed: list[bool] = []

    def script(connection: socket.socket) -> None:
        connection.settimeout(5 if idle else 0.05)
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        for _ in range(1 if idle else 100):
            if closed:
                return
            if until_closed(connection):
                closed.append(True)
            else:
                connection.sendall(b"4\r\nmore\r\n")

    with proxied(script) as (url, _):
        with connect(url) as client:
            client.sendall(get(b"/", b"content-length: 5", b"expect: 100-continue", method=b"POST"))
            assert read_head(client).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: closed == [True])


@pytest.mark.parametrize("body", [b"", b"unfinished"])
def test_a_client_that_leaves_before_the_answer_is_noticed_upstream(proxied: Proxied, body: bytes) -> None:
    closed: list[bool] = []
    with proxied(lambda connection: closed.append(until_closed(connection))) as (url, behind):
        with connect(url) as client:
            announced = [b"content-length: 100"] if body else []
            client.sendall(get(b"/", *announced, method=b"POST") + body)
            eventually(lambda: behind.heads)
        eventually(lambda: closed == [True])


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
    ],
)
def test_an_answer_that_breaks_looks_broken(proxied: Proxied, broken: bytes) -> None:
    with proxied(broken) as (url, _), pytest.raises(httpx.RemoteProtocolError):
        CLIENT.get(url)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-le"])
def test_no_answer_is_a_502(proxied: Proxied, answer: bytes) -> None:
    with proxied(answer) as (url, _):
        got = CLIENT.get(url)
    assert (got.status_code, list(got.json())) == (502, ["message"])
    assert "broke off" in got.json()["message"]


@pytest.mark.anyio
@pytest.mark.parametrize("transport", [HttpxTransport, Http1Transport])
async def test_an_answer_that_does_not_begin_in_time_is_a_504(transport: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        await (call := Call())(proxy := ReverseProxy(url, answer=0.1, transport=transport), http())
        await proxy.aclose()
    assert (call.status, json.loads(call.answer)) == (
        504, {"message": "The backend did not begin to respond within 0.1 seconds."}
    )  # fmt: skip


def test_an_unreachable_upstream_is_a_502_until_it_is_there() -> None:
    later = listening()  # bound, and not listening yet: connections are refused
    with serving(ReverseProxy(f"http://127.0.0.1:{later.getsockname()[1]}")) as url:
        got = CLIENT.get(url)
        assert (got.status_code, "cannot be reached" in got.json()["message"]) == (502, True)
        with serving(Agent(), at=later):
            assert CLIENT.get(f"{url}/threads/t").status_code == 200


def test_an_upstream_that_restarts_is_found_again(proxied: Proxied) -> None:
    """A connection that was kept and is closed by now is not used again."""
    kept = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    with proxied(kept) as (url, behind):
        for _ in range(3):
            assert CLIENT.get(url).status_code == 200
            time.sleep(0.3)
    assert len(behind.heads) == 3


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "is not the address"),
        ("127.0.0.1:2024", "is not the address"),
        ("localhost", "write it as http://host:port"),
        ("ftp://host", "is not the address"),
        ("http://", "is not the address"),
        ("http://host:port", "is not the address"),
        ("http://host:99999", "is not the address"),
        ("http://[::1", "is not the address"),
        ("http://host/?query", "is not the address"),
        ("http://host/#fragment", "is not the address"),
        ("http://host/ü", "is not the address"),
        ("http://user:password@host", "holds no user name"),
        (f"http://{'x' * 64}.{'y' * 70000}", "is not the address"),
    ],
)
def test_a_url_that_is_none_is_refused_at_once(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as error:
        ReverseProxy(url)
    assert "password" not in str(error.value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("HTTP://LOCALHOST:80", "http://localhost", True),
        ("https://Host.Example:443/Base/", "https://host.example/Base", True),
        ("http://[::1]:80", "http://[::1]", True),
        ("unix:/run/Socket", "unix:///run/Socket", True),
        ("http://localhost:443", "http://localhost", False),
        ("http://localhost", "https://localhost", False),
        ("http://localhost/a", "http://localhost/A", False),
        ("unix:/run/Socket", "unix:/run/socket", False),
    ],
)
def test_one_upstream_has_one_namespace_however_it_is_written(one: str, other: str, same: bool) -> None:
    namespaces = [ResumeShim(ReverseProxy(url), PROTOCOL)._namespace for url in (one, other)]
    assert (namespaces[0] == namespaces[1]) is same


@pytest.mark.anyio
async def test_an_address_may_be_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as bound:
        proxy = ReverseProxy(f"http://[::1]:{bound.getsockname()[1]}")
        call = Call()
        task = asyncio.create_task(call(proxy, http()))
        connection, _ = await asyncio.to_thread(bound.accept)
        with connection:
            connection.sendall(OK)
            await task
        await proxy.aclose()
    assert (call.status, call.answer) == (200, b"ok")


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_a_body_announced_in_two_ways_is_refused(proxied: Proxied, http: str) -> None:
    """Length and chunks at once is how requests are smuggled."""
    request = (
        get(b"/", b"content-length: 3", b"transfer-encoding: chunked", method=b"POST") + b"5\r\nhello\r\n0\r\n\r\n"
    )
    with proxied(http=http) as (url, behind):
        assert talk(url, request).startswith(b"HTTP/1.1 400")
    assert behind.heads == []


@pytest.mark.anyio
async def test_an_address_of_any_length_goes_on() -> None:
    path = "/" + "x" * 70_000
    await Call()(ReverseProxy("http://legacy", transport=over(transport := Told())), http(path=path))
    assert transport.requests[0].extensions["target"] == path.encode()


@pytest.mark.anyio
@respx.mock
@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (httpx.ConnectError("refused"), 502, "No connection to the backend at http://legacy: refused."),
        (httpx.ConnectTimeout("slow"), 502, "No connection to the backend at http://legacy: slow."),
        (httpx.PoolTimeout("full"), 502, "No connection to the backend at http://legacy: full."),
        (httpx.ReadTimeout("silent"), 504, "did not respond in time"),
        (httpx.WriteTimeout("stuck"), 504, "did not respond in time"),
        (httpx.ReadError(""), 502, "broke off: ReadError"),
        (httpx.RemoteProtocolError("odd"), 502, "broke off: odd"),
    ],
)
async def test_failures_are_logged_with_their_reasons(
    error: Exception, status: int, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    respx.get("http://legacy/x").mock(side_effect=error)
    await (call := Call())(proxy := ReverseProxy("http://legacy"), http(path="/x"))
    await proxy.aclose()
    assert (call.status, list(json.loads(call.answer))) == (status, ["message"])
    assert says in caplog.text
    assert "http://legacy" not in call.answer.decode()


@pytest.mark.anyio
@respx.mock
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (httpx.ConnectError("refused"), UpstreamUnreachable),
        (httpx.ReadTimeout("silent"), UpstreamTimeout),
        (httpx.ReadError("broken"), UpstreamError),
    ],
)
async def test_to_the_shim_itself_failures_are_raised(error: Exception, raised: type[Exception]) -> None:
    respx.get("http://legacy/x").mock(side_effect=error)
    proxy, call = ReverseProxy("http://legacy"), Call()
    with pytest.raises(raised):
        await call(proxy, http(path="/x", ap_resume_shim=True))
    await proxy.aclose()
    assert call.sent == []


def over(network: httpx.AsyncBaseTransport) -> Callable[[Address], HttpxTransport]:
    """What makes connections, below httpx's own."""
    return lambda address: HttpxTransport(address, network)


class Told(httpx.AsyncBaseTransport):
    """A transport of one's own, which remembers what it was told."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(await request.aread())
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.anyio
async def test_a_transport_of_ones_own_is_used_and_closed() -> None:
    proxy = ReverseProxy("https://legacy:8443/v1", transport=over(transport := Told()))
    await (call := Call())(proxy, http(path="/x"))
    await proxy.aclose()
    assert (call.answer, str(transport.requests[0].url), transport.closed) == (b"ok", "https://legacy:8443/v1/x", True)


@pytest.mark.anyio
async def test_a_body_that_nobody_reads_is_not_received_before_the_answer_has_begun() -> None:
    """A server asks for the body (100) when it is received: the one who listens for the client's leaving waits."""
    order: list[str] = []

    class Unread(Told):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=httpx.ByteStream(b"ok"))

    async def receive() -> Message:
        order.append("receive")
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await asyncio.sleep(0.3)
        order.append(message["type"])

    asked = http("POST", headers=[(b"host", b"here"), (b"content-length", b"5"), (b"expect", b"100-continue")])
    await ReverseProxy("http://legacy", transport=over(Unread()))(asked, receive, send)
    assert order[:2] == ["http.response.start", "receive"]


@pytest.mark.anyio
@pytest.mark.parametrize(("version", "body"), [("1.1", b""), ("2", b"body"), ("3", b"body")])
async def test_later_versions_of_http_do_not_announce_a_body(version: str, body: bytes) -> None:
    transport, call = Told(), Call(b"body")
    await call(ReverseProxy("http://legacy", transport=over(transport)), http("POST", http_version=version))
    assert transport.bodies == [body]
    assert ("transfer-encoding" in transport.requests[0].headers) is bool(body)


@pytest.mark.anyio
async def test_a_client_of_a_later_version_may_leave_before_its_body() -> None:
    transport, sent = Told(), Call()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await ReverseProxy("http://legacy", transport=over(transport))(http("POST", http_version="2"), receive, sent.send)
    assert transport.requests == []


@pytest.mark.anyio
async def test_a_get_of_a_later_version_has_no_body() -> None:
    transport = Told()
    await Call()(ReverseProxy("http://legacy", transport=over(transport)), http(http_version="2"))
    assert (transport.bodies, "transfer-encoding" in transport.requests[0].headers) == ([b""], False)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("root", "raw", "target"),
    [
        ("", b"/a%2Fb", b"/a%2Fb"),
        ("/api", b"/api/a%2Fb", b"/a%2Fb"),
        ("/api", b"/api", b"/"),
        ("/api", b"/apis/x", b"/apis/x"),
        ("/api", b"/x", b"/x"),
        ("/m\xfc x", b"/m%C3%BC%20x/y", b"/y"),
        ("/a/b", b"/a%2Fb/c", b"/c"),
        ("/api/agents", b"/agents/c", b"/c"),
        ("/api/agents", b"/api/c", b"/api/c"),
    ],
)
async def test_the_mount_is_not_passed_on(root: str, raw: bytes, target: bytes) -> None:
    transport = Told()
    await Call()(ReverseProxy("http://legacy", transport=over(transport)), http(root_path=root, raw_path=raw))
    assert transport.requests[0].extensions["target"] == target


@pytest.mark.anyio
async def test_a_server_that_gives_no_raw_path() -> None:
    transport = Told()
    scope = http(path="/m\xfc/a b", root_path="/m\xfc", raw_path=None)
    await Call()(ReverseProxy("http://legacy", transport=over(transport)), scope)
    assert transport.requests[0].extensions["target"] == b"/a%20b"


def test_a_proxy_may_be_mounted() -> None:
    with upstream() as behind:
        mounted = Starlette(routes=[Mount("/below/here", app=ReverseProxy(behind.url))])
        with serving(mounted) as url:
            assert CLIENT.get(url + "/below/here/a%2Fb?c").text == "ok"
    assert behind.lines[0] == b"GET /a%2Fb?c HTTP/1.1"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("mounted", [True, False])
def test_no_connection_is_left_open(mounted: bool, loop: str) -> None:
    """A mounted app is told of no shutdown; an unclosed connection would be a warning, which is an error here."""
    with serving(Agent()) as behind:
        proxy: ASGIApp = ReverseProxy(behind)
        with serving(Starlette(routes=[Mount("/", app=proxy)]) if mounted else proxy, loop=loop) as url:
            assert CLIENT.get(f"{url}/threads/t").status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_client_that_leaves_while_connecting_leaves_no_connection(scheme: str) -> None:
    """The upstream accepts, and says nothing: with TLS the handshake does not end, until its time is over."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        proxy = ReverseProxy(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}", connect=0.3)
        for turns in range(0, 40, 8):
            task = asyncio.create_task((call := Call())(proxy, http()))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.gone.set()
            await task
        await proxy.aclose()
        silent.settimeout(0.5)
        assert all(await asyncio.to_thread(closed_connections, silent))


def closed_connections(listening: socket.socket) -> list[bool]:
    """Whether each of the connections that were made is closed by now."""
    found = []
    try:
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(5)
                found.append(until_closed(connection))
    except TimeoutError:
        return found


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_clients_that_leave_at_any_moment_leave_no_connection(loop: str) -> None:
    agent = Agent(says(METADATA, UNTIL_LEFT))
    with serving(agent, loop=loop) as behind, serving(ReverseProxy(behind), loop=loop) as url:
        for number in range(30):
            with connect(url) as client:
                client.sendall(get(b"/runs/stream", b"content-length: 0", method=b"POST"))
                time.sleep(number * 0.0005)
        assert CLIENT.get(f"{url}/threads/t").status_code == 200
    assert len(agent.seen) <= 31


@pytest.mark.anyio
async def test_leaving_at_the_end_of_an_answer_loses_no_connection() -> None:
    """The pool closes what expired when an answer ends, and the shim leaves its lookups in just that moment.

    A connection that is lost is a warning when it is collected, which is an error here.
    """
    brief = httpx.AsyncHTTPTransport(limits=httpx.Limits(keepalive_expiry=0.01))
    with serving(Agent()) as behind:
        proxy = ReverseProxy(behind, transport=over(brief))

        async def lookup() -> None:
            exchange = Exchange(proxy, http(path="/threads/t"), None)
            await exchange.read()
            exchange.disconnect()
            await exchange.wait_closed()

        for _ in range(10):
            await asyncio.gather(*(lookup() for _ in range(8)))
            await asyncio.sleep(0.02)
            await lookup()
        await proxy.aclose()
    gc.collect()


@pytest.mark.anyio
async def test_a_websocket_is_closed_politely_where_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ap_resume_shim.proxy.websocket", None)
    call = Call()
    call.gone.set()
    await call(ReverseProxy("http://legacy"), {"type": "websocket", "path": "/"})
    assert [(message["type"], message["code"]) for message in call.sent] == [("websocket.close", 1011)]


@pytest.mark.anyio
async def test_what_asgi_may_become_is_not_passed_on() -> None:
    with pytest.raises(NotImplementedError, match=r"something\.new"):
        await Call()(ReverseProxy("http://legacy"), {"type": "something.new"})


def test_the_shim_in_front_of_it_resumes() -> None:
    with serving(agent := Agent()) as behind, serving(ResumeShim(ReverseProxy(behind), PROTOCOL)) as url:
        answer = CLIENT.patch(f"{url}/runs/resume", json={"thread_id": "t"}, headers={"authorization": "Bearer t"})
    assert (answer.status_code, answer.json()["run_id"]) == (200, "r2")
    assert [dict(seen.headers).get(b"authorization") for seen in agent.seen] == [b"Bearer t"] * 3


def test_the_shim_in_front_of_it_says_what_was_not_sent() -> None:
    with serving(ResumeShim(ReverseProxy("http://127.0.0.1:9"), PROTOCOL)) as url:
        answer = CLIENT.patch(f"{url}/runs/resume", json={"thread_id": "t"})
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_unreachable")


def test_the_shim_in_front_of_it_makes_a_broken_stream_look_broken() -> None:
    with (
        serving(Agent(says(METADATA, 0.2, ValueError()))) as behind,
        serving(ResumeShim(ReverseProxy(behind), PROTOCOL)) as url,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        CLIENT.patch(f"{url}/runs/resume/stream", json={"thread_id": "t"})
