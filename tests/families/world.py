"""One test's world: a client, the shim around a proxy to a real server, and what both sides saw."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.core.protocol import Mode
from tests.e2e.placements import real_server
from tests.families.driver import Driver, eventually
from tests.servers.apps.py.tap import Tap
from tests.support.outcome import KEPT, Outcome
from tests.support.serving import serving


@dataclass(frozen=True)
class Thread:
    """A run of a scenario: its thread, and the name by which its agent notes what happens."""

    id: str
    ref: str


class World:
    """Speaks the draft to the shim, the server's own protocol through it, and reads what the agents noted."""

    def __init__(self, kind: type[Driver], server: str, url: str, tap: Tap) -> None:
        self.server, self.url, self._tap = server, url, tap
        self.client = self.new_client()
        self.driver = kind(self.client)

    def new_client(self) -> httpx.Client:
        """Another client, with connections of its own."""
        return httpx.Client(base_url=self.url, timeout=60, limits=KEPT)

    def thread(self, scenario: str = "ask", *, secs: float = 0.0, wait: bool = True, on: str | None = None) -> Thread:
        """A new thread that runs a scenario, or one that runs another; with `wait`, until it asks."""
        ref = uuid.uuid4().hex
        return Thread(self.driver.start(scenario, ref, secs=secs, wait=wait, on=on), ref)

    def resume(self, mode: Mode, thread: Thread | str, headers: dict[str, str] | None = None, **body: Any) -> Outcome:
        """PATCH."""
        thread_id = thread if isinstance(thread, str) else thread.id
        return Outcome(self.client.patch(mode.route, json={"thread_id": thread_id, **body}, headers=headers), mode)

    def noted(self, thread: Thread, event: str) -> list[Any]:
        """The values that the agent noted with an event, in order."""
        noted = httpx.get(f"{self.server}/__witness").json()
        return [entry["value"] for entry in noted if entry["ref"] == thread.ref and entry["event"] == event]

    def heard(self, thread: Thread, count: int = 1) -> list[Any]:
        """The answers that the agent heard, once there are so many."""
        eventually(lambda: len(self.noted(thread, "got")) >= count, f"the agent hears {count} answers")
        return self.noted(thread, "got")

    def ends(self, thread: Thread) -> None:
        """Wait until the agent has ended."""
        eventually(lambda: self.noted(thread, "ended"), "the agent ends")

    @property
    def resumes(self) -> int:
        """How many requests that resume a run have reached the server, on this world's shim."""
        return sum(self.driver.resumes(seen) for seen in self._tap.seen)


@contextmanager
def world_of(kind: type[Driver]) -> Iterator[World]:
    """The shim in front of a real server: the one of the environment, or one for these tests alone."""
    with real_server(kind.server) as server, _shim(kind, server) as (url, tap):
        world = World(kind, server, url, tap)
        try:
            yield world
        finally:
            world.client.close()


@contextmanager
def _shim(kind: type[Driver], server: str) -> Iterator[tuple[str, Tap]]:
    tap = Tap(ReverseProxy(server))
    with serving(ResumeShim(tap, kind.backend, options=kind.options, resume_at=kind.resume_at)) as url:
        yield url, tap


class Untouched:
    """Asserts, on leaving, that no request that resumes has reached the server meanwhile."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __enter__(self) -> None:
        self._before = self._world.resumes

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            assert self._world.resumes == self._before, "the server was asked to resume"


class Same:
    """Compares JSON values with their types: 1, 1.0 and true are three values."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return json.dumps(self.value, sort_keys=True) == json.dumps(other, sort_keys=True)

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return f"exactly {self.value!r}"

    @cached_property
    def text(self) -> str:
        return json.dumps(self.value, ensure_ascii=False)
