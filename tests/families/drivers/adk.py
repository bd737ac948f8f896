"""Google ADK's api server: a session of an app, and of a user."""

from __future__ import annotations

import json
from contextlib import suppress
from threading import Thread
from typing import Any, ClassVar

import httpx

from tests.support.driver import Driver
from tests.support.waiting import eventually


class Adk(Driver):
    """Questions of an agent's own tool, of a tool that wants to be confirmed, and of a workflow."""

    name = "adk"
    backend = "adk"
    server = "adk"
    asks: ClassVar[tuple[str, ...]] = ("ask", "ask-confirm", "ask-input", "ask-number")
    typed: ClassVar[tuple[str, Any] | None] = ("ask-number", [])
    restarts = True
    app: ClassVar[str] = "questions"
    tool: ClassVar[str] = "question"
    spelled: ClassVar[dict[str, str]] = {}
    """What the agent calls a scenario, where it differs."""

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        """A session with one run. Without `wait` a thread stays with it: the server stops a run whose client leaves."""
        app = self.agent_id(scenario)
        sessions = f"/apps/{app}/users/user/sessions"
        session_id = on or str(self.client.post(sessions).raise_for_status().json()["id"])
        tool = "deed" if scenario == "ask-confirm" else self.tool
        said = json.dumps({"scenario": self.spelled.get(scenario, scenario), **state, "tool": tool})
        message = {"role": "user", "parts": [{"text": said}]}
        body = {"appName": app, "userId": "user", "sessionId": session_id, "newMessage": message}
        if wait:
            self.client.post("/run", json=body).raise_for_status()
        else:
            Thread(target=self.stay, args=(body,), daemon=True).start()
            session = f"{sessions}/{session_id}"
            eventually(lambda: self.client.get(session).raise_for_status().json()["events"], "the run begins")
        return session_id

    def stay(self, body: dict[str, Any]) -> None:
        """Wait for a run, unless the server is gone before it ends."""
        with suppress(httpx.HTTPError):
            self.client.post("/run", json=body)

    def resumes(self, seen: dict[str, Any]) -> bool:
        """A run, whose message is no text; or none, and the run's id, to go on with it."""
        if seen["method"] != "POST" or seen["path"] not in ("/run", "/run_sse"):
            return False
        return not any("text" in part for part in seen["body"].get("newMessage", {}).get("parts", []))

    def agent_id(self, scenario: str) -> str:
        """The app."""
        return "workflow" if scenario in ("ask-input", "ask-number") else self.app


class AdkResumable(Adk):
    """An app with ADK's resumability, which marks the ends of its runs; its questions are confirmations."""

    name = "adk-resumable"
    asks = ("ask",)
    yes = True
    no = False
    wrong: ClassVar[tuple[Any, ...]] = (
        None,
        "yes",
        1,
        [],
        {},
        {"yes": True},
        {"confirmed": "yes"},
        {"confirmed": None},
    )
    app = "resumable"
    tool = "deed"
    typed = None


class AdkInputs(Adk):
    """Both questions of `par` are calls of ADK's own tool: with resumability the agent waits for both answers."""

    name = "adk-inputs"
    shows = frozenset({"ask", "par"})
    asks = ("ask",)
    app = "resumable"
    tool = "adk_request_input"
    typed = None


class AdkBranches(AdkResumable):
    """Two agents of a `ParallelAgent` ask, with resumability: an agent hears the answers of its own branch."""

    name = "adk-branches"
    shows = frozenset({"par"})
    wrong: ClassVar[tuple[Any, ...]] = ()
    app = "branches"
    one_at_a_time = True
    spelled = {"par": "ask"}


class AdkFork(Adk):
    """Two nodes of a workflow ask side by side, and it waits for both answers."""

    name = "adk-fork"
    shows = frozenset({"par"})
    app = "fork"
    typed = None
    spelled = {"par": "ask"}

    def agent_id(self, scenario: str) -> str:
        """The app."""
        return self.app
