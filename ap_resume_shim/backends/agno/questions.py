"""What a paused run of AgentOS asks: the tools of its agents, or the step that comes next."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ap_resume_shim.backends.agno.answer import TOOLS, Part, needs_of, write_step
from ap_resume_shim.backends.agno.schema import of_step, of_tool
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.json_values import UUID
from ap_resume_shim.core.typed_answers import check_answer

QUESTION_ID = re.compile(UUID.pattern + r"(:\d+\.\d+)?")
"""The id of a question: that of a tool's requirement, or of a step with its number and its retries."""
_TOLD_OF_TOOLS = ("tool_name", "tool_args", "user_input_schema", "user_feedback_schema")
_TOLD_OF_STEPS = (
    "step_name",
    "confirmation_message",
    "user_input_message",
    "user_input_schema",
    "available_choices",
    "allow_multiple_selections",
    "step_output",
)


@dataclass(frozen=True, slots=True)
class AgnoQuestion:
    """A question of a run that is paused."""

    interrupt: Interrupt
    part: Part
    """Where the answer goes."""
    write: Callable[[Part, Any], Part]
    """What an answer changes there. Raises `UnsupportedInput` where it does not fit."""

    @property
    def id(self) -> str:
        """Another for each question."""
        return str(self.interrupt.id)

    def answered(self, value: Any) -> Part:
        """The part, with the answer in it. Raises `InvalidAnswer` or `UnsupportedInput`."""
        check_answer(self.interrupt, value)
        return {**self.part, **self.write(self.part, value)}


def questions_of(run: Mapping[str, Any], now: str) -> tuple[AgnoQuestion, ...]:
    """What a run asks, as the run itself tells it, or the event of its pause."""
    if "step_requirements" not in run:
        return _of_tools(run.get("requirements"))
    step = current_step(run)
    if step.get("requires_executor_input"):
        return _of_tools(step.get("executor_requirements"))
    if not needs_of(step) or has_expired(step, now):
        return ()
    about = {"kind": _kind_of_step(step), **_shown(step, _TOLD_OF_STEPS)}
    asked = f"{step['step_id']}:{len(run['step_requirements'])}.{step.get('retry_count') or 0}"
    return (AgnoQuestion(Interrupt(asked, about, of_step(step), step.get("timeout_at")), step, write_step),)


def current_step(run: Mapping[str, Any]) -> Part:
    """What a workflow requires now: those before are history, and have the same id where a step comes again."""
    required: list[Part] = run.get("step_requirements") or []
    return required[-1] if required else {}


def has_expired(step: Part, now: str) -> bool:
    """Whether the server would do as `on_timeout` says, whatever the answer is."""
    until = step.get("timeout_at")
    return until is not None and datetime.fromisoformat(until) <= datetime.fromisoformat(now)


def _of_tools(requirements: Iterable[Part] | None) -> tuple[AgnoQuestion, ...]:
    """By the ids of the requirements: those of tool calls come from the model, and may repeat."""
    asked = []
    for requirement in requirements or []:
        tool = requirement.get("tool_execution") or {}
        kind = _kind_of_tool(tool)
        if kind is not None:
            about = {"kind": kind, **_shown(tool, _TOLD_OF_TOOLS), **_shown(requirement, ("member_agent_id",))}
            asked.append(
                AgnoQuestion(Interrupt(requirement["id"], about, of_tool(kind, tool)), requirement, _into(kind))
            )
    return tuple(asked)


def _into(kind: str) -> Callable[[Part, Any], Part]:
    """The answer stands in the requirement as well as in its tool; teams read either, agents the tool's alone."""

    def write(requirement: Part, value: Any) -> Part:
        tool: Part = requirement["tool_execution"]
        change = TOOLS[kind](tool, value)
        beside = {_BESIDE[name]: change[name] for name in _BESIDE if name in change}
        return {"tool_execution": {**tool, **change}, **beside}

    return write


_BESIDE = {
    "confirmed": "confirmation",
    "confirmation_note": "confirmation_note",
    "result": "external_execution_result",
    "user_input_schema": "user_input_schema",
    "user_feedback_schema": "user_feedback_schema",
}
"""What the parts of an answer are called in a requirement, by what they are called in the execution of its tool."""


def _kind_of_tool(tool: Part) -> str | None:
    """What it waits for; None where it waits for nothing, or for an administrator."""
    if tool.get("approval_type") == "required":
        return None
    if tool.get("requires_confirmation") and tool.get("confirmed") is None:
        return "confirmation"
    if tool.get("external_execution_required") and tool.get("result") is None:
        return "external_execution"
    if tool.get("requires_user_input") and not tool.get("answered"):
        return "user_feedback" if tool.get("user_feedback_schema") else "user_input"
    return None


def _kind_of_step(step: Part) -> str:
    if step.get("requires_output_review"):
        return "output_review"
    return {"confirmed": "confirmation", "selected_choices": "route_selection"}.get(needs_of(step)[0], "user_input")


def _shown(part: Part, names: tuple[str, ...]) -> Part:
    return {name: part[name] for name in names if part.get(name)}
