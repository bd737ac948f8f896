"""The legacy way to each backend: how a test makes a thread, brings it to its question, and looks at it afterwards."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

import httpx

PATIENCE = 30.0
"""Seconds until something has to have happened."""


def eventually(happened: Callable[[], Any], why: str) -> Any:
    """Poll until it is true."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := happened():
            return value
        time.sleep(0.05)
    raise AssertionError(f"did not happen within {PATIENCE} s: {why}")


class Driver(Protocol):
    """A backend, as its own clients use it."""

    def thread(self) -> str:
        """A new thread."""

    def start(self, thread: str, agent: str, state: dict[str, Any], *, wait: bool = True) -> None:
        """Run an agent; with `wait`, until it stops."""

    def status(self, thread: str) -> str:
        """The thread's status."""

    def values(self, thread: str) -> dict[str, Any]:
        """The thread's values."""

    def runs(self, thread: str) -> list[dict[str, Any]]:
        """The thread's runs, the newest first."""

    def cancel(self, thread: str, run_id: str) -> None:
        """Cancel a run."""

    def exists(self, thread: str) -> bool:
        """Whether the thread is still there."""

    def agent_id(self, agent: str) -> str:
        """The id of the agent that has this name."""

    def forget(self) -> None:
        """Delete the threads that were made."""


class LangGraphDriver:
    """LangGraph's servers and Aegra."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self._threads: list[str] = []

    def thread(self) -> str:
        self._threads.append(str(self._post("/threads", {})["thread_id"]))
        return self._threads[-1]

    def start(self, thread: str, agent: str, state: dict[str, Any], *, wait: bool = True) -> None:
        self._post(f"/threads/{thread}/runs{'/wait' if wait else ''}", {"assistant_id": agent, "input": state})
        if wait:
            eventually(lambda: self.status(thread) != "busy", "the thread settles")

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

    def exists(self, thread: str) -> bool:
        return self.client.get(f"/threads/{thread}").status_code == 200

    def agent_id(self, agent: str) -> str:
        found = self._post("/assistants/search", {"graph_id": agent, "limit": 1})
        return str(found[0]["assistant_id"])

    def forget(self) -> None:
        for thread in self._threads:
            self.client.delete(f"/threads/{thread}")  # which a test may have done before

    def _get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def _post(self, path: str, body: Any) -> Any:
        return self.client.post(path, json=body).raise_for_status().json()


class AgentProtocolDriver:
    """A server of the Agent Protocol itself."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def thread(self) -> str:
        return str(self.client.post("/threads", json={"thread_id": str(uuid.uuid4())}).json()["thread_id"])

    def start(self, thread: str, agent: str, state: dict[str, Any], *, wait: bool = True) -> None:
        body = {"thread_id": thread, "agent_id": agent, "input": state, "on_disconnect": "continue"}
        self.client.post("/runs/wait" if wait else "/runs", json=body).raise_for_status()

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

    def exists(self, thread: str) -> bool:
        return self.client.get(f"/threads/{thread}").status_code == 200

    def agent_id(self, agent: str) -> str:
        return agent

    def forget(self) -> None:
        """Nothing: the server lives as long as its tests."""

    def _thread(self, thread: str) -> dict[str, Any]:
        document: dict[str, Any] = self.client.get(f"/threads/{thread}").raise_for_status().json()
        return document
