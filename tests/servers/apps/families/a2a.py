"""The scenarios as A2A agents: what a task does with each message, whichever version of the SDK hands it over.

A plan is an async generator: it yields its questions and is sent the answers; what it yields last is its result.
The first message of a task is JSON text, `{"scenario", "ref", "secs"}`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tests.servers.apps.families.witness import note


@dataclass(frozen=True)
class Question:
    """What a task waits for: an answer, or a login."""

    text: str
    login: bool = False


class Stage(Protocol):
    """How a version of the SDK is told what becomes of a task."""

    async def work(self) -> None:
        """The task is being worked on."""

    async def ask(self, question: Question) -> None:
        """The task waits for a message."""

    async def fail(self, error: Exception) -> None:
        """The task broke off."""

    async def end(self, result: Any) -> None:
        """The task is over."""


Plan = AsyncGenerator[Any, Any]


async def ask(secs: float) -> Plan:
    yield (yield Question("Go on?"))


async def ask_auth(secs: float) -> Plan:
    yield (yield Question("Log in, please.", login=True))


async def two(secs: float) -> Plan:
    yield [(yield Question("First?")), (yield Question("Second?"))]


async def slow(secs: float) -> Plan:
    await asyncio.sleep(secs)
    yield "slow"


async def slowask(secs: float) -> Plan:
    answer = yield Question("Go on?")
    await asyncio.sleep(secs)
    yield answer


async def boom(secs: float) -> Plan:
    yield Question("Go on?")
    raise RuntimeError("boom")


PLANS: dict[str, Callable[[float], Plan]] = {
    "ask": ask,
    "ask-auth": ask_auth,
    "two": two,
    "slow": slow,
    "slowask": slowask,
    "boom": boom,
}


class Theatre:
    """The tasks that are under way, by id."""

    def __init__(self) -> None:
        self._plans: dict[str, tuple[str, Plan]] = {}

    async def message(self, task_id: str, values: list[Any], stage: Stage) -> None:
        """Go on with a task, up to its next question or its end."""
        if task_id in self._plans:
            ref, plan = self._plans[task_id]
            answer = values[0] if len(values) == 1 else values
            note(ref, "got", answer)
        else:
            start, answer = json.loads(values[0]), None
            ref, plan = start["ref"], PLANS[start["scenario"]](start["secs"])
            self._plans[task_id] = ref, plan
        await stage.work()
        try:
            said = await plan.asend(answer)
        except Exception as error:
            note(ref, "failed", str(error))
            await stage.fail(error)
            return
        if isinstance(said, Question):
            note(ref, "asked", said.text)
            await stage.ask(said)
        else:
            note(ref, "ended", said)
            await stage.end(said)
