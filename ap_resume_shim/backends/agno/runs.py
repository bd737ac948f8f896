"""The runs of AgentOS that a lookup finds: where they are, and what they wait for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.backends.agno.questions import AgnoQuestion, current_step
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.http import segment


@dataclass(frozen=True, slots=True)
class Place:
    """The location of a run: its component and its id."""

    kind: str
    component: str
    run_id: str
    created_at: str | None = None

    @property
    def path(self) -> str:
        """The path of the run."""
        return f"/{self.kind}/{segment(self.component)}/runs/{segment(self.run_id)}"


@dataclass(frozen=True, slots=True)
class Paused:
    """A paused run, and its questions."""

    place: Place
    run: dict[str, Any]
    questions: tuple[AgnoQuestion, ...]
    expired: bool
    """True if its question has expired: the server continues with the step's `on_timeout`, whatever the answer is."""

    def fields(self, answers: Mapping[str | None, Any]) -> dict[str, str]:
        """Return the form fields: the server's questions with the answers in them.

        All questions need an answer, because the server rejects the others.
        """
        answered = {each.id: each.answered(answers[each.id]) for each in self.questions if each.id in answers}
        if not answered:
            return {}
        if self.place.kind == "agents":
            return {"tools": _text([requirement["tool_execution"] for requirement in answered.values()])}
        if self.place.kind == "teams":
            return {"requirements": _text(list(answered.values()))}
        step = current_step(self.run)
        if step.get("requires_executor_input"):
            requirements = [answered.get(each["id"], each) for each in step["executor_requirements"]]
            step = {**step, "executor_requirements": requirements}
        else:
            (step,) = answered.values()
        return {"step_requirements": _text([*self.run["step_requirements"][:-1], step])}


@dataclass(frozen=True, slots=True)
class AgnoContext:
    """The runs that a lookup found."""

    paused: tuple[Paused, ...] = ()
    """The paused runs; after `prepare`, only the one that is resumed."""
    place: Place | None = None
    """The location of the thread's run, if it is known."""


def _text(value: Any) -> str:
    return strictjson.dumps(value).decode()
