"""Waiting for futures: with a deadline, with keep-alives, and with an eye on the client; and buffers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.types import Receive, Send

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.steps import ClientGone
from ap_resume_shim.runtime.waiting import Buffer, Expired, KeepAlive, Signal, timer, wait
from tests.support.agent import METADATA, PROTOCOL, Agent, start
from tests.support.calling import Call, http

pytestmark = pytest.mark.anyio

SOON = 0.01


def future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def done(result: Any = None) -> asyncio.Future[Any]:
    (made := future()).set_result(result)
    return made


def now() -> float:
    return asyncio.get_running_loop().time()


async def begun(waiting: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task that waits by now."""
    task = asyncio.create_task(waiting)
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_a_wait_ends_with_its_future() -> None:
    waiting = await begun(wait(awaited := future()))
    awaited.set_result("result")
    assert (await waiting, awaited.result()) == (None, "result")


async def test_a_failure_stays_in_its_future() -> None:
    awaited = future()
    awaited.set_exception(KeyError())
    await wait(awaited)
    assert isinstance(awaited.exception(), KeyError)


async def test_a_deadline_is_no_timeout_error() -> None:
    with pytest.raises(Expired) as expired:
        await wait(future(), until=now() + SOON)
    assert not isinstance(expired.value, TimeoutError)


async def test_what_is_done_already_is_in_time() -> None:
    await wait(done(), until=0.0, gone=done())


async def test_a_client_that_leaves_ends_a_wait() -> None:
    waiting = await begun(wait(future(), gone=(gone := future())))
    gone.set_result(None)
    with pytest.raises(ClientGone):
        await waiting


@pytest.mark.parametrize("gone_before", [True, False])
async def test_what_is_done_a_moment_after_the_client_left_counts(gone_before: bool) -> None:
    awaited, gone = future(), done() if gone_before else future()
    waiting = await begun(wait(awaited, gone=gone, leaving=60.0))
    if not gone_before:
        gone.set_result(None)
    await asyncio.sleep(SOON)
    assert not waiting.done()
    awaited.set_result(None)
    await waiting


async def test_a_client_that_leaves_is_waited_for_no_longer_than_that() -> None:
    with pytest.raises(ClientGone):
        await wait(future(), gone=done(), leaving=SOON)


async def test_a_cancelled_wait_leaves_its_futures_alone() -> None:
    waiting = await begun(wait(awaited := future(), gone=(gone := future())))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not awaited.cancelled() and not gone.cancelled()


async def test_keep_alives_are_sent_until_the_end() -> None:
    awaited, sent = future(), list[int]()

    async def send() -> None:
        sent.append(len(sent))
        if len(sent) == 3:
            awaited.set_result(None)

    await wait(awaited, keepalive=KeepAlive(SOON, send))
    assert sent == [0, 1, 2]


async def test_no_keep_alive_is_sent_at_the_deadline_nor_to_a_client_that_left() -> None:
    keepalive = KeepAlive(SOON, unwanted)
    with pytest.raises(Expired):
        await wait(future(), until=now() + SOON / 2, keepalive=keepalive)
    with pytest.raises(ClientGone):
        await wait(future(), gone=done(), keepalive=KeepAlive(0.0, unwanted))


async def unwanted() -> None:
    raise AssertionError("nothing is to be sent")


async def test_a_keep_alive_is_due_after_silence() -> None:
    keepalive = KeepAlive(60.0, unwanted)
    await keepalive.send_if_due()
    assert 0 < keepalive.remaining() <= 60


async def test_what_a_keep_alive_raises_ends_the_wait() -> None:
    async def fails() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await wait(future(), keepalive=KeepAlive(0.0, fails))


async def test_a_timer_is_over_after_its_time_and_stops_with_its_block() -> None:
    with timer(SOON) as over:
        await wait(over)
    with timer(SOON) as over:
        pass
    await asyncio.sleep(2 * SOON)
    assert not over.done()


async def test_a_signal_happens_once_for_whoever_waits() -> None:
    signal = Signal()
    waiting = await begun(wait(signal.future))
    signal.set()
    signal.set()
    await waiting
    assert signal.is_set() and signal.future.done()


async def test_a_signal_may_be_set_before_anybody_waits() -> None:
    (signal := Signal()).set()
    await wait(signal.future)


async def test_chunks_come_in_order_and_the_end_stays_the_end() -> None:
    buffer = Buffer(2)
    await buffer.put(b"1")
    await buffer.put(b"2")
    buffer.end()
    assert [await buffer.get() for _ in range(4)] == [b"1", b"2", None, None]


async def test_a_reader_waits_for_a_chunk_and_for_the_end() -> None:
    buffer = Buffer(2)
    reading = await begun(buffer.get())
    await buffer.put(b"1")
    assert await reading == b"1"
    reading = await begun(buffer.get())
    buffer.end()
    assert await reading is None


async def test_writers_wait_for_room() -> None:
    buffer = Buffer(1)
    await buffer.put(b"1")
    writing = [await begun(buffer.put(b"2")), await begun(buffer.put(b"3"))]
    assert await buffer.get() == b"1"
    await asyncio.sleep(SOON)
    assert [task.done() for task in writing] == [True, False]
    assert [await buffer.get(), await buffer.get()] == [b"2", b"3"]
    await asyncio.gather(*writing)


async def test_a_writer_that_is_cancelled_writes_nothing_and_holds_nobody_up() -> None:
    buffer = Buffer(1)
    await buffer.put(b"1")
    cancelled, writing = await begun(buffer.put(b"2")), await begun(buffer.put(b"3"))
    cancelled.cancel()
    assert [await buffer.get(), await buffer.get()] == [b"1", b"3"]
    await asyncio.wait({cancelled, writing})
    assert cancelled.cancelled()


async def test_a_reader_that_gives_up_loses_nothing() -> None:
    buffer = Buffer(1)
    with pytest.raises(ClientGone):
        await buffer.get(lambda readable: wait(readable, gone=done()))
    await buffer.put(b"1")
    assert await buffer.get() == b"1"


async def test_a_closed_buffer_drops_what_it_has_and_what_follows() -> None:
    buffer = Buffer(1)
    await buffer.put(b"1")
    writing = await begun(buffer.put(b"2"))
    buffer.close()
    await writing
    for _ in range(3):
        await buffer.put(b"3")
    buffer.end()
    assert await buffer.get() is None


@contextmanager
def counted_tasks() -> Iterator[list[str]]:
    """The names of the coroutines of which the event loop makes tasks."""
    loop, made = asyncio.get_running_loop(), list[str]()

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        made.append(work.__qualname__)
        return asyncio.Task(work, loop=loop, **options)

    loop.set_task_factory(factory)
    try:
        yield made
    finally:
        loop.set_task_factory(None)


def chunks(count: int, *, pausing: bool) -> Any:
    """A stream of so many events, each after the one before has arrived, or as fast as may be."""

    async def answering(agent: Agent, receive: Receive, send: Send) -> None:
        await start(send, 200, "text/event-stream" if agent.resumes[-1].path.endswith("stream") else "application/json")
        for number in range(count):
            await send({"type": "http.response.body", "body": METADATA if number == 0 else b" ", "more_body": True})
            await asyncio.sleep(0.001 if pausing else 0)
        await send({"type": "http.response.body", "body": b""})

    return answering


@pytest.mark.parametrize("pausing", [True, False])
@pytest.mark.parametrize("route", ["/wait", "/stream"])
async def test_a_chunk_of_a_resumes_response_takes_no_task(route: str, pausing: bool) -> None:
    async def tasks(count: int) -> int:
        with counted_tasks() as made:
            await Call(b'{"thread_id": "t", "input": 1}')(
                ResumeShim(Agent(chunks(count, pausing=pausing)), PROTOCOL), http("PATCH", f"/runs/resume{route}")
            )
        return len(made)

    assert await tasks(50) == await tasks(5) > 0
