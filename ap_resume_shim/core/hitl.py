"""LangChain's human-in-the-loop questions, whose shape defines the shape of an answer.

In its mode `batched`, one question lists `action_requests`, and `review_configs` lists the `allowed_decisions` of each
action; the answer is `{"decisions": [...]}`, one for each request, in order. In its mode `per_call`, a question is
`{"type": "tool_approval", "name": ..., "args": ...}`, and the answer is one decision. A decision that the middleware
does not expect fails the step after its answer was stored, and an edit may name any tool of the agent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from ap_resume_shim.core.json_schema import Violation

TYPES = ("approve", "edit", "reject", "respond")
"""The types of decisions."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that needs a decision."""

    name: str
    args: Any
    description: Any
    allowed: Sequence[Any] = TYPES
    """The types of decisions that the question allows."""
    editable: frozenset[str] = frozenset()
    """Tools that an edit may name besides this one."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A question that asks for decisions."""

    calls: tuple[Call, ...]
    batched: bool
    """True if the answer is a list of decisions; False if it is the only decision."""


def read(question: Any) -> Approval | None:
    """Return the tool calls in a question; None for a question of another shape."""
    if not isinstance(question, dict):
        return None
    requests, configs = question.get("action_requests"), question.get("review_configs")
    if _are_named(requests, "name") and _are_named(configs, "action_name"):
        allowed = {config["action_name"]: config.get("allowed_decisions") for config in configs}
        editable = frozenset(name for name, types in allowed.items() if isinstance(types, list) and "edit" in types)
        return Approval(tuple(_call(request, allowed.get(request["name"]), editable) for request in requests), True)
    if question.get("type") == "tool_approval" and isinstance(question.get("name"), str):
        return Approval((_call(question),), False)
    return None


def violations(question: Any, answer: Any) -> list[Violation]:
    """Return the parts of an answer that the middleware certainly refuses, or that would run another tool.

    An empty list for a question of another shape.
    """
    approval = read(question)
    if approval is None:
        return []
    return list(_batched(approval.calls, answer) if approval.batched else _decision(answer, approval.calls[0], ""))


def _call(request: dict[str, Any], allowed: Any = None, editable: frozenset[str] = frozenset()) -> Call:
    types = allowed if isinstance(allowed, list) else TYPES
    return Call(request["name"], request.get("args"), request.get("description"), types, editable)


def _batched(calls: Sequence[Call], answer: Any) -> Iterator[Violation]:
    decisions = answer.get("decisions") if isinstance(answer, dict) else None
    if not isinstance(decisions, list) or len(decisions) != len(calls):
        yield Violation("decisions", f"has to be a list of one decision for each of the {len(calls)} action requests")
        return
    for index, (call, decision) in enumerate(zip(calls, decisions, strict=True)):
        yield from _decision(decision, call, f"decisions.{index}.")


def _decision(decision: Any, call: Call, path: str) -> Iterator[Violation]:
    """Check one decision: its type is allowed, and it concerns the tool call or another editable tool.

    `path` is empty or ends with a dot.
    """
    names = {call.name, *call.editable}
    if not isinstance(decision, dict) or decision.get("type") not in call.allowed:
        yield Violation(f"{path}type", f"has to be one of {', '.join(map(str, call.allowed))}")
    elif decision["type"] == "respond" and "message" not in decision:
        yield Violation(f"{path}message", "is missing")
    elif decision["type"] == "edit":
        action = decision.get("edited_action")
        if not isinstance(action, dict) or not isinstance(action.get("args"), dict):
            yield Violation(f"{path}edited_action", "has to be an action {name, args}")
        elif not isinstance(action.get("name"), str) or action["name"] not in names:
            yield Violation(f"{path}edited_action.name", f"has to be one of {', '.join(sorted(names))}")


def _are_named(items: Any, name: str) -> TypeGuard[list[dict[str, Any]]]:
    """True for a list of objects, at least one, each with a string under `name`."""
    return (
        isinstance(items, list)
        and bool(items)
        and all(isinstance(item, dict) and isinstance(item.get(name), str) for item in items)
    )
