"""An ACP server: its runs belong to sessions, and either can be what `thread_id` names."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from tests.support.driver import Driver


class Acp(Driver):
    """`thread_id` is a session. It does not tell its runs: the shim has to have seen them."""

    name = "acp"
    backend = "acp"
    server = "acp"
    one_at_a_time = True  # each question is one of a run of its own
    restarts = True
    fresh = False
    cancels = False  # the run is cancelled, but the agent goes on to what it says next

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        """A session with one run; with two where two questions are to wait at once, as a run asks one at a time."""
        session = on or str(uuid.uuid4())
        for _ in range(2 if scenario == "par" else 1):
            self.run(scenario, state, wait, session_id=session)
        return session

    def run(self, scenario: str, state: dict[str, Any], wait: bool, **more: str) -> dict[str, Any]:
        """Start a run; with `wait`, until it asks."""
        said = {"content_type": "application/json", "content": json.dumps(state)}
        message = {"role": "user", "parts": [said]}
        body = {"agent_name": self.agent_id(scenario), "input": [message], "mode": "sync" if wait else "async", **more}
        run: dict[str, Any] = self.client.post("/runs", json=body).raise_for_status().json()
        return run

    def resumes(self, seen: dict[str, Any]) -> bool:
        """`POST /runs/{run_id}`."""
        return seen["method"] == "POST" and re.fullmatch(r"/runs/[^/]+", seen["path"]) is not None

    def agent_id(self, scenario: str) -> str:
        """Agents have the names of the scenarios."""
        return "ask" if scenario == "par" else scenario


class AcpRun(Acp):
    """`thread_id` is a run."""

    name = "acp-run"
    options = {"thread": "run"}
    restarts, fresh = False, True
    shows = Driver.shows - {"par"}  # an agent that has asked is suspended until it has its answer

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        """A run, in a session of its own."""
        return str(self.run(scenario, state, wait)["run_id"])
