"""Reads the questions of a paused AgentOS run: those of its agents' tools, or of the next step."""

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
"""The form of a question's id: the id of a tool's requirement, or of a step with its number and its retries."""
_TOOL_FIELDS = ("tool_name", "tool_args", "user_input_schema", "user_feedback_schema")
_STEP_FIELDS = (
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
    """A question of a paused run."""

    interrupt: Interrupt
    part: Part
    """The part of the run that the answer changes."""
    write: Callable[[Part, Any], Part]
    """Returns the change for an answer. Raises `UnsupportedInput` if the answer does not fit."""

    @property
    def id(self) -> str:
        """The question's id, which is unique."""
        return str(self.interrupt.id)

    def answered(self, value: Any) -> Part:
        """Return the part with the answer in it. Raises `InvalidAnswer` or `UnsupportedInput`."""
        check_answer(self.interrupt, value)
        return {**self.part, **self.write(self.part, value)}


def questions_of(run: Mapping[str, Any], now: str) -> tuple[AgnoQuestion, ...]:
    """Return the questions in a run, or in the event of its pause."""
    if "step_requirements" not in run:
        return _of_tools(run.get("requirements"))
    step = current_step(run)
    if step.get("requires_executor_input"):
        return _of_tools(step.get("executor_requirements"))
    if not needs_of(step) or has_expired(step, now):
        return ()
    about = {"kind": _kind_of_step(step), **_visible(step, _STEP_FIELDS)}
    question_id = step_id(step, len(run["step_requirements"]))
    return (AgnoQuestion(Interrupt(question_id, about, of_step(step), step.get("timeout_at")), step, write_step),)


def current_step(run: Mapping[str, Any]) -> Part:
    """Return the current step requirement of a workflow.

    Earlier requirements are history; a repeated step has the same id.
    """
    required: list[Part] = run.get("step_requirements") or []
    return required[-1] if required else {}


def step_id(step: Part, number: int) -> str:
    """Return the id of a step's question: with its number, since a repeated step has the same id, and its retries."""
    return f"{step.get('step_id')}:{number}.{step.get('retry_count') or 0}"


def has_expired(step: Part, now: str) -> bool:
    """True if the step has timed out: the server continues with its `on_timeout`, whatever the answer is."""
    until = step.get("timeout_at")
    return until is not None and datetime.fromisoformat(until) <= datetime.fromisoformat(now)


def _of_tools(requirements: Iterable[Part] | None) -> tuple[AgnoQuestion, ...]:
    """Return the questions of tools. Their ids are those of the requirements, since ids of tool calls may repeat."""
    questions = []
    for requirement in requirements or []:
        tool = requirement.get("tool_execution") or {}
        kind = _kind_of_tool(tool)
        if kind is not None:
            about = {"kind": kind, **_visible(tool, _TOOL_FIELDS), **_visible(requirement, ("member_agent_id",))}
            asked_at = requirement.get("created_at")
            interrupt = Interrupt(requirement["id"], about, of_tool(kind, tool), asked_at=asked_at)
            questions.append(AgnoQuestion(interrupt, requirement, _into(kind)))
    return tuple(questions)


def _into(kind: str) -> Callable[[Part, Any], Part]:
    """Return a function that writes the answer into the requirement and into its tool.

    Teams read either of them, agents only the tool.
    """

    def write(requirement: Part, value: Any) -> Part:
        tool: Part = requirement["tool_execution"]
        change = TOOLS[kind](tool, value)
        in_requirement = {_BESIDE[name]: change[name] for name in _BESIDE if name in change}
        return {"tool_execution": {**tool, **change}, **in_requirement}

    return write


_BESIDE = {
    "confirmed": "confirmation",
    "confirmation_note": "confirmation_note",
    "result": "external_execution_result",
    "user_input_schema": "user_input_schema",
    "user_feedback_schema": "user_feedback_schema",
}
"""Names of the parts of an answer in a requirement, by their names in the execution of its tool."""


def _kind_of_tool(tool: Part) -> str | None:
    """Return what a tool waits for; None if it waits for nothing, or for an administrator."""
    if tool.get("approval_type") == "required":
        return None
    if tool.get("requires_confirmation") and tool.get("confirmed") is None:
        return "confirmation"
    if tool.get("external_execution_required") and tool.get("result") is None:
        return "external_execution"
    if tool.get("requires_user_input") and not tool.get("answered"):
        return "user_feedback" if tool.get("user_feedback_schema") else "user_input"
    return None


def is_answered(tool: Part) -> bool:
    """True if a tool that waited has its answer."""
    waited = any(tool.get(name) for name in _WAITS)
    return waited and tool.get("approval_type") != "required" and _kind_of_tool(tool) is None


_WAITS = ("requires_confirmation", "external_execution_required", "requires_user_input")


def _kind_of_step(step: Part) -> str:
    if step.get("requires_output_review"):
        return "output_review"
    return {"confirmed": "confirmation", "selected_choices": "route_selection"}.get(needs_of(step)[0], "user_input")


def _visible(part: Part, names: tuple[str, ...]) -> Part:
    return {name: part[name] for name in names if part.get(name)}
