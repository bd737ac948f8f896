"""The legacy server in this process, in a time of its own: nobody waits, and a seed always gives the same sequence."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from unittest import mock
from uuid import UUID

from starlette.types import ASGIApp

from ap_resume_shim.demo import create_app
from ap_resume_shim.demo.legacy_server import engine
from ap_resume_shim.demo.legacy_server.agents import AGENTS, Context
from tests.contract.reference import Event
from tests.contract.sequence import Page
from tests.support.calling import Call, http


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next thing to do; there is nothing outside of it to wait for."""

    def __init__(self) -> None:
        super().__init__(_NoWait(self))
        self.now = 0.0

    def time(self) -> float:
        """No two moments are the same."""
        self.now += 1e-9
        return self.now

    def end(self) -> None:
        """Leave no task behind."""
        for task in asyncio.all_tasks(self):
            task.cancel()
        while asyncio.all_tasks(self):
            self.run_until_complete(asyncio.sleep(0))
        self.close()


class _NoWait(selectors.SelectSelector):
    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for somebody else"
        self._loop.now += timeout
        return super().select(0)


class LegacyServer:
    """A server with one thread. `late` is how many seconds after its 2xx it takes a resume up."""

    moves: tuple[str, ...] = ("started anew",)
    pause = 0.1
    steps = (6, 9)
    rounds = (3, 8)

    def __init__(self, loop: Loop, rng: Random) -> None:
        self._loop, self._rng, self._events = loop, Random(rng.random()), list[Event]()
        self._names: dict[str, str] = {}
        self._starts = 0
        self._rounds: list[int] = []
        self.work = self.pace = rng.choice((0.0, 0.05, 0.3))
        self.late = rng.choice((0.0, 0.0, 0.2, 2.0))
        self.app: ASGIApp = create_app()

    @contextmanager
    def running(self) -> Iterator[None]:
        """With its agent, and with its queue."""
        take_up = engine.resume
        late = mock.patch.object(engine, "resume", lambda *args: self._loop.call_later(self.late, take_up, *args))
        with mock.patch.dict(AGENTS, rounds=self._agent), mock.patch.object(engine, "uuid4", self._new_id), late:
            yield

    def _new_id(self) -> UUID:
        """The id of the question that is being asked."""
        id_ = UUID(int=self._rng.getrandbits(128))
        self._names[id_.hex] = self._events[-1].question
        return id_

    async def _agent(self, context: Context) -> None:
        start = self._starts
        for number, questions in enumerate(self._rounds):
            await context.parallel(*(self._ask(context, f"{start}.{number}.{each}") for each in range(questions)))

    async def _ask(self, context: Context, question: str) -> None:
        self._note("asked", question)
        answer = await context.interrupt(question)
        self._note("heard", question, answer)
        await asyncio.sleep(self.work)

    def _note(self, kind: Any, question: str = "", value: Any = None) -> None:
        self._events.append(Event(self._loop.time(), kind, question, value))

    async def start(self, rounds: list[int]) -> str:
        self._rounds = rounds
        thread = await self._call("POST", "/threads", {})
        await self.move(thread["thread_id"], "started anew", Random())
        return str(thread["thread_id"])

    async def page(self, thread: str) -> Page:
        shown = await self._call("GET", f"/threads/{thread}")
        return {asked["id"]: asked["value"] for asked in shown["interrupts"]}

    async def move(self, thread: str, how: str, rng: Random) -> None:
        self._starts += 1
        self._note("moved")
        await self._call("POST", "/runs/wait", {"thread_id": thread, "agent_id": "rounds", "input": {}})

    async def at_rest(self, thread: str) -> bool:
        return bool((await self._call("GET", f"/threads/{thread}"))["status"] != "busy")

    async def events(self, thread: str) -> list[Event]:
        return list(self._events)

    def name(self, id_: str) -> str:
        return self._names[id_]

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        call = Call(json.dumps(body).encode())
        await call(self.app, http(method, path))
        assert call.status == 200, call.answer
        return json.loads(call.answer)
