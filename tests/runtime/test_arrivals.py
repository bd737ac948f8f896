"""A resume is judged by the questions of the moment at which it arrived, however long the shim takes to begin it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ap_resume_shim import Guard, MemoryGuard, ResumeShim
from ap_resume_shim.guard import FallbackGuard
from ap_resume_shim.guard.redis import RedisGuard
from tests.support.agent import read, reply
from tests.support.calling import Call, http
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.anyio
RUN = "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10"


class Acp:
    """An ACP server with one run, which asks its next question as soon as it is answered. The lookup that locates the
    thread of the first vendor resume waits until the test sets `go`."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.located, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read(receive)
        if scope["method"] == "POST":
            self.answers.append(json.loads(body)["await_resume"])
        elif not self.located.is_set():
            self.located.set()
            await self.go.wait()
        question = {"type": "message", "message": {"parts": [{"content": f"question {len(self.answers)}"}]}}
        run = {"run_id": RUN, "session_id": RUN, "agent_name": "a", "status": "awaiting", "await_request": question}
        await reply(send, run)


@pytest.fixture(params=["memory", "redis", "fallback", "two sidecars"])
async def guards(request: pytest.FixtureRequest) -> AsyncIterator[list[Guard]]:
    """The guards of two processes, or the guard of one, twice."""
    if request.param == "memory":
        yield [MemoryGuard()] * 2
        return
    with redis_server() as server:
        made: list[Guard] = [RedisGuard(server.url) for _ in range(2)]
        if request.param == "fallback":
            made = [FallbackGuard(made[0], MemoryGuard())] * 2
        elif request.param == "redis":
            made = made[:1] * 2
        yield made
        for guard in made:
            await guard.aclose()


async def answered(app: ResumeShim, value: str) -> Call:
    """An answer of ACP's client, which names the run alone."""
    call = Call(json.dumps({"await_resume": value, "mode": "sync"}).encode())
    await call(app, http("POST", f"/runs/{RUN}"))
    return call


async def test_an_answer_that_was_located_while_another_was_accepted_is_refused(guards: list[Guard]) -> None:
    agent = Acp()
    one, other = (ResumeShim(agent, "acp", guard=guard, vendor_resumes="guard") for guard in guards)
    slow = asyncio.create_task(answered(one, "first"))
    await agent.located.wait()
    assert (await answered(other, "second")).status == 200
    agent.go.set()
    refused = await slow
    assert (refused.status, agent.answers) == (409, ["second"]), "it answered a question that was asked after it"
    assert b"came first" in refused.answer
    third = [(await answered(one, "third")).status for _ in range(20) if "third" not in agent.answers]
    # Between two processes, a moment is known except for a round trip to the store, and a doubtful answer is refused.
    assert (third[-1], agent.answers) == (200, ["second", "third"]), "which arrived after all that"


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_an_answer_whose_body_came_while_another_was_accepted_is_refused(
    guards: list[Guard], method: str
) -> None:
    agent = Acp()
    agent.located.set()
    one, other = (ResumeShim(agent, "acp", guard=guard, vendor_resumes="guard", options=BY_RUN) for guard in guards)
    begun, go = asyncio.Event(), asyncio.Event()
    path = "/runs/resume" if method == "PATCH" else f"/runs/{RUN}"
    body = {"thread_id": RUN, "input": "first"} if method == "PATCH" else {"await_resume": "first", "mode": "sync"}
    call = Call(json.dumps(body).encode())

    async def receive() -> Message:
        begun.set()
        await go.wait()
        return await call.receive()

    slow = asyncio.create_task(one(http(method, path), receive, call.send))
    await begun.wait()
    assert (await answered(other, "second")).status == 200
    go.set()
    await slow
    assert (call.status, agent.answers) == (409, ["second"])


BY_RUN = {"thread": "run"}
