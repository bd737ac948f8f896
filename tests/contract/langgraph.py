"""A real LangGraph server, in real time; its agent is `tests/servers/apps/py/rounds.py`."""

from __future__ import annotations

import json
import time
from random import Random
from typing import Any

import httpx
from starlette.types import ASGIApp

from tests.contract.reference import Event
from tests.contract.sequence import Page

_EDITS: dict[str, dict[str, Any]] = {
    "edited": {},
    "edited as go_on": {"as_node": "go_on"},
    "copied": {"values": None, "as_node": "__copy__"},
    "forked": {},
}
"""States that are written by hand: at the thread's head, or at an old checkpoint."""


class LangGraphServer:
    """A thread of the server, and what is done to it without the shim."""

    moves: tuple[str, ...] = ("started anew", "run forked", "runs deleted", *_EDITS)
    pause = 0.3
    pace = 0.5
    """Its queue is looked at once in a second or so."""
    steps = (6, 7)
    rounds = (2, 4)

    def __init__(self, client: httpx.AsyncClient, app: ASGIApp, rng: Random) -> None:
        self._client, self.app = client, app
        self.work = rng.choice((0.0, 0.05, 0.3))
        self._moved: list[Event] = []

    async def start(self, rounds: list[int]) -> str:
        self._rounds = rounds
        thread: str = (await self._post("/threads", {}))["thread_id"]
        await self.move(thread, "started anew", Random())
        return thread

    async def page(self, thread: str) -> Page:
        tasks = (await self._get(f"/threads/{thread}/state"))["tasks"]
        waiting = [task for task in tasks if task.get("result") is None and task.get("error") is None]
        return {asked["id"]: asked["value"] for task in waiting for asked in task["interrupts"]}

    async def move(self, thread: str, how: str, rng: Random) -> None:
        path, at = f"/threads/{thread}", time.monotonic()
        history = await self._get(f"{path}/history?limit=50")
        old = rng.choice([each["checkpoint"] for each in history if "ask" in each["next"]] or [None])
        if old is None:
            how = "started anew"
        elif how == "runs deleted":
            for run in await self._get(f"{path}/runs?limit=100"):
                await self._client.delete(f"{path}/runs/{run['run_id']}")
        elif how in _EDITS:
            edit = {"values": {"work": self.work}, **_EDITS[how]}
            if how in ("copied", "forked"):
                edit["checkpoint"] = old
            if not (await self._client.post(f"{path}/state", json=edit)).is_success:
                return  # it is ambiguous whose edit that would be
        self._moved.append(Event(at, "moved"))
        if how == "started anew":
            await self._run(thread, input={"rounds": self._rounds, "number": 0, "work": self.work})
        elif how == "run forked":
            await self._run(thread, input=None, checkpoint=old)
        elif (await self._get(f"{path}/state"))["next"]:
            self._moved.append(Event(at, "halted"))

    async def at_rest(self, thread: str) -> bool:
        return bool((await self._get(f"/threads/{thread}"))["status"] != "busy")

    async def events(self, thread: str) -> list[Event]:
        found = await self._post("/store/items/search", {"namespace_prefix": ["rounds", thread], "limit": 1000})
        notes = [item["value"] | {"value": json.loads(item["value"]["value"])} for item in found["items"]]
        return [*self._moved, *(Event(**note) for note in notes)]

    def name(self, id_: str) -> str:
        return id_

    async def _run(self, thread: str, **body: Any) -> None:
        await self._post(f"/threads/{thread}/runs/wait", {"assistant_id": "rounds", **body})

    async def _get(self, path: str) -> Any:
        return (await self._client.get(path)).raise_for_status().json()

    async def _post(self, path: str, body: Any) -> Any:
        return (await self._client.post(path, json=body)).raise_for_status().json()
