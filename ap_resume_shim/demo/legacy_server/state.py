"""The server's state: threads and their runs. Everything is in memory, in one event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ap_resume_shim.demo.legacy_server.engine import Execution

Json = dict[str, Any]


def now() -> str:
    """Return the current time in the protocol's format."""
    return datetime.now(UTC).isoformat()


def lift(values: Json) -> Json:
    """Return the fields `values` and, if the values contain messages, `messages`."""
    rest = {key: value for key, value in values.items() if key != "messages"}
    return {"values": rest, **({"messages": values["messages"]} if "messages" in values else {})}


@dataclass(eq=False)
class Run:
    """A request to start or to advance an agent, its outcome, and its events."""

    thread_id: str
    agent_id: str
    body: Json
    """The request body."""
    config: Json
    run_id: str = field(default_factory=lambda: str(uuid4()))
    created_at: str = field(default_factory=now)
    updated_at: str = ""
    status: str = "pending"
    error: Json | None = None
    task: asyncio.Task[None] | None = None
    """The agent's task, which an earlier run may have started."""
    events: list[tuple[str, Any]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def metadata(self) -> Json:
        """The client's metadata for the run."""
        return self.body.get("metadata") or {}

    @property
    def document(self) -> Json:
        """The protocol's `Run`: the request's own fields, and the server's."""
        return {
            **self.body,
            "run_id": self.run_id,
            "thread_id": self.thread_id,
            "agent_id": self.agent_id,
            "created_at": self.created_at,
            "updated_at": self.updated_at or self.created_at,
            "status": self.status,
            "metadata": self.metadata,
            **({"error": self.error} if self.error else {}),
        }

    def publish(self, mode: str, data: Any) -> None:
        """Add an event for clients that stream the run, if the run's client requested this mode."""
        modes = self.body.get("stream_mode") or "values"
        if mode == "error" or mode in ([modes] if isinstance(modes, str) else modes):
            self.events.append((mode, data))
            self._wake()

    def finish(self, status: str) -> None:
        """End the run; only the first call counts."""
        if self.status == "pending":
            self.status, self.updated_at = status, now()
            self._wake()

    def fail(self, error: BaseException) -> None:
        """End the run with an error."""
        if self.status == "pending":
            self.error = {"error": type(error).__name__, "message": str(error)}
            self.publish("error", self.error)
            self.finish("error")

    def cancel(self) -> None:
        """Stop the agent if this run still advances it: the run ends as `interrupted`, and the thread is idle."""
        if self.status == "pending" and self.task:
            self.task.cancel()

    async def ended(self) -> None:
        """Wait until the run has ended."""
        while self.status == "pending":
            await self._news.wait()

    async def follow(self, start: int = 0) -> AsyncIterator[tuple[str, Any]]:
        """Yield the events from number `start` on, as they arrive, until the run ends."""
        while True:
            if start < len(self.events):
                yield self.events[start]
                start += 1
            elif self.status == "pending":
                await self._news.wait()
            else:
                return

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


@dataclass(eq=False)
class Thread:
    """A conversation with agents: their shared values, and the waiting agent, if there is one."""

    thread_id: str
    metadata: Json
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)
    values: Json = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    history: list[Json] = field(default_factory=list)
    waiting: Execution | None = None
    asked: set[str] = field(default_factory=set)
    """The ids of all questions so far."""

    @property
    def status(self) -> str:
        """The status: one of the protocol's four values."""
        if any(run.status == "pending" for run in self.runs):
            return "busy"
        if self.waiting:
            return "interrupted"
        return "error" if self.runs and self.runs[-1].status == "error" else "idle"

    @property
    def interrupts(self) -> list[Json]:
        """The pending questions; empty at a breakpoint."""
        gates = self.waiting.gates if self.waiting else {}
        return [{"id": id_, "value": gate.question} for id_, gate in gates.items()]

    @property
    def document(self) -> Json:
        """Return the protocol's `Thread`, with the pending questions."""
        return {
            "thread_id": self.thread_id,
            "agent_id": self.runs[-1].agent_id if self.runs else None,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "metadata": self.metadata,
            "status": self.status,
            "interrupts": self.interrupts,
            **lift(self.values),
        }

    def change(self, run: Run, changes: Json) -> None:
        """Merge new values, and store the resulting state in the history."""
        self.values, self.updated_at = {**self.values, **changes}, now()
        self.history.append(
            {
                "checkpoint": {"checkpoint_id": str(uuid4())},
                **lift(self.values),
                "metadata": {"run_id": run.run_id},
            }
        )
        run.publish("values", self.values)

    def give_up(self) -> None:
        """Stop the waiting agent, if there is one."""
        if self.waiting:
            self.waiting.task.cancel()
            self.waiting = None

    def close(self) -> None:
        """Stop every agent."""
        self.give_up()
        for run in self.runs:
            run.cancel()
