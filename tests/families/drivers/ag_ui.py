"""AG-UI: runs are streams of their agent's endpoint, and nothing else can be asked."""

from __future__ import annotations

import json
import threading
import uuid
from contextlib import suppress
from typing import Any, ClassVar

import httpx

from tests.support.driver import Driver


class AgUi(Driver):
    """What all adapters have in common."""

    backend = "ag-ui"
    fresh = has_lookup = False
    restarts = keeps_contents = True
    path: ClassVar[str] = "/"

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        """A run is as long as its stream is read: without `wait`, a thread goes on reading it."""
        thread_id = on or str(uuid.uuid4())
        told = json.dumps({"scenario": scenario, **state})
        run = {
            "threadId": thread_id,
            "runId": str(uuid.uuid4()),
            "state": {},
            "messages": [{"id": str(uuid.uuid4()), "role": "user", "content": told}],
            "tools": [],
            "context": [],
            "forwardedProps": {},
        }
        begun = threading.Event()
        reader = threading.Thread(target=self._read, args=(run, begun), daemon=True)
        reader.start()
        begun.wait(10)
        if wait:
            reader.join(30)
        return thread_id

    def _read(self, run: dict[str, Any], begun: threading.Event) -> None:
        with suppress(httpx.HTTPError):  # of tests that end before their run
            self._read_all(run, begun)

    def _read_all(self, run: dict[str, Any], begun: threading.Event) -> None:
        headers = {"accept": "text/event-stream"}
        with self.client.stream("POST", self.path, json=run, headers=headers, timeout=60) as answer:
            answer.raise_for_status()
            for _ in answer.iter_lines():
                begun.set()

    def resumes(self, seen: dict[str, Any]) -> bool:
        """By entries of `resume`, or by the older `command` of the forwarded properties."""
        body = seen["body"]
        if seen["method"] != "POST" or not isinstance(body, dict):
            return False
        command = (body.get("forwardedProps") or {}).get("command") or {}
        return bool(body.get("resume")) or "resume" in command

    def agent_id(self, scenario: str) -> str | None:
        """Agents have no names but their endpoints."""
        return self.path.strip("/") or None


class LangGraph(AgUi):
    """The adapter as it is installed: interrupts in a CUSTOM event alone."""

    name = "ag-ui-langgraph"
    agents = False  # its endpoint is `/`
    server = "ag-ui-langgraph"


class LangGraphOutcome(LangGraph):
    """Interrupts in the outcome of RUN_FINISHED too."""

    name = "ag-ui-langgraph-outcome"
    agents = True
    path = "/outcome"
    shows = Driver.shows | {"ask-typed", "ask-expired"}
    typed = ("ask-typed", "green")
    options: ClassVar[dict[str, str]] = {"path": "/outcome"}


class Strands(AgUi):
    """Interrupts in the outcome; all of a thread's must be answered at once."""

    name = "ag-ui-strands"
    agents = False
    server = "ag-ui-strands"
    asks: ClassVar[tuple[str, ...]] = ("ask", "ask-approval")
    typed = ("ask-approval", {})


class AgentFramework(AgUi):
    """A workflow: all of a thread's questions at once, and answers must have the type that the question names."""

    name = "ag-ui-agent-framework"
    agents = False
    server = "ag-ui-agent-framework"
    asks: ClassVar[tuple[str, ...]] = ("ask", "ask-text", "ask-object", "ask-yes")
    typed = ("ask-object", "yes")


class AgentFrameworkAgent(AgUi):
    """An agent whose tool is approved or not; it has no memory but what a run brings along."""

    name = "ag-ui-agent-framework-agent"
    server = "ag-ui-agent-framework"
    path = "/agent"
    mixes = False  # of a mixture it hears neither, and takes no further answer
    yes: ClassVar[Any] = {"approved": True}
    no: ClassVar[Any] = {"approved": False}
    wrong: ClassVar[tuple[Any, ...]] = (True, "yes", {}, {"approved": "yes"})
