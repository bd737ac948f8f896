"""One test's world: a client, a shim in its place, and the backend behind it."""

from __future__ import annotations

import json
import uuid
from typing import Any, Self

import httpx

from ap_resume_shim.core.protocol import Mode
from tests.e2e.drivers import AgentProtocolDriver, Driver, LangGraphDriver, eventually
from tests.e2e.placements import Place
from tests.support.outcome import KEPT, Outcome

MODES = tuple(Mode)


class World:
    """Speaks the draft to the shim, and the legacy protocol to what is behind it."""

    def __init__(self, place: Place, placement: str, backend: str) -> None:
        self.place, self.placement, self.backend = place, placement, backend
        self.client = self.new_client()
        self.driver: Driver = (
            AgentProtocolDriver(self.client) if backend == "agent-protocol" else LangGraphDriver(self.client)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing: LangGraph.js writes all that it has whenever it is idle, and answers nobody meanwhile."""
        self.driver.forget()
        self.client.close()

    def new_client(self) -> httpx.Client:
        """Another client, with connections of its own."""
        return httpx.Client(base_url=self.place.url, timeout=60, limits=KEPT)

    @property
    def has_ids(self) -> bool:
        """Whether the backend is of LangGraph's family."""
        return self.backend != "agent-protocol"

    def interrupted(self, agent: str = "ask", **state: Any) -> str:
        """A thread that waits for an answer."""
        thread = self.driver.thread()
        self.driver.start(thread, agent, {"topic": "lunch", **state})
        return thread

    def resume(self, mode: Mode, thread: str, headers: dict[str, str] | None = None, **body: Any) -> Outcome:
        """PATCH, and (in the background) wait for the run's end."""
        response = self.client.patch(mode.route, json={"thread_id": thread, **body}, headers=headers)
        if mode is Mode.BACKGROUND and response.is_success:
            run_id = response.json()["run_id"]
            eventually(lambda: self._is_over(thread, run_id), f"run {run_id} ends")
        return Outcome(response, mode)

    def _is_over(self, thread: str, run_id: str) -> bool:
        try:
            runs = {run["run_id"]: run["status"] for run in self.driver.runs(thread)}
            return runs.get(run_id) not in ("pending", "running") and self.driver.status(thread) != "busy"
        except httpx.HTTPStatusError:
            return not self.driver.exists(thread)

    def values(self, thread: str) -> dict[str, Any]:
        """The thread's values now."""
        return self.driver.values(thread)

    def run_requests(self, thread: str) -> list[dict[str, Any]]:
        """The requests that reached the backend and would create a run of this thread."""
        return [seen for seen in self.place.seen() if _creates_run(seen, thread)]

    def unknown_thread(self) -> str:
        """An id that no thread has."""
        return str(uuid.uuid4())


def _creates_run(seen: dict[str, Any], thread: str) -> bool:
    path = seen["path"]
    if seen["method"] not in ("POST", "PATCH") or not path.endswith(("/runs", "/runs/wait", "/runs/stream")):
        return False
    return f"/threads/{thread}/runs" in path or thread in json.dumps(seen["body"])
