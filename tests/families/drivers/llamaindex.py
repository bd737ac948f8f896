"""LlamaIndex's workflow server: a workflow for each scenario, a handler for each thread."""

from __future__ import annotations

from typing import Any

from tests.support.driver import Driver


class LlamaIndex(Driver):
    """Answers are events, posted to the handler."""

    name = "llamaindex"
    backend = "llamaindex"
    server = "llamaindex"
    options = {"event": "QuestionA:AnswerA, QuestionB:AnswerB"}
    asks = ("ask", "ask-wait", "ask-form")
    wrong = ("not an answer",)
    one_at_a_time = True
    restarts = True
    recognised = False

    def start(self, scenario: str, state: dict[str, Any], *, wait: bool = True, on: str | None = None) -> str:
        """The thread is the handler."""
        body: dict[str, Any] = {"start_event": state, **({} if on is None else {"handler_id": on})}
        answer = self.client.post(f"/workflows/{scenario}/run-nowait", json=body)
        answer.raise_for_status()
        handler: str = answer.json()["handler_id"]
        if wait:
            self.waits(handler)
        return handler

    def waits(self, handler: str) -> None:
        """Read the log until it says that nothing is left to be done, as a run that waits says."""
        whole_log = {"sse": "false", "after_sequence": "-1", "include_internal": "true"}
        with self.client.stream("GET", f"/events/{handler}", params=whole_log) as log:
            assert any('"WorkflowIdleEvent"' in line for line in log.iter_lines()), handler

    def resumes(self, seen: dict[str, Any]) -> bool:
        """Every event that is posted."""
        return bool(seen["method"] == "POST" and seen["path"].startswith("/events/"))

    def agent_id(self, scenario: str) -> str | None:
        """The workflow's name."""
        return scenario
