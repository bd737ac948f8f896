"""Runs the agents.

A started agent is a suspended coroutine, an `Execution`. A run advances it until it ends, or until each of its branches
waits for a person. Then the run has ended, and the next run that brings an answer advances the same coroutine.

The server refuses nothing. An answer that meets no waiting agent starts a new one, even while another one works. So
does an answer that comes with another agent's id, and the question that it was meant for is lost.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ap_resume_shim.demo.legacy_server.agents import Context

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ap_resume_shim.demo.legacy_server.agents import Agent
    from ap_resume_shim.demo.legacy_server.state import Json, Run, Thread


@dataclass(frozen=True)
class Answer:
    """A person's answer; its value may be None."""

    value: Any


@dataclass(frozen=True)
class Gate:
    """A question, and the future that its answer resolves."""

    question: Any
    opened: asyncio.Future[Any]


def start(thread: Thread, run: Run, agent: Agent, changes: Json) -> None:
    """Start an agent. An agent that waits is dropped, with its questions."""
    thread.give_up()
    thread.runs.append(run)
    thread.change(run, changes)
    Execution(thread, run, agent)


def resume(thread: Thread, execution: Execution, run: Run, answer: Answer | None) -> None:
    """Advance the waiting agent. An answer that fits no single question ends the run with an error."""
    thread.runs.append(run)
    thread.waiting = None
    try:
        execution.resume(run, answer)
    except ValueError as error:
        thread.waiting = execution
        asyncio.get_running_loop().call_soon(run.fail, error)


class Execution(Context):
    """A started agent: its coroutine, and the `Context` that it uses."""

    def __init__(self, thread: Thread, run: Run, agent: Agent) -> None:
        self.run = run
        self.gates: dict[str, Gate] = {}
        self._thread = thread
        self._breakpoints: list[asyncio.Future[None]] = []
        self._moving = 1  # branches that do not wait
        self.task = run.task = asyncio.create_task(agent(self))
        self.task.add_done_callback(self._ended)

    @property
    def state(self) -> Json:
        return self._thread.values

    @property
    def config(self) -> Json:
        return self.run.config

    @property
    def metadata(self) -> Json:
        return self.run.metadata

    async def interrupt(self, question: Any) -> Any:
        gate = Gate(question, asyncio.get_running_loop().create_future())
        id_ = uuid4().hex
        self.gates[id_] = gate
        self._thread.asked.add(id_)
        self._stop()
        return await gate.opened

    async def breakpoint(self) -> None:
        opened = asyncio.get_running_loop().create_future()
        self._breakpoints.append(opened)
        self._stop()
        await opened

    async def parallel(self, *branches: Coroutine[Any, Any, None]) -> None:
        left = len(branches)
        self._moving += left - 1

        async def follow(branch: Coroutine[Any, Any, None]) -> None:
            nonlocal left
            await branch
            left -= 1
            if left:
                self._stop()

        async with asyncio.TaskGroup() as group:
            for branch in branches:
                group.create_task(follow(branch))

    def update(self, step: str, **changes: Any) -> None:
        self.run.publish("updates", {step: changes})
        if "messages" in changes:
            self.run.publish("messages", changes["messages"])
        self._thread.change(self.run, changes)

    def emit(self, event: Any) -> None:
        self.run.publish("custom", event)

    def resume(self, run: Run, answer: Answer | None) -> None:
        """Advance for another run: past breakpoints, which take no value, and past answered questions.

        An object whose keys are ids of this thread's questions answers those of them that are pending, and nothing if
        all were answered before. Any other value answers the only pending question; raises `ValueError` if there are
        several.
        """
        answers: Json = {}
        if answer and self.gates:
            value = answer.value
            if isinstance(value, dict) and value and value.keys() <= self._thread.asked:
                answers = {id_: value[id_] for id_ in self.gates if id_ in value}
            elif len(self.gates) == 1:
                answers = dict.fromkeys(self.gates, value)
            else:
                raise ValueError("Several questions wait: answer with an object {interrupt id: answer}.")
        self.run, run.task = run, self.task
        opened = [(future, None) for future in self._breakpoints]
        self._breakpoints.clear()
        opened += [(self.gates.pop(id_).opened, value) for id_, value in answers.items()]
        self._moving = len(opened)
        for future, value in opened:
            future.set_result(value)
        if not opened:
            asyncio.get_running_loop().call_soon(self._rest)

    def _stop(self) -> None:
        """A branch stopped; the last one ends the run."""
        self._moving -= 1
        if not self._moving:
            self._rest()

    def _rest(self) -> None:
        """End the run at the pending questions."""
        self._thread.give_up()
        self._thread.waiting = self
        interrupts = self._thread.interrupts
        self.run.publish("updates", {"__interrupt__": interrupts})
        if interrupts:
            self.run.publish("values", {**self.state, "__interrupt__": interrupts})
        self.run.finish("interrupted")

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.run.finish("interrupted")
        elif error := task.exception():
            self.run.fail(error)
        else:
            self.run.finish("success")
