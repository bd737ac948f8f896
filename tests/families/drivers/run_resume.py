"""Servers whose resume is a POST to the run: AGNTCY's, agentseek, Duragraph, and hobby servers; and Langrove."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import httpx

from tests.support.driver import Driver
from tests.support.waiting import PATIENCE, eventually


class _RunResume(Driver):
    """Threads have runs, and the waiting run is resumed."""

    threads: ClassVar[str] = "/threads"
    assistant: ClassVar[str] = "scenarios"
    resumed_at: ClassVar[str] = r"/runs/[^/]+/resume"
    metadata: ClassVar[dict[str, Any]] = {}

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        thread_id = on or self.thread()
        self.run(thread_id, {"scenario": scenario, **state})
        if wait:
            eventually(lambda: "interrupted" in self.statuses(thread_id), f"{scenario} asks")
        return thread_id

    def thread(self) -> str:
        """A new one."""
        created = self.client.post(self.threads, json={"metadata": self.metadata}).raise_for_status()
        return str(created.json()["thread_id"])

    def run(self, thread_id: str, given: dict[str, Any]) -> None:
        """Start a run with this input."""
        body = {"assistant_id": self.assistant, "input": given}
        self.client.post(f"{self.threads}/{thread_id}/runs", json=body).raise_for_status()

    def statuses(self, thread_id: str) -> list[str]:
        """Of the thread's runs."""
        runs = self.client.get(f"{self.threads}/{thread_id}/runs").raise_for_status().json()
        return [run["status"] for run in runs]

    def resumes(self, seen: dict[str, Any]) -> bool:
        return seen["method"] == "POST" and bool(re.search(f"{self.resumed_at}$", seen["path"]))


class Agntcy(_RunResume):
    """One agent, which plays every scenario."""

    name = backend = server = "agntcy"
    ids = False
    # Of several questions it tells the first (adapters/langgraph.py), which hides the others.
    shows = Driver.shows - {"par"}
    # Its cancel is not implemented (500).
    cancels = False
    assistant = "6a1f4d0e-93b5-4a44-8d7e-0c5b1e2f7a90"
    resumed_at = r"^/runs/(?!wait$|stream$|search$)[^/]+"
    yes = {"approved": True}
    no = {"approved": False}
    wrong = ({"approved": "perhaps"}, "yes", 5, ["yes"])

    def thread(self) -> str:
        """A new one."""
        created = self.client.post(self.threads, json={"metadata": self.metadata}).raise_for_status()
        return str(created.json()["thread_id"])

    def run(self, thread_id: str, given: dict[str, Any]) -> None:
        """By the only route that makes one, which answers when the run asks, with a 500 (as recorded)."""
        body = {"agent_id": self.assistant, "input": given, "config": {"configurable": {}}}
        try:
            self.client.post(f"/threads/{thread_id}/runs/wait", json=body, timeout=httpx.Timeout(PATIENCE, read=0.2))
        except httpx.ReadTimeout:
            pass  # the run goes on without us
        eventually(lambda: self.statuses(thread_id), "the run is there")

    def agent_id(self, scenario: str) -> str | None:
        return self.assistant


class Agentseek(_RunResume):
    """One graph, which plays every scenario."""

    name = backend = server = "agentseek"
    # Of several questions the run tells one, with its id; the thread tells all of them, without.
    shows = Driver.shows - {"par"}
    # Its cancel marks the run, whose agent goes on to its end.
    cancels = False
    restarts = True

    def agent_id(self, scenario: str) -> str | None:
        runs: list[dict[str, Any]] = self.client.post("/assistants/search", json={"graph_id": "scenarios"}).json()
        return str(runs[0]["assistant_id"])


class Langrove(_RunResume):
    """One graph, which plays every scenario. A resume is a stream."""

    name = backend = server = "langrove"
    resumed_at = "/runs/stream"
    restarts = True

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        thread_id, body = (
            on or self.thread(),
            {"assistant_id": self.assistant, "input": {"scenario": scenario, **state}},
        )
        try:
            limit = httpx.Timeout(PATIENCE, read=PATIENCE if wait else 0.2)
            self.client.post(f"/threads/{thread_id}/runs/wait", json=body, timeout=limit).raise_for_status()
        except httpx.ReadTimeout:
            pass  # the run goes on without us
        return thread_id

    def agent_id(self, scenario: str) -> str:
        found: list[dict[str, Any]] = self.client.post("/assistants/search", json={"graph_id": "scenarios"}).json()
        return str(found[0]["assistant_id"])


class Duragraph(_RunResume):
    """One graph, which plays every scenario."""

    name = backend = server = "duragraph"
    agents = ids = False
    # A run stops at one node at a time.
    shows = Driver.shows - {"par"}
    threads = "/api/v1/threads"


class _Hobby(_RunResume):
    server = "hobby"
    # Which of several questions an answer is for cannot be said.
    shows = Driver.shows - {"par"}
    # They have no route that stops a run.
    agents = ids = False
    cancels = False
    recognised = False


class HobbyValues(_Hobby):
    """Takes `{"values": answer}`, and answers with the stream of a new run."""

    name = "hobby-values"
    backend = "run-resume-stream"
    resume_at = "/values"
    # Whoever leaves the stream ends the run.
    cancels = True
    metadata = {"server": "values"}


class HobbyInput(_Hobby):
    """Takes `{"input": answer}`, and answers when the new run has ended."""

    name = "hobby-input"
    backend = "run-resume-wait"
    resume_at = "/input"
    # An agent that fails is a 500 of the resume itself.
    shows = _Hobby.shows - {"boom"}
    metadata = {"server": "input"}


class HobbyResume(_Hobby):
    """Takes `{"resume": answer}`, and answers at once."""

    name = "hobby-resume"
    backend = "run-resume"
    metadata = {"server": "resume"}


class HobbyBody(_Hobby):
    """Takes the answer as the whole body, and answers at once."""

    name = "hobby-body"
    backend = "run-resume-body"
    metadata = {"server": "body"}
    yes = {"answer": "yes"}
    no = {"answer": "no"}
    wrong = ("yes", 5, ["yes"])
