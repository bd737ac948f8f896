"""Clients of today, on the servers of LangGraph's family: how each starts threads, answers, and reads refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import httpx

from ap_resume_shim.core.protocol import Mode
from tests.e2e import conventions
from tests.e2e.conventions import Convention, Request
from tests.support.waiting import eventually
from tests.support.world import World


@dataclass
class VendorClient:
    """v1, as `client.runs.create`, `wait` and `stream` of langgraph-sdk."""

    world: World
    convention: Convention
    mode: Mode = Mode.BACKGROUND
    keyed: bool = False
    """True if one request answers several questions, by their ids."""
    name: ClassVar[str] = "langgraph-v1"
    """The name of the convention in the report."""
    always: ClassVar[bool] = True
    """False if the request is a new turn on a thread that asks nothing."""

    def started(self, agent: str = "two", **state: Any) -> str:
        """A thread that asks."""
        return self.world.thread(agent, **state)

    def asks(self, thread: str) -> list[str]:
        """The questions of a thread."""
        tasks = self.world.client.get(f"/threads/{thread}/state").json()["tasks"]
        return [str(found["value"]["question"]) for task in tasks for found in task["interrupts"]]

    def request(self, thread: str, value: Any, agent: str = "two") -> Request:
        """The request that answers what the thread asks now."""
        return self.convention(conventions.asked(self.world.driver, thread, agent), value)

    def at(self, checkpoint: str, request: Request) -> Request:
        """The same request with a checkpoint."""
        return replace(request, json={**request.json, "checkpoint": {"checkpoint_id": checkpoint}})

    def send(self, request: Request) -> httpx.Response:
        return self.world.client.post(request.path, json=request.json, headers=request.headers)

    def refused(self, response: httpx.Response) -> str | None:
        """The reason of a refusal; None for a response of the server's."""
        if response.status_code == 200:
            return None
        assert response.status_code in (409, 422), response.text
        return str(response.json()["detail"])


class Cron(VendorClient):
    """A cron of a thread, with an answer: it is always refused."""

    name = "langgraph-cron"


class Commands(VendorClient):
    """v2: `input.respond`, with one or with several responses."""

    name = "langgraph-v2"

    def started(self, agent: str = "two", **state: Any) -> str:
        """LangGraph.js takes an `input.respond` only on threads that were started by v2."""
        thread = self.world.driver.thread()
        state = {**self.world.driver.initial, **state}
        start = conventions.command(thread, "run.start", assistant_id=agent, input=state)
        self.send(start).raise_for_status()
        eventually(lambda: self.asks(thread), "a question is asked")
        return thread

    def at(self, checkpoint: str, request: Request) -> Request:
        params = {**request.json["params"], "config": {"configurable": {"checkpoint_id": checkpoint}}}
        return replace(request, json={**request.json, "params": params})

    def refused(self, response: httpx.Response) -> str | None:
        assert response.status_code == 200, response.text
        value = response.json()
        return str(value["message"]) if value["type"] == "error" else None


class RunStart(Commands):
    """v2: `run.start` on a thread that asks."""

    always = False


class A2a(VendorClient):
    """The server's own A2A route."""

    name = "langgraph-a2a"

    def refused(self, response: httpx.Response) -> str | None:
        if response.headers["content-type"].startswith("text/event-stream"):
            response = httpx.Response(200, content=response.text.partition("data: ")[2].partition("\n")[0])
        error = response.json().get("error")
        return str(error["message"]) if error else None


Kind = Callable[[World], VendorClient]


def _create(mode: Mode, *, keyed: bool) -> Kind:
    return lambda world: VendorClient(world, conventions.create(mode, keyed=keyed, more={}), mode, keyed)


V1: dict[str, Kind] = {
    f"runs{mode.value}{' keyed' if keyed else ''}": _create(mode, keyed=keyed)
    for keyed in (False, True)
    for mode in Mode
}
CRON: dict[str, Kind] = {"cron": lambda world: Cron(world, conventions.cron)}
V2: dict[str, Kind] = {
    "run.start": lambda world: RunStart(world, conventions.run_start),
    "input.respond": lambda world: Commands(world, conventions.respond),
    "input.respond many": lambda world: Commands(world, conventions.respond_to_many, keyed=True),
}
A2A: dict[str, Kind] = {
    "a2a": lambda world: A2a(world, conventions.a2a, Mode.WAIT),
    "a2a stream": lambda world: A2a(world, conventions.a2a_stream, Mode.STREAM),
}
CLIENTS: dict[str, dict[str, Kind]] = {
    "langgraph": {**V1, **V2, **A2A, **CRON},
    "langgraph-old": V1,
    "langgraph-js": {**V1, **V2, **CRON},
    "aegra": {**V1, **V2, **CRON},
}
"""The clients of each server. The old one has no commands and no crons, and only the current one an A2A route."""
