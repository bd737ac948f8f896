"""WebSockets through the proxy: below uvicorn, which gives it messages, and in the sidecar, which gives it bytes."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.http11 import Request, Response
from websockets.utils import accept_key

from ap_resume_shim import ReverseProxy
from ap_resume_shim.proxy import websocket
from tests.http1.test_websocket import Reading
from tests.support.calling import CLIENT
from tests.support.certificates import Authority
from tests.support.serving import listening, serving
from tests.support.sidecar import sidecar
from tests.support.sockets import upstream
from tests.support.waiting import PATIENCE, eventually

Handler = Callable[[ServerConnection], Awaitable[None]]

ASGI = ("websockets-sansio", "wsproto")
"""What uvicorn speaks WebSocket with: the first is its choice."""
READ = "http1"
"""The sidecar's server, where it reads the messages instead of handing over the connection."""
PLACES = (*ASGI, READ, "sidecar")
MIB = 1024 * 1024
CODES = [(1000, "done"), (1001, ""), (1008, "not you"), (1011, "a fault"), (3000, ""), (4001, "né" * 40)]


@dataclass
class Place:
    """A proxy in its place, and the socket on which each test puts a server behind it."""

    kind: str
    url: str
    behind: socket.socket
    loop: asyncio.AbstractEventLoop | None = None

    @property
    def tunnels(self) -> bool:
        return self.kind == "sidecar"

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    @property
    def at_work(self) -> list[str]:
        """The tasks that pass something on."""
        tasks = asyncio.all_tasks(self.loop) if self.loop is not None else set()
        return [repr(task) for task in tasks if "ap_resume_shim/proxy/websocket.py" in repr(task)]

    def connect(self, target: str = "/", **options: Any) -> connect:
        """A client that follows no redirects and speaks for itself alone."""
        return connect(
            self.url.replace("http", "ws", 1) + target,
            **{"proxy": None, "max_size": None, "open_timeout": PATIENCE, "close_timeout": PATIENCE, **options},
        )

    @asynccontextmanager
    async def server(self, handler: Handler, **options: Any) -> AsyncIterator[None]:
        """A WebSocket server behind the proxy."""
        async with serve(handler, sock=self.behind.dup(), **{"max_size": None, "ping_interval": None, **options}):
            yield

    @asynccontextmanager
    async def script(
        self, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> AsyncIterator[None]:
        """A server made of one function, which does what no WebSocket library would."""

        serving: set[asyncio.Task[None]] = set()

        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            serving.add(task)
            try:
                with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                    await talk(reader, writer)
            finally:
                writer.transport.abort()

        async with await asyncio.start_server(serve_one, sock=self.behind.dup()):
            yield
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving)


@contextmanager
def placed(kind: str, behind: socket.socket) -> Iterator[Place]:
    """A proxy in front of whatever listens there."""
    server = f"http://127.0.0.1:{behind.getsockname()[1]}"
    if kind != "sidecar":
        with proxied(kind, server, behind) as made:
            yield made
    else:
        with sidecar("--upstream", server, "--port", "0", "--backend", "native") as process:
            yield Place(kind, process.url, behind)
            assert "Traceback" not in process.log


@contextmanager
def proxied(kind: str, server: str, behind: socket.socket, **options: Any) -> Iterator[Place]:
    """A proxy below uvicorn."""
    proxy = ReverseProxy(server, **options)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        made.loop = asyncio.get_running_loop()
        await proxy(scope, receive, send)

    made = Place(kind, "", behind)
    with serving(app, **({"http": Reading} if kind == READ else {"ws": kind})) as made.url:
        yield made


@pytest.fixture(scope="module", params=PLACES)
def shared(request: pytest.FixtureRequest) -> Iterator[Place]:
    with listening() as behind, placed(request.param, behind) as place:
        yield place


@pytest.fixture
def place(shared: Place) -> Iterator[Place]:
    """A place, and after each test nothing that is left there."""
    yield shared
    eventually(lambda: not shared.at_work, "all is at rest")


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Play a scenario; none takes long."""

    async def limited() -> None:
        async with asyncio.timeout(30):
            await scenario

    asyncio.run(limited())


async def echo(client: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        async for message in client:
            await client.send(message)


async def ended(connection: ClientConnection | ServerConnection) -> tuple[int | None, str | None]:
    """How the other side ended it."""
    with suppress(ConnectionClosed):
        while True:
            await connection.recv()
    await connection.wait_closed()
    return connection.close_code, connection.close_reason


class Ending:
    """A server that goes on until its client ends it, and remembers how."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.reason: str | None = None
        self.is_over = asyncio.Event()

    async def __call__(self, client: ServerConnection) -> None:
        self.code, self.reason = await ended(client)
        self.is_over.set()


MESSAGES: list[str | bytes] = ["", b"", "text", b"\x00\xff", "ü€😀\x00", '{"a": 1}', "x" * MIB, bytes(3 * MIB)]


def test_messages_go_both_ways_as_they_are(place: Place) -> None:
    async def scenario() -> None:
        async with place.server(echo), place.connect() as client:
            for message in MESSAGES:
                await client.send(message)
                assert await client.recv() == message

    run(scenario())


def test_many_messages_keep_their_order(place: Place) -> None:
    async def scenario() -> None:
        async with place.server(echo), place.connect() as client:
            sending = asyncio.create_task(_each(client.send, (str(number) for number in range(3000))))
            assert [await client.recv() for _ in range(3000)] == [str(number) for number in range(3000)]
            await sending

    run(scenario())


async def _each(do: Callable[[str], Awaitable[None]], what: Iterator[str]) -> None:
    for one in what:
        await do(one)


def test_a_message_in_fragments_is_one_message(place: Place) -> None:
    async def handler(client: ServerConnection) -> None:
        assert await client.recv() == "one message"
        await client.send([b"an", b"", b"swer"])
        await ended(client)

    async def scenario() -> None:
        async with place.server(handler), place.connect() as client:
            await client.send(["one", "", " mess", "age"])
            assert await client.recv() == b"answer"

    run(scenario())


def test_the_largest_message_is_16_mib(place: Place) -> None:
    async def scenario() -> None:
        async with place.server(echo), place.connect() as client:
            await client.send(bytes(16 * MIB))
            assert len(await client.recv()) == 16 * MIB

    run(scenario())


def test_a_larger_message_of_the_server_is_a_failure_that_says_so(place: Place) -> None:
    async def handler(client: ServerConnection) -> None:
        await client.send(bytes(16 * MIB + 1))
        await ended(client)

    async def scenario() -> None:
        async with place.server(handler), place.connect() as client:
            if place.tunnels:
                assert len(await client.recv()) == 16 * MIB + 1
            else:
                code, reason = await ended(client)
                assert (code, "16777217 bytes" in str(reason)) == (1011, True)

    run(scenario())


@pytest.mark.parametrize("target", ["/a%2Fb//c/../d;p=1?x=%20&y=%2F;z", "//", "/?", "/%e4/{curly}|^`"])
def test_the_target_goes_on_as_it_came(place: Place, target: str) -> None:
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readline()).split(b" ")[1])

    async def scenario() -> None:
        async with place.script(talk):
            reader, writer = await asyncio.open_connection(*place.address)
            writer.write(upgrade(target))
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

    run(scenario())
    assert seen == [(target.removesuffix("?") if place.kind in ASGI else target).encode()]


def upgrade(target: str = "/", *fields: str) -> bytes:
    ours = ["connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 13"]
    key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
    return "\r\n".join([f"GET {target} HTTP/1.1", "host: here", *ours, key, *fields, "", ""]).encode("latin-1")


def test_header_fields_go_on_in_their_order_and_none_is_added(place: Place) -> None:
    sent = ["x-b: 1", "cookie: a=1", "x-a: \xe9", "x-b: 2", "authorization: Bearer t", "origin: http://there"]
    seen: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.extend(head.decode("latin-1").split("\r\n")[1:-2])

    async def scenario() -> None:
        async with place.script(talk):
            reader, writer = await asyncio.open_connection(*place.address)
            writer.write(upgrade("/", *sent))
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

    run(scenario())
    framing = ("connection", "upgrade", "sec-websocket-")
    assert [line for line in seen if not line.lower().startswith(framing)] == ["host: here", *sent]


@pytest.mark.parametrize("chosen", ["v2", "v1", None])
def test_subprotocols_are_offered_in_order_and_the_servers_choice_comes_back(place: Place, chosen: Any) -> None:
    offered: list[Any] = []

    def choose(_: ServerConnection, subprotocols: Any) -> Any:
        offered.extend(subprotocols)
        return chosen

    async def scenario() -> None:
        async with (
            place.server(echo, subprotocols=["v1", "v2", "v3"], select_subprotocol=choose),
            place.connect(subprotocols=["v3", "v2", "v1"]) as client,
        ):
            assert client.subprotocol == chosen

    run(scenario())
    assert offered == ["v3", "v2", "v1"]


def test_header_fields_of_the_acceptance_come_back(place: Place) -> None:
    # The client and the server of this test are those of websockets, which encode other fields differently before 17.
    served_by = "d\xe9j\xe0" if int(version("websockets").partition(".")[0]) >= 17 else "deja"

    def accept(_: ServerConnection, request: Request, response: Response) -> None:
        response.headers["Set-Cookie"] = "a=1"
        response.headers["Set-Cookie"] = "b=2"
        response.headers["X-Served-By"] = served_by

    async def scenario() -> None:
        async with place.server(echo, process_response=accept), place.connect() as client:
            assert client.response is not None
            assert client.response.headers.get_all("set-cookie") == ["a=1", "b=2"]
            assert client.response.headers["x-served-by"] == served_by

    run(scenario())


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 426, 503])
def test_a_refusal_comes_back_whole(place: Place, status: int) -> None:
    def refuse(client: ServerConnection, _: Request) -> Response:
        response = client.respond(HTTPStatus(status), "because")
        for name, value in (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Location", "/there")):
            response.headers[name] = value
        return response

    async def scenario() -> None:
        async with place.server(echo, process_request=refuse):
            refused = await asyncio.to_thread(asks, place)
        assert (refused.status_code, refused.content) == (status, b"because")
        assert refused.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert (refused.headers["location"], refused.headers.get_list("content-length")) == ("/there", ["7"])

    run(scenario())


def asks(place: Place) -> httpx.Response:
    """What a client is answered that is not accepted."""
    head = upgrade().decode().split("\r\n")[1:-2]
    return CLIENT.get(place.url, headers=dict(line.split(": ", 1) for line in head))


def test_a_refusal_in_chunks_comes_back_whole(place: Place) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nnot\r\n4\r\n you\r\n0\r\n\r\n")
        await reader.read()

    async def scenario() -> None:
        async with place.script(talk):
            refused = await asyncio.to_thread(asks, place)
        assert (refused.status_code, refused.content) == (403, b"not you")

    run(scenario())


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-here\r\n", b"HTTP/1.1 101 Yes\r\n", b"HTTP/1.1 103 Wait\r\n\r\n"])
def test_a_server_that_answers_nonsense_is_a_bad_gateway(place: Place, answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async def scenario() -> None:
        async with place.script(talk):
            refused = await asyncio.to_thread(asks, place)
        assert (refused.status_code, "backend" in refused.json()["message"]) == (502, True)

    run(scenario())


@pytest.mark.parametrize("kind", PLACES)
def test_a_server_that_is_not_there_is_a_bad_gateway(kind: str) -> None:
    with listening() as nobody, placed(kind, nobody) as place:
        refused = asks(place)
    assert (refused.status_code, "cannot be reached" in refused.json()["message"]) == (502, True)


@pytest.mark.parametrize(("code", "reason"), CODES)
def test_the_clients_close_reaches_the_server(place: Place, code: int, reason: str) -> None:
    async def scenario() -> None:
        async with place.server(server := Ending()), place.connect() as client:
            await client.close(code, reason)
            await server.is_over.wait()
            assert (server.code, server.reason) == (code, reason)
            assert client.close_code == code

    run(scenario())


@pytest.mark.parametrize(("code", "reason"), CODES)
def test_the_servers_close_reaches_the_client(place: Place, code: int, reason: str) -> None:
    async def handler(client: ServerConnection) -> None:
        await client.send("last words")
        await client.close(code, reason)

    async def scenario() -> None:
        async with place.server(handler), place.connect() as client:
            assert await client.recv() == "last words"
            assert await ended(client) == (code, reason)

    run(scenario())


def test_a_clients_close_without_a_code_has_none(place: Place) -> None:
    async def scenario() -> None:
        async with place.server(server := Ending()), place.connect() as client:
            await client.close(cast("int", None))
            await server.is_over.wait()
            assert server.code == 1005

    run(scenario())


def test_a_servers_close_without_a_code_is_a_normal_one_for_asgi(place: Place) -> None:
    async def handler(client: ServerConnection) -> None:
        await client.close(cast("int", None))

    async def scenario() -> None:
        async with place.server(handler), place.connect() as client:
            assert await ended(client) == (1005 if place.tunnels else 1000, "")

    run(scenario())


def test_what_the_server_sends_before_it_answers_a_close_is_no_hindrance(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 600)

    async def handler(client: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await client.send(bytes(100_000))
        closed.append(client.close_code)
        is_over.set()

    async def scenario() -> None:
        async with place.server(handler, compression=None), place.connect(max_queue=None) as client:
            await client.recv()
            await client.close(4002)
            await is_over.wait()

    closed: list[int | None] = []
    is_over = asyncio.Event()
    run(scenario())
    assert closed == [4002]


BREAKS: dict[str, bytes] = {
    "nothing": b"",
    "half a frame": b"\x82\x7e\xff\xffhalf",
    "half a message": b"\x01\x04half",
    "a frame that is none": b"\xf3\x00",
    "text that is none": b"\x81\x02\xff\xff",
}


@pytest.mark.parametrize("last", BREAKS)
@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_server_that_breaks_off_looks_broken(place: Place, last: str, how: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        writer.write(b"\x81\x05hello" + BREAKS[last])
        await reader.readexactly(1)
        if how == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async def scenario() -> None:
        async with place.script(talk), place.connect() as client:
            assert await client.recv() == "hello"
            with suppress(ConnectionClosed):
                await client.send("")
            code, reason = await ended(client)
            assert code == (1006 if place.tunnels else 1011), reason

    run(scenario())


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server's handshake, by hand."""
    head = await reader.readuntil(b"\r\n\r\n")
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accepting = accept_key(key.split(b":")[1].strip().decode())
    lines = ["HTTP/1.1 101 Yes", "upgrade: websocket", "connection: Upgrade", f"sec-websocket-accept: {accepting}"]
    writer.write("\r\n".join([*lines, "", ""]).encode())


def test_a_server_that_closes_in_the_middle_of_a_message_has_not_ended_well(place: Place) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        writer.write(b"\x01\x04half\x88\x02\x03\xe8")
        await reader.readexactly(1)

    async def scenario() -> None:
        async with place.script(talk), place.connect() as client:
            with pytest.raises(ConnectionClosedError):
                await client.recv()
            assert place.tunnels or client.close_code == 1011, "where frames go through, the client judges itself"

    run(scenario())


def test_a_server_that_closes_and_keeps_the_connection_has_closed(place: Place) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        await reader.readexactly(6)
        writer.write(b"\x88\x02\x0f\xa1")
        await kept.wait()

    async def scenario() -> None:
        async with place.script(talk):
            reader, writer = await asyncio.open_connection(*place.address)
            writer.write(upgrade())
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\x81\x80\x00\x00\x00\x00")
            assert await reader.readexactly(4) == b"\x88\x02\x0f\xa1"
            writer.transport.abort()
            kept.set()

    kept = asyncio.Event()
    run(scenario())


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_client_that_vanishes_has_not_closed(place: Place, how: str) -> None:
    async def scenario() -> None:
        async with place.server(server := Ending()):
            client = await place.connect()
            await client.send("hello")
            client.transport.abort() if how == "reset" else client.transport.write_eof()
            await server.is_over.wait()
            assert server.code == 1006
            client.transport.abort()

    run(scenario())


def test_a_client_that_leaves_before_it_is_accepted_is_noticed(place: Place) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        left.set()

    async def scenario() -> None:
        async with place.script(talk):
            _, writer = await asyncio.open_connection(*place.address)
            writer.write(upgrade())
            await asked.wait()
            writer.transport.abort()
            await left.wait()

    asked, left = asyncio.Event(), asyncio.Event()
    run(scenario())


def test_pings_are_answered_on_both_sides(place: Place) -> None:
    async def handler(client: ServerConnection) -> None:
        await (await client.ping(b"from the server"))
        await client.send("answered")
        await ended(client)

    async def scenario() -> None:
        async with place.server(handler), place.connect() as client:
            assert await client.recv() == "answered"
            await (await client.ping(b"from the client"))

    run(scenario())


def test_a_reader_that_does_not_read_stops_the_server(place: Place) -> None:
    async def handler(client: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await client.send(bytes(MIB))
                sent.append(MIB)

    async def scenario() -> None:
        async with place.server(handler, compression=None):
            _, writer = await asyncio.open_connection(*place.address)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(upgrade())
            assert await stands_still(sent) < 40
            writer.transport.abort()

    sent: list[int] = []
    run(scenario())


def test_a_server_that_does_not_read_stops_the_client(place: Place) -> None:
    async def handler(client: ServerConnection) -> None:
        client.transport.pause_reading()
        await going_on.wait()
        client.transport.resume_reading()
        counted.append(sum([1 async for _ in client]))

    async def scenario() -> None:
        async with place.server(handler), place.connect(compression=None) as client:
            sending = asyncio.create_task(send(client))
            taken = await stands_still(sent)
            assert taken < 40
            going_on.set()
            await until(lambda: len(sent) >= 100)
            sending.cancel()
            await client.close()
            await until(lambda: bool(counted))
            assert counted[0] >= 100

    async def send(client: ClientConnection) -> None:
        while True:
            await client.send(bytes(MIB))
            sent.append(MIB)

    sent: list[int] = []
    counted: list[int] = []
    going_on = asyncio.Event()
    run(scenario())


async def stands_still(done: list[int]) -> int:
    """How much was done when nothing more is done for a while."""
    before = -1
    while not done or before != len(done):
        before = len(done)
        await asyncio.sleep(0.5)
    return before


async def until(happened: Callable[[], bool]) -> None:
    while not happened():
        await asyncio.sleep(0.01)


def test_json_goes_both_ways_while_other_requests_pass(place: Place) -> None:
    """As a client of LangGraph's does: commands and events on one connection, state on others."""

    def http(client: ServerConnection, request: Request) -> Response | None:
        return None if request.path == "/stream" else client.respond(HTTPStatus.OK, f"state of {request.path}")

    async def handler(client: ServerConnection) -> None:
        async for command in client:
            for step in range(3):
                await client.send(json.dumps({"id": json.loads(command)["id"], "event": "values", "step": step}))

    async def scenario() -> None:
        async with place.server(handler, process_request=http), place.connect("/stream") as client:
            for number in range(5):
                await client.send(json.dumps({"id": number, "method": "run.start"}))
                state = await asyncio.to_thread(CLIENT.get, f"{place.url}/threads/{number}")
                events = [json.loads(await client.recv()) for _ in range(3)]
                assert [(event["id"], event["step"]) for event in events] == [(number, step) for step in range(3)]
                assert state.text == f"state of /threads/{number}"

    run(scenario())


def test_a_server_that_never_answers_a_close_is_left(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.2)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        await reader.read()
        left.set()

    async def scenario() -> None:
        async with place.script(talk):
            client = await place.connect(close_timeout=0.2)
            await client.close()
            await left.wait()

    left = asyncio.Event()
    run(scenario())


@pytest.mark.parametrize("kind", ASGI)
@pytest.mark.parametrize("where", ["unix", "tls"])
def test_the_server_may_be_on_a_unix_socket_or_behind_tls(kind: str, where: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.pair("server")
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(pair.certificate, pair.key)
    theirs = ssl.create_default_context(cafile=str(authority.certificate))

    async def scenario(place: Place, **options: Any) -> None:
        async with place.server(echo, **options), place.connect("/a%2Fb") as client:
            await client.send("there")
            assert await client.recv() == "there"

    if where == "unix":
        with socket.socket(socket.AF_UNIX) as behind:
            behind.bind(f"{tmp_path}/s")
            with proxied(kind, f"unix:{tmp_path}/s", behind) as place:
                run(scenario(place))
    else:
        with listening() as behind:
            server = f"https://127.0.0.1:{behind.getsockname()[1]}"
            with proxied(kind, server, behind, tls=theirs) as place:
                run(scenario(place, ssl=ours))


def call(url: str, scope: Scope, *, leaves: bool = False) -> list[Message]:
    """What the proxy says when it is called without a server around it."""
    heard: list[Message] = [{"type": "websocket.connect"}]
    said: list[Message] = []

    async def receive() -> Message:
        if heard:
            return heard.pop()
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Message) -> None:
        said.append(message)

    run(ReverseProxy(url)(scope, receive, send))
    return said


SCOPE: Scope = {
    "type": "websocket",
    "path": "/",
    "raw_path": b"/",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"here")],
    "subprotocols": [],
}


def test_an_asgi_server_without_words_for_an_answer_refuses_in_its_own(unreachable: str) -> None:
    assert call(unreachable, SCOPE) == [{"type": "websocket.close"}]


def test_who_has_left_is_told_nothing() -> None:
    def never(_: socket.socket) -> None:
        is_over.wait(PATIENCE)

    is_over = threading.Event()
    with upstream(never) as silent:
        assert call(silent.url, SCOPE, leaves=True) == []
        is_over.set()


def test_an_asgi_server_that_tells_of_no_close_tells_of_a_client_that_vanished() -> None:
    async def receive() -> Message:
        if not started:
            started.append(True)
            return {"type": "websocket.connect"}
        await accepted.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Message) -> None:
        accepted.set()

    async def scenario() -> None:
        async with serve(server := Ending(), sock=behind.dup()):
            await ReverseProxy(f"http://127.0.0.1:{behind.getsockname()[1]}")(SCOPE, receive, send)
            await server.is_over.wait()
            assert server.code == 1006

    started: list[bool] = []
    accepted = asyncio.Event()
    with listening() as behind:
        run(scenario())


def test_what_a_client_sends_too_late_keeps_nothing_from_it() -> None:
    said: list[Message] = []
    heard: list[Message] = [{"type": "websocket.receive", "text": "too late"}, {"type": "websocket.connect"}]
    closed, taken = asyncio.Event(), asyncio.Event()

    async def handler(client: ServerConnection) -> None:
        for message in "abc":
            await client.send(message)
        await client.close(4001)
        closed.set()

    async def receive() -> Message:
        if len(heard) == 1:
            await closed.wait()
        if not heard:
            taken.set()
            await asyncio.Event().wait()
        return heard.pop()

    async def send(message: Message) -> None:
        if message["type"] == "websocket.send":
            await taken.wait()
        said.append(message)

    async def scenario() -> None:
        async with serve(handler, sock=behind.dup()):
            await ReverseProxy(f"http://127.0.0.1:{behind.getsockname()[1]}")(SCOPE, receive, send)

    with listening() as behind:
        run(scenario())
    assert [message["text"] for message in said[1:-1]] == ["a", "b", "c"]
    assert said[-1] == {"type": "websocket.close", "code": 4001, "reason": ""}


def test_without_the_library_a_websocket_is_refused_and_the_log_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "ap_resume_shim.proxy.websocket", None)
    (said,) = call("http://127.0.0.1:9", SCOPE)
    assert said["type"] == "websocket.close"
    assert "ap_resume_shim[serve]" in caplog.text


@pytest.fixture
def unreachable() -> Iterator[str]:
    with listening() as nobody:
        yield f"http://127.0.0.1:{nobody.getsockname()[1]}"
