"""The agents of the replaying servers, and what LangGraph makes of an answer before an agent hears it.

Most of these servers hand the answer to LangGraph as `Command(resume=answer)`, and what LangGraph does with it was
found out with LangGraph 0.4.8 and 1.2.24 themselves: null fails the run; `{}`, and an object whose keys all look like
interrupt ids, is a map `{id: answer}`, so that an answer of that shape is never heard; everything else is the answer.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from tests.servers.apps.families.witness import note

State = Literal["running", "asking", "ended", "failed"]
Tell = Callable[[str, Any], None]


class Refused(Exception):
    """LangGraph does not take the answer: the run fails, and the agent has heard nothing."""


class Work:
    """An agent at work: it runs until it asks, ends or fails, and goes on when it is answered."""

    def __init__(self, script: Callable[[Work], Awaitable[None]], ref: str = "", tell: Tell = lambda node, wrote: None):
        """`tell` hears of every node that has run, and what it wrote."""
        self.ref = ref
        self.state: State = "running"
        self.questions: dict[str, Any] = {}
        """What it asks now, by interrupt id."""
        self.values: dict[str, Any] = {}
        self.error: str | None = None
        self._tell = tell
        self._answers: dict[str, Any] = {}
        self._answered = asyncio.Event()
        self._stopped = asyncio.Event()
        self._task = asyncio.create_task(self._run(script))

    async def stop(self) -> State:
        """Wait until it asks, ends or fails."""
        await self._stopped.wait()
        return self.state

    def cancel(self) -> None:
        """Stop it for good."""
        self._task.cancel()

    def answer(self, answers: dict[str, Any]) -> None:
        """Answer some of its questions, or none: then it asks them once more."""
        self._answers |= answers
        self.state = "running"
        self._stopped.clear()
        self._answered.set()

    async def ask(self, *questions: Any) -> list[Any]:
        """Ask, all at once, and wait for every answer."""
        asked = {uuid.uuid4().hex: question for question in questions}
        self.questions = dict(asked)
        heard: dict[str, Any] = {}
        for question in questions:
            note(self.ref, "asked", question)
        while self.questions:
            self._stop("asking")
            await self._answered.wait()
            self._answered.clear()
            for key in [key for key in self.questions if key in self._answers]:
                heard[key] = self._answers.pop(key)
                del self.questions[key]
                note(self.ref, "got", heard[key])
        return [heard[key] for key in asked]

    def wrote(self, node: str, **values: Any) -> None:
        """A node has run."""
        self.values |= values
        self._tell(node, values)

    def _stop(self, state: State) -> None:
        self.state = state
        self._stopped.set()

    async def _run(self, script: Callable[[Work], Awaitable[None]]) -> None:
        try:
            await script(self)
            self._stop("ended")
        except Exception as error:
            self.error = str(error)
            self._stop("failed")


def scenario(name: str, secs: float) -> Callable[[Work], Awaitable[None]]:
    """What an agent does in a scenario of `tests.support.driver`."""

    async def script(work: Work) -> None:
        work.wrote("start", scenario=name)
        if name == "par":
            one, other = await work.ask("this one?", "the other one?")
            work.wrote("both", answers=[one, other])
        elif name != "slow":
            (answer,) = await work.ask("may I?")
            work.wrote("ask", answer=answer)
        if name == "two":
            (again,) = await work.ask("really?")
            work.wrote("again", again=again)
        if name.startswith("slow"):
            await asyncio.sleep(secs)
            work.wrote("sleep", slept=secs)
        if name == "boom":
            note(work.ref, "failed")
            raise RuntimeError("the agent broke")
        note(work.ref, "ended", work.values)

    return script


def resume(work: Work, answer: Any, *, several: bool = True) -> None:
    """`Command(resume=answer)`. Raises `Refused`; without `several`, also where the answer could be for any of many."""
    if answer is None:
        raise Refused("Received empty Command input")
    if isinstance(answer, dict) and all(re.fullmatch(r"[0-9a-f]{32}", key) for key in answer):
        return work.answer({key: value for key, value in answer.items() if key in work.questions})
    if len(work.questions) > 1 and not several:
        raise Refused("When there are multiple pending interrupts, you must specify the interrupt id when resuming.")
    return work.answer({next(iter(work.questions)): answer})
