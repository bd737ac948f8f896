"""AgentOS: the session's id is the thread's."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any, ClassVar

from tests.support.driver import Driver
from tests.support.waiting import eventually

_CONTINUE = re.compile(r"/(agents|teams|workflows)/[^/]+/runs/[^/]+/continue")


class _AgentOS(Driver):
    backend = "agno"
    server = "agno"
    yes = True
    no = False
    restarts = True
    wrong = ("yes", "true", 0, 1, None, "", [], {}, {"confirmed": "yes"})
    kind: ClassVar[str]
    """Of the component, as its paths name it."""

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        """In the background, so that the run is in the database from its first moment on."""
        thread = on or str(uuid.uuid4())
        message = json.dumps({"scenario": scenario, **state})
        form = {"message": message, "session_id": thread, "stream": "false", "background": "true"}
        self.client.post(f"/{self.kind}/{self.component(scenario)}/runs", data=form).raise_for_status()
        if wait:
            eventually(lambda: self._status(thread) == "PAUSED", f"{scenario} asks")
        else:
            eventually(lambda: self._status(thread) == "RUNNING", f"{scenario} runs")
        return thread

    def resumes(self, seen: dict[str, Any]) -> bool:
        return seen["method"] == "POST" and _CONTINUE.fullmatch(str(seen["path"]).partition("?")[0]) is not None

    def agent_id(self, scenario: str) -> str | None:
        return self.component(scenario)

    def component(self, scenario: str) -> str:
        """The one that shows the scenario."""
        raise NotImplementedError

    def _status(self, thread: str) -> str | None:
        """Of the newest run that nobody else started."""
        listed = self.client.get(f"/sessions/{thread}/runs")
        runs = listed.json() if listed.is_success else []
        own = (run for run in runs if not run.get("parent_run_id"))
        return max(((run["created_at"], run["status"]) for run in own), default=(None, None))[1]


class AgnoAgent(_AgentOS):
    name = "agno"
    kind = "agents"
    shows = Driver.shows | {"ask-input", "ask-form", "ask-external", "ask-feedback"}
    asks = ("ask", "ask-input", "ask-form", "ask-external", "ask-feedback")
    typed = ("ask-input", {})

    def component(self, scenario: str) -> str:
        return "helper"


class AgnoTeam(_AgentOS):
    """A member asks; in `ask-leader` it is the leader."""

    name = "agno-team"
    kind = "teams"
    shows = Driver.shows | {"ask-leader", "ask-input", "ask-external", "ask-feedback"}
    asks = ("ask", "ask-leader", "ask-input", "ask-external", "ask-feedback")

    def component(self, scenario: str) -> str:
        return "crew"


class AgnoWorkflow(_AgentOS):
    """A workflow is stopped before a step; in `ask-agent` and `par` by the agent of a step."""

    name = "agno-workflow"
    kind = "workflows"
    shows = Driver.shows | {"ask-form", "ask-free", "ask-choice", "ask-review", "ask-agent"}
    asks = ("ask", "ask-form", "ask-free", "ask-choice", "ask-review", "ask-agent")
    typed = ("ask-form", {})

    def component(self, scenario: str) -> str:
        return scenario
