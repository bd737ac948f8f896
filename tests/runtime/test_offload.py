"""Large JSON is read and written in a thread, and no more often than it must be."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import ResumeShim
from ap_resume_shim._shutdown import SHUTDOWN
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.protocol import parse
from ap_resume_shim.core.steps import Pause, Step
from ap_resume_shim.runtime.offload import LARGE, offload
from ap_resume_shim.runtime.stepping import drive
from tests.support.agent import PROTOCOL, RUN, Agent, reply
from tests.support.calling import Call, http

MEGABYTE = 1024 * 1024


def threads_of(function: Callable[..., Any], seen: set[str]) -> Callable[..., Any]:
    """A function, and in which threads it ran."""

    def noting(*args: Any, **options: Any) -> Any:
        seen.add("loop" if threading.current_thread() is threading.main_thread() else "thread")
        return function(*args, **options)

    return noting


def resume(size: int, **fields: Any) -> bytes:
    return json.dumps({"thread_id": "t", "input": "x" * size, **fields}).encode()


async def ask(agent: Any, body: bytes, route: str = "/runs/resume", **headers: str) -> Call:
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    await (call := Call(body))(ResumeShim(agent, PROTOCOL), http("PATCH", route, headers=fields))
    return call


@pytest.mark.anyio
@pytest.mark.parametrize(("size", "where"), [(LARGE // 2, "loop"), (LARGE, "thread")])
async def test_a_large_body_is_parsed_in_a_thread(size: int, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    monkeypatch.setattr("ap_resume_shim.runtime.incoming.parse", threads_of(parse, seen))
    assert (await ask(Agent(), resume(size))).status == 200
    assert seen == {where}


@pytest.mark.anyio
@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k"}], ids=["unkeyed", "keyed"])
async def test_a_large_answer_is_encoded_once_and_once_more_for_its_key(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body, encode, large = resume(4 * MEGABYTE - 100), json.JSONEncoder.encode, []

    def noting(encoder: json.JSONEncoder, value: Any) -> str:
        text = encode(encoder, value)
        if len(text) > MEGABYTE:
            large.append(threading.current_thread())
        return text

    monkeypatch.setattr(json.JSONEncoder, "encode", noting)
    agent = Agent()
    assert (await ask(agent, body, **headers)).status == 200
    assert len(agent.resumes) == 1
    assert len(large) == 1 + len(headers)
    assert threading.main_thread() not in large


@pytest.mark.anyio
async def test_a_threads_large_state_and_a_large_result_are_read_and_written_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {"values": {"text": "x" * MEGABYTE}}
    agent = Agent()

    async def state(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, {**agent.thread, **values})

    async def result(_: Any, receive: Receive, send: Send) -> None:
        await reply(send, {"run": RUN, **values})

    agent.extra["/threads/t"], agent.answering = state, result
    places: set[str] = set()

    def noting(size: Callable[..., int], function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda given: (threads_of(function, places) if size(given) > LARGE else function)(given)

    monkeypatch.setattr(strictjson, "read", noting(len, strictjson.read))
    monkeypatch.setattr(strictjson, "dumps", noting(lambda value: len(str(value)), strictjson.dumps))
    call = await ask(agent, resume(1), "/runs/resume/wait")
    assert (call.status, json.loads(call.answer)["values"]) == (200, values["values"])
    assert places == {"thread"}


@pytest.mark.anyio
async def test_a_cancellation_waits_for_the_work_and_comes_after_it() -> None:
    go, done = threading.Event(), threading.Event()

    def work() -> str:
        go.wait(10)
        done.set()
        return "done"

    async def worker() -> None:
        assert await offload(work) == "done"
        await asyncio.sleep(10)

    task = asyncio.create_task(worker())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


@pytest.mark.anyio
async def test_a_shutdown_while_a_large_body_is_parsed_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        go.wait(10)
        return parse(*args, **options)

    monkeypatch.setattr("ap_resume_shim.runtime.incoming.parse", slow)
    call, agent = Call(resume(LARGE)), Agent()
    serving = asyncio.create_task(call(ResumeShim(agent, PROTOCOL), http("PATCH", "/runs/resume")))
    await asyncio.sleep(0.01)
    serving.cancel(SHUTDOWN)
    await asyncio.sleep(0.01)
    go.set()
    await serving
    assert (call.status, json.loads(call.answer)["code"]) == (503, "shutting_down")
    assert agent.resumes == []


@pytest.mark.anyio
async def test_a_time_limit_around_work_is_one_still() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await offload(lambda: threading.Event().wait(0.1))
            await asyncio.sleep(10)


@pytest.mark.anyio
@pytest.mark.parametrize("large", [False, True])
async def test_a_flow_is_driven_in_either_place(large: bool) -> None:
    done: list[Any] = []

    def flow() -> Generator[Step, Any, None]:
        done.append((yield Pause(1)))
        try:
            yield Pause(2)
        except KeyError:
            done.append("thrown")
        raise ValueError("the flow's own")

    async def do(step: Step) -> str:
        if step == Pause(2):
            raise KeyError
        return "first"

    with pytest.raises(ValueError, match="own"):
        await drive(flow(), do, large=large)
    assert done == ["first", "thrown"]
