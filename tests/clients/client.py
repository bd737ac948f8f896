"""A client, and what its user sees of a refused answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tests.clients.program import Program

WHY = ("The same answer came a moment ago, most likely a double click", "Another resume of this thread came first")
"""The reasons for which the second of two clicks is refused, whichever of them applies first."""


@dataclass(frozen=True)
class Client:
    """How a client answers, and the exception that its user sees for a refused answer."""

    program: str
    raises: str
    """The class of the exception, and the beginning of its text."""
    function: str = "answer"
    arguments: dict[str, Any] = field(default_factory=dict)
    server: str = "langgraph"
    options: tuple[str, ...] = ("--backend", "langgraph")
    """Of the sidecar."""
    path: str = ""
    """The path of the agent."""
    reason: Literal["text", "traceback", "response", "nowhere"] = "text"
    """Where the exception has the reason."""
    yes: Any = "yes"
    """The answer, as the agent receives it."""

    def answer(self, run: Program, url: str, count: int, pause: int = 0, **arguments: Any) -> Any:
        """Start an agent that asks, and click `count` times on the answer, with pauses in milliseconds."""
        given = {**self.arguments, **arguments, "count": count, "pause": pause}
        return run.call(self.function, url=f"{url}{self.path}", **given)

    def shows(self, error: dict[str, Any], *reasons: str) -> None:
        """Assert that an exception is the one for a refusal, and has one of the reasons."""
        assert f"{error['class']}: {error['text']}".startswith(self.raises), error
        found = error.get(self.reason) or ""
        assert self.reason == "nowhere" or any(reason in found for reason in reasons), error


def refused(outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The exceptions among the outcomes of clicks."""
    return [outcome["error"] for outcome in outcomes if "error" in outcome]
