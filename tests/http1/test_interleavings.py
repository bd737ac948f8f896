"""Every interleaving of a response with its reader: parts, pauses, cancellation, the end of the connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import product

import anyio
import anyio.lowlevel
import pytest

from ap_resume_shim.core.errors import UpstreamError
from ap_resume_shim.http1 import upstream_exchange
from ap_resume_shim.http1.upstream_exchange import Http1Exchange
from ap_resume_shim.http1.wakeup import Wakeup
from ap_resume_shim.proxy.transport import ClientDisconnected
from tests.http1.driving import Parts, request, whole
from tests.http1.wire import Wire, Wired, settle, soon

pytestmark = pytest.mark.anyio

HINT = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n"
RESPONSES = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde",
    "chunked": CHUNKED,
    "hint": HINT + HINT + CHUNKED,
    "close": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nabcde",
}
NEXT = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext"


@pytest.fixture
async def transport() -> AsyncIterator[Wired]:
    transport = Wired()
    yield transport
    await transport.aclose()
    await settle()


async def read(exchange: Http1Exchange) -> tuple[list[int], bytes]:
    """Return the statuses of the response, and its body."""
    statuses = []
    while exchange.status < 200:
        await exchange.head()
        statuses.append(exchange.status)
    return statuses, await whole(exchange)


async def begin(
    transport: Wired, **fields: object
) -> tuple[Http1Exchange, asyncio.Task[tuple[list[int], bytes]], Wire]:
    """Send a request with a fence, and begin to read its response."""
    exchange = transport.start(request("POST", body=Parts(b"{}"), fence=lambda: None, **fields))
    task = asyncio.create_task(read(exchange))
    await settle()
    return exchange, task, transport.wires[-1]


async def the_next_request_gets_its_own_response(transport: Wired) -> None:
    exchange = transport.start(request())
    task = asyncio.create_task(read(exchange))
    await settle()
    wire = next(wire for wire in transport.wires if wire.connection._exchange is exchange)
    soon(wire.receive, NEXT)
    assert await task == ([200], b"next")
    exchange.close()


@pytest.mark.parametrize("together", [False, True], ids=["apart", "in one iteration"])
@pytest.mark.parametrize("kind", RESPONSES)
async def test_a_response_in_any_two_parts_is_read_once_and_whole(transport: Wired, kind: str, together: bool) -> None:
    response = RESPONSES[kind]
    expected = [103, 103, 200] if kind == "hint" else [200]
    for at in range(len(response) + 1):
        before = transport.heads
        exchange, task, wire = await begin(transport)
        soon(wire.receive, response[:at])
        if not together:
            await settle()
        soon(wire.receive, response[at:])
        assert await task == (expected, b"abcde")
        assert transport.heads - before == 1
        assert wire.closing == (kind == "close")
        exchange.close()
    await the_next_request_gets_its_own_response(transport)


@pytest.mark.parametrize("order", ["cancel, then data", "data, then cancel", "close, then data", "data, then close"])
@pytest.mark.parametrize("kind", RESPONSES)
async def test_a_reader_that_is_cancelled_at_any_byte_leaves_no_byte_for_the_next_request(
    transport: Wired, kind: str, order: str
) -> None:
    response = RESPONSES[kind]
    for at in range(len(response) + 1):
        exchange, task, wire = await begin(transport)
        soon(wire.receive, response[:at])
        await settle()
        steps = [task.cancel if "cancel" in order else exchange.close, lambda w=wire, r=response[at:]: w.receive(r)]
        for step in steps if order.endswith("data") else reversed(steps):
            soon(step)
        await settle()
        failure = None if task.cancelled() else task.exception()
        assert failure is None or isinstance(failure, ClientDisconnected)
        exchange.close()
        await settle()
        assert transport.heads == len(transport.wires), "nothing was sent again"
        assert wire.closing or wire.connection in transport._idle
        transport._idle.clear()
        assert exchange._wakeup._continue is None
    await the_next_request_gets_its_own_response(transport)


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")], ids=["end", "reset"])
@pytest.mark.parametrize("kind", RESPONSES)
async def test_a_connection_that_ends_at_any_byte_never_makes_a_response_look_complete(
    transport: Wired, kind: str, error: Exception | None
) -> None:
    response = RESPONSES[kind]
    for at in range(len(response)):
        exchange, task, wire = await begin(transport)
        soon(wire.receive, response[:at])
        soon(wire.end, error)
        with pytest.raises(UpstreamError, match="broke off"):
            await task
        exchange.close()
        assert transport.heads == len(transport.wires), "nothing was sent again"


async def test_a_reader_that_moves_to_another_task_loses_nothing(transport: Wired) -> None:
    """The first task is cancelled while it waits, or just after it was woken."""
    for woken in (False, True):
        exchange, task, wire = await begin(transport)
        soon(wire.receive, CHUNKED[:48])
        await settle()
        if woken:
            exchange._wakeup.set()  # from a task: the reader continues soon
        task.cancel()
        await settle()
        assert task.cancelled()
        other = asyncio.create_task(whole(exchange))
        await settle()
        soon(wire.receive, CHUNKED[48:])
        assert await other == b"abcde"
        exchange.close()


async def test_a_response_that_is_read_late_does_not_mix_with_the_next_on_its_connection(transport: Wired) -> None:
    first = transport.start(request())
    task = asyncio.create_task(first.head())
    await settle()
    soon(transport.wires[0].receive, RESPONSES["length"])
    await task
    await the_next_request_gets_its_own_response(transport)
    assert len(transport.wires) == 1
    assert await whole(first) == b"abcde"
    first.close()
    await the_next_request_gets_its_own_response(transport)
    assert len(transport.wires) == 1, "closing an exchange that has ended leaves its old connection alone"


@pytest.mark.parametrize("first", ["data", "cancel"])
async def test_a_reader_in_a_cancel_scope_loses_nothing_to_the_next_reader_in_the_same_task(
    transport: Wired, first: str
) -> None:
    exchange = transport.start(request())
    heading = asyncio.create_task(exchange.head())
    await settle()
    wire = transport.wires[0]
    soon(wire.receive, CHUNKED[:47])
    await heading
    received = b""
    for data in (b"3\r\nabc\r\n", b"2\r\nde\r\n"):
        with anyio.CancelScope() as scope:
            steps = [lambda d=data: wire.receive(d), scope.cancel]
            for step in steps if first == "data" else reversed(steps):
                soon(step)
            received += await exchange.read()
            await anyio.lowlevel.checkpoint()
    soon(wire.receive, b"0\r\n\r\n")
    assert received + await whole(exchange) == b"abcde"


@pytest.mark.parametrize("final", [100, 200, 417])
async def test_a_body_that_waits_for_100_is_sent_once_or_not_at_all(transport: Wired, final: int) -> None:
    """The final response may arrive together with the 100, before the body's task continues."""
    body = Parts(b"ab", b"cd")
    outgoing = request("POST", body=body, expects_continue=True, fence=lambda: None)
    exchange = transport.start(outgoing)
    task = asyncio.create_task(exchange.head())
    await settle()
    assert body.taken == 0
    wire = transport.wires[0]
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    end = b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % final if final != 100 else NEXT
    soon(wire.receive, end if final == 417 else go_on + (b"" if final == 100 else end))
    await settle()
    if final == 100:
        assert wire.written.endswith(b"abcd")
        soon(wire.receive, end)
    await task
    assert exchange.status == {100: 200}.get(final, final)
    exchange.close()
    await settle()
    assert wire.heads == 1
    assert wire.written.count(b"ab") == (final == 100)
    assert wire.closing == (final != 100), "a request that was not sent completely ends its connection"


@pytest.mark.parametrize("part", [1, 7, 30, 60])
@pytest.mark.parametrize("every", [1, 2, 5, 1000])
async def test_a_reader_slower_than_its_server_gets_the_whole_body_and_bounds_what_is_read_ahead(
    transport: Wired, monkeypatch: pytest.MonkeyPatch, part: int, every: int
) -> None:
    """The reader takes what has arrived after `every` parts, and whenever reading is paused."""
    monkeypatch.setattr(upstream_exchange, "READ_AHEAD", 50)
    exchange = transport.start(request())
    task = asyncio.create_task(exchange.head())
    await settle()
    wire, body, received = transport.wires[0], bytes(range(256)), b""
    soon(wire.receive, b"HTTP/1.1 200 OK\r\ncontent-length: 256\r\n\r\n")
    await task
    for number, at in enumerate(range(0, 256, part)):
        soon(wire.receive, body[at : at + part])
        await settle()
        assert exchange.body.buffered <= 50 + part
        assert wire.reading == (exchange.body.buffered <= 50 or exchange.body.complete)
        if number % every == 0 or not wire.reading:
            received += await exchange.read()
            await settle()
            assert wire.reading
    assert received + await whole(exchange) == body


OPERATIONS = ("data", "data", "data", "tick", "cancel", "close", "end", "reset", "next")


@pytest.mark.parametrize("seed", range(8))
async def test_at_random_each_response_is_whole_or_failed_and_each_resume_is_sent_once(
    transport: Wired, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_exchange, "READ_AHEAD", 50)
    choose = random.Random(seed)
    for number in range(200):
        body = bytes(choose.choices(range(256), k=choose.randrange(400)))
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
        rest = HINT * choose.randrange(3) + head + body
        fenced, before = bool(choose.randrange(2)), transport.heads
        exchange = transport.start(request("POST" if fenced else "GET", fence=(lambda: None) if fenced else None))
        received: list[bytes] = []

        async def reader(exchange: Http1Exchange = exchange, received: list[bytes] = received) -> None:
            while exchange.status < 200:
                await exchange.head()
            while chunk := await exchange.read():
                received.append(chunk)
                if choose.randrange(2):
                    await asyncio.sleep(0)

        task = asyncio.create_task(reader())
        await settle()
        steps = iter(range(2000))
        while not task.done():
            assert next(steps, None) is not None, "the reader never ends"
            wire = next((wire for wire in transport.wires if wire.connection._exchange is exchange), None)
            match choose.choice(OPERATIONS):
                case "data" if wire is not None:
                    size = choose.randrange(1, 120)
                    soon(wire.receive, rest[:size])
                    rest = rest[size:]
                case "cancel" if not choose.randrange(4):
                    soon(task.cancel)
                case "close" if not choose.randrange(4):
                    soon(exchange.close)
                case "end" | "reset" as end if wire is not None and not choose.randrange(4):
                    soon(wire.end, ConnectionResetError() if end == "reset" else None)
                case _:
                    await settle()
        failure = None if task.cancelled() else task.exception()
        assert failure is None or isinstance(failure, UpstreamError | ClientDisconnected), (number, failure)
        assert body.startswith(b"".join(received))
        assert task.cancelled() or failure is not None or b"".join(received) == body
        assert transport.heads - before <= (1 if fenced else 2), "a stale connection allows one retry of a GET"
        exchange.close()
        await settle()
    await the_next_request_gets_its_own_response(transport)


async def test_no_wake_up_is_lost_in_any_order_of_wake_ups_and_cancellations() -> None:
    for steps in product(("callback", "task", "cancel", "tick"), repeat=5):
        await no_wake_up_is_lost(steps)


async def no_wake_up_is_lost(steps: tuple[str, ...]) -> None:
    """The consumer of a queue takes each item, although it goes on after a cancellation."""
    wakeup, items = Wakeup(asyncio.get_running_loop()), list[int]()
    produced, taken, cancelled = list[int](), list[int](), 0

    async def consumer() -> None:
        nonlocal cancelled
        while True:
            try:
                while not items:
                    await wakeup
                taken.append(items.pop(0))
            except asyncio.CancelledError as error:
                if error.args != ("go on",):
                    raise
                cancelled += 1

    def produce(number: int) -> None:
        produced.append(number)
        items.append(number)
        wakeup.set()

    task = asyncio.create_task(consumer())
    await settle()
    for number, step in enumerate(steps):
        match step:
            case "callback":
                soon(produce, number)
            case "task":
                produce(number)
            case "cancel":
                task.cancel("go on")
            case "tick":
                await settle()
    await settle()
    separate = len([group for group in " ".join(steps).split("tick") if "cancel" in group])
    assert taken == produced, steps
    assert len(taken) == steps.count("callback") + steps.count("task")
    assert separate <= cancelled <= steps.count("cancel"), steps
    task.cancel()
