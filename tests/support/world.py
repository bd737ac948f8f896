"""One test's world: a client, a shim in its place, and the real server behind it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx

from ap_resume_shim.core.protocol import Mode
from tests.support.calling import CLIENT
from tests.support.driver import Driver
from tests.support.outcome import KEPT, Outcome
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Place:
    """A shim in its place: its URL, the requests that reached the server behind it, and that server's own URL."""

    url: str
    seen: Callable[[], list[dict[str, Any]]]
    server: str = ""
    """Empty for a server without a process of its own."""


class Thread(str):
    """The id of a thread."""

    ref: str
    """The name under which the thread's agent records what happens."""

    def __new__(cls, thread_id: str, ref: str) -> Self:
        thread = super().__new__(cls, thread_id)
        thread.ref = ref
        return thread


class World:
    """Sends the draft's resumes to the shim and the server's own protocol through it; reads what the agents received.

    Leaving it deletes the threads that it made, where the server keeps too many of them.
    """

    def __init__(self, place: Place, kind: type[Driver]) -> None:
        self.place = place
        self.client = self.new_client()
        self.driver = kind(self.client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.forget()
        self.client.close()

    def new_client(self) -> httpx.Client:
        """Another client, with connections of its own. Loading certificates would take longer than most tests."""
        return httpx.Client(base_url=self.place.url, timeout=60, limits=KEPT, verify=False)

    def thread(self, agent: str = "ask", *, wait: bool = True, on: str | None = None, **state: Any) -> Thread:
        """A new thread that runs an agent, or another run `on` one; with `wait`, until it asks."""
        ref = uuid.uuid4().hex
        initial = {**self.driver.initial, **({"ref": ref} if self.driver.witness else {}), **state}
        return Thread(self.driver.start(agent, initial, wait=wait, on=on), ref)

    def resume(self, mode: Mode, thread: str, headers: dict[str, str] | None = None, **body: Any) -> Outcome:
        """PATCH; in the background, also wait for the end of a run that the server shows."""
        response = self.client.patch(mode.route, json={"thread_id": thread, **body}, headers=headers)
        if mode is Mode.BACKGROUND and response.is_success:
            run_id = response.json()["run_id"]
            eventually(lambda: self.driver.is_over(thread, run_id), f"run {run_id} ends")
        return Outcome(response, mode)

    def values(self, thread: str) -> dict[str, Any]:
        """The thread's values now."""
        return self.driver.values(thread)

    @property
    def resumes(self) -> int:
        """How many requests that resume a run have reached the server through this world's shim."""
        return sum(self.driver.resumes(seen) for seen in self.place.seen())

    def run_requests(self, thread: str) -> list[dict[str, Any]]:
        """Those of them that name this thread."""
        return [seen for seen in self.place.seen() if self.driver.resumes(seen) and _names(seen, thread)]

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Assert, at the end of the block, that no request that resumes a run has reached the server meanwhile."""
        before = self.resumes
        yield
        assert self.resumes == before, "the server was asked to resume"

    def noted(self, thread: Thread, event: str) -> list[Any]:
        """The values that the agent recorded with an event, in order."""
        noted = CLIENT.get(f"{self.place.server}/__witness").json()
        return [entry["value"] for entry in noted if entry["ref"] == thread.ref and entry["event"] == event]

    def heard(self, thread: Thread, count: int = 1) -> list[Any]:
        """The answers that the agent received, once there are so many."""
        eventually(lambda: len(self.noted(thread, "got")) >= count, f"the agent hears {count} answers")
        return self.noted(thread, "got")

    def ends(self, thread: Thread) -> None:
        """Wait until the agent has ended."""
        eventually(lambda: self.noted(thread, "ended"), "the agent ends")


def _names(seen: dict[str, Any], thread: str) -> bool:
    return f"/threads/{thread}/" in seen["path"] or thread in json.dumps(seen["body"])


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
