"""The drivers of LangGraph's servers, Aegra and the legacy server, whose threads and runs tests look at."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

import httpx

from tests.support.driver import Driver
from tests.support.waiting import eventually

_CREATES = ("/runs", "/runs/wait", "/runs/stream")


class _ThreadDriver(Driver):
    """A server that shows the values and the runs of its threads."""

    initial: ClassVar[dict[str, Any]] = {"topic": "lunch"}
    witness = False

    def resumes(self, seen: dict[str, Any]) -> bool:
        """A request that creates a run, be it the first one of its thread or a resume."""
        return seen["method"] in ("POST", "PATCH") and seen["path"].endswith(_CREATES)

    def is_over(self, thread: str, run_id: str) -> bool:
        try:
            runs = {run["run_id"]: run["status"] for run in self.runs(thread)}
            return runs.get(run_id) not in ("pending", "running") and self.status(thread) != "busy"
        except httpx.HTTPStatusError:
            return not self.exists(thread)

    def exists(self, thread: str) -> bool:
        return self.client.get(f"/threads/{thread}").status_code == 200


class LangGraph(_ThreadDriver):
    """The current server."""

    name = backend = server = "langgraph"

    def __init__(self, client: httpx.Client) -> None:
        super().__init__(client)
        self._threads: list[str] = []

    def thread(self) -> str:
        self._threads.append(str(self._post("/threads", {})["thread_id"]))
        return self._threads[-1]

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        thread = on or self.thread()
        self._post(f"/threads/{thread}/runs{'/wait' if wait else ''}", {"assistant_id": scenario, "input": state})
        if wait:
            eventually(lambda: self.status(thread) != "busy", "the thread settles")
        return thread

    def status(self, thread: str) -> str:
        return str(self._get(f"/threads/{thread}")["status"])

    def values(self, thread: str) -> dict[str, Any]:
        values: dict[str, Any] = self._get(f"/threads/{thread}/state")["values"]
        return values

    def runs(self, thread: str) -> list[dict[str, Any]]:
        runs = self._get(f"/threads/{thread}/runs?limit=100")
        return sorted(runs, key=lambda run: str(run["created_at"]), reverse=True)

    def cancel(self, thread: str, run_id: str) -> None:
        self.client.post(f"/threads/{thread}/runs/{run_id}/cancel").raise_for_status()

    def agent_id(self, scenario: str) -> str:
        """The id of the server's own assistant: other tests make more of them at the same time."""
        own = {"graph_id": scenario, "metadata": {"created_by": "system"}, "limit": 1}
        return str(self._post("/assistants/search", own)[0]["assistant_id"])

    def forget(self) -> None:
        """LangGraph.js writes all its threads whenever it is idle, and does not respond meanwhile."""
        for thread in self._threads:
            self.client.delete(f"/threads/{thread}")  # which a test may have done before

    def _get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def _post(self, path: str, body: Any) -> Any:
        return self.client.post(path, json=body).raise_for_status().json()


class LangGraphOld(LangGraph):
    """The oldest server that is supported."""

    name = server = "langgraph-old"


class LangGraphJs(LangGraph):
    """The JavaScript server."""

    name = server = "langgraph-js"


class Langhost(LangGraph):
    """LangGraph's server on langhost's runtime, which keeps threads and runs in PostgreSQL and Redis."""

    name = server = "langhost"


class Aegra(LangGraph):
    """Aegra on PostgreSQL."""

    name = backend = server = "aegra"


class AgentProtocol(_ThreadDriver):
    """The legacy server, which implements the Agent Protocol itself."""

    name = backend = server = "agent-protocol"

    def thread(self) -> str:
        return str(self.client.post("/threads", json={"thread_id": str(uuid.uuid4())}).json()["thread_id"])

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        thread = on or self.thread()
        body = {"thread_id": thread, "agent_id": scenario, "input": state, "on_disconnect": "continue"}
        self.client.post("/runs/wait" if wait else "/runs", json=body).raise_for_status()
        return thread

    def status(self, thread: str) -> str:
        return str(self._thread(thread)["status"])

    def values(self, thread: str) -> dict[str, Any]:
        document = self._thread(thread)
        messages = {"messages": document["messages"]} if "messages" in document else {}
        return {**document["values"], **messages}

    def runs(self, thread: str) -> list[dict[str, Any]]:
        found = self.client.post("/runs/search", json={"thread_id": thread, "limit": 100})
        runs: list[dict[str, Any]] = found.raise_for_status().json()
        return runs

    def cancel(self, thread: str, run_id: str) -> None:
        self.client.post(f"/runs/{run_id}/cancel").raise_for_status()

    def agent_id(self, scenario: str) -> str:
        return scenario

    def _thread(self, thread: str) -> dict[str, Any]:
        document: dict[str, Any] = self.client.get(f"/threads/{thread}").raise_for_status().json()
        return document


DRIVERS: dict[str, type[Driver]] = {
    kind.name: kind for kind in (LangGraph, LangGraphOld, LangGraphJs, Langhost, Aegra, AgentProtocol)
}
"""The backends of the matrix, by name."""
