"""Mastra: workflows, which suspend in a step, and agents, which suspend in a tool call."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any, ClassVar

from tests.support.driver import Driver
from tests.support.waiting import eventually


class MastraWorkflow(Driver):
    """A thread is a run. The steps of `ask` and most others have a schema for their answers."""

    name = "mastra"
    backend = "mastra"
    server = "mastra"
    asks: ClassVar[tuple[str, ...]] = ("ask", "ask-any")
    typed: ClassVar[tuple[str, Any] | None] = ("ask", {})
    yes: ClassVar[Any] = {"approved": True}
    no: ClassVar[Any] = {"approved": False}
    wrong: ClassVar[tuple[Any, ...]] = (True, None, "yes", {}, {"approved": "yes"})
    one_at_a_time: ClassVar[bool] = True
    recognised: ClassVar[bool] = False

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        """`start-async` answers when the run has suspended or ended, `start` at once."""
        run = str(uuid.uuid4())
        workflow = f"/api/workflows/{scenario}"
        self.client.post(f"{workflow}/create-run?runId={run}", json={}).raise_for_status()
        body = {"inputData": state}
        path = f"{workflow}/{'start-async' if wait else 'start'}?runId={run}"
        self.client.post(path, json=body).raise_for_status()
        return run

    def resumes(self, seen: dict[str, Any]) -> bool:
        """Any of the four ways."""
        return seen["method"] == "POST" and bool(re.search(r"/resume(-async|-no-wait|-stream)?(\?|$)", seen["path"]))

    def agent_id(self, scenario: str) -> str | None:
        """The workflow's name."""
        return scenario


class MastraLoops(MastraWorkflow):
    """Questions that are told apart by more than a step's name: by its workflow, by the time, by an item's index."""

    name = "mastra-loops"
    shows: ClassVar[frozenset[str]] = frozenset({"ask", "two", "par"})
    asks: ClassVar[tuple[str, ...]] = ("ask",)
    wrong: ClassVar[tuple[Any, ...]] = ()
    typed = None
    spelled: ClassVar[dict[str, str]] = {"ask": "ask-nested", "two": "two-again", "par": "par-items"}

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        """The workflow of another name."""
        return super().start(self.spelled[scenario], state, wait=wait, on=on)

    def agent_id(self, scenario: str) -> str | None:
        """That name."""
        return self.spelled[scenario]


class MastraAgent(Driver):
    """A thread is a thread of the agent's memory. `ask` is a tool that has to be approved.

    Tool calls that may suspend run one after the other, so that one run asks one question at a time. But nothing
    keeps a thread from having two runs that wait: `par`.
    """

    name = "mastra-agent"
    backend = "mastra-agent"
    server = "mastra"
    # A run that never suspended is neither stored nor listed while it goes on: `slow` looks like a thread at rest.
    shows: ClassVar[frozenset[str]] = Driver.shows - {"slow"}
    asks: ClassVar[tuple[str, ...]] = ("ask", "ask-any", "ask-name")
    typed: ClassVar[tuple[str, Any] | None] = ("ask-name", {})
    yes: ClassVar[Any] = True
    no: ClassVar[Any] = False
    restarts: ClassVar[bool] = True
    wrong: ClassVar[tuple[Any, ...]] = (None, 0, "yes", {}, {"approved": "yes"})
    one_at_a_time: ClassVar[bool] = True
    recognised: ClassVar[bool] = False

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        """`generate` answers when the run has suspended or ended, `send-message` at once."""
        thread = on or str(uuid.uuid4())
        for told in ("ask", "ask") if scenario == "par" else (scenario,):
            message = json.dumps({"scenario": told, **state})
            if wait:
                body: dict[str, Any] = {"messages": message, "memory": {"thread": thread, "resource": "tests"}}
                self.client.post("/api/agents/helper/generate", json=body).raise_for_status()
            else:
                body = {"message": message, "threadId": thread, "resourceId": "tests"}
                self.client.post("/api/agents/helper/send-message", json=body).raise_for_status()
        # Not before its agent has a thread is there a thread.
        eventually(lambda: self.client.get(f"/api/memory/threads/{thread}").is_success, "the thread begins")
        return thread

    def resumes(self, seen: dict[str, Any]) -> bool:
        """Approvals have ways of their own."""
        ways = r"/(resume-stream|send-tool-approval|(approve|decline)-tool-call)"
        return seen["method"] == "POST" and bool(re.search(ways, seen["path"]))

    def agent_id(self, scenario: str) -> str | None:
        """One agent for all scenarios."""
        return "helper"
