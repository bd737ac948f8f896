"""LangChain's human-in-the-loop questions, whose shape defines the shape of an answer.

In its mode `batched`, one question lists `action_requests`, and `review_configs` lists the `allowed_decisions` of each
action; the answer is `{"decisions": [...]}`, one for each request, in order. In its mode `per_call`, a question is
`{"type": "tool_approval", "name": ..., "args": ...}`, and the answer is one decision. A decision that the middleware
does not expect fails the step after its answer was stored, and an edit may name any tool of the agent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

from ap_resume_shim.core.json_schema import Violation

_TYPES = ("approve", "edit", "reject", "respond")


def violations(question: Any, answer: Any) -> list[Violation]:
    """Return the parts of an answer that the middleware certainly refuses, or that would run a tool not asked about.

    An empty list for a question of another shape.
    """
    if not isinstance(question, dict):
        return []
    requests, configs = question.get("action_requests"), question.get("review_configs")
    if _are_named(requests, "name") and _are_named(configs, "action_name"):
        return list(_batched(requests, configs, answer))
    if question.get("type") == "tool_approval" and isinstance(question.get("name"), str):
        return list(_decision(answer, _TYPES, {question["name"]}, ""))
    return []


def _batched(requests: list[dict[str, Any]], configs: list[dict[str, Any]], answer: Any) -> Iterator[Violation]:
    decisions = answer.get("decisions") if isinstance(answer, dict) else None
    if not isinstance(decisions, list) or len(decisions) != len(requests):
        yield Violation(
            "decisions", f"has to be a list of one decision for each of the {len(requests)} action requests"
        )
        return
    allowed = {config.get("action_name"): config.get("allowed_decisions") for config in configs}
    editable = {name for name, types in allowed.items() if isinstance(types, list) and "edit" in types}
    for index, (request, decision) in enumerate(zip(requests, decisions, strict=True)):
        types, name = allowed.get(request.get("name")), request.get("name")
        yield from _decision(
            decision, types if isinstance(types, list) else _TYPES, {name, *editable}, f"decisions.{index}."
        )


def _decision(decision: Any, types: Sequence[Any], names: set[Any], path: str) -> Iterator[Violation]:
    """Check one decision: its type is allowed, and it concerns one of the named actions.

    `path` is empty or ends with a dot.
    """
    if not isinstance(decision, dict) or decision.get("type") not in types:
        yield Violation(f"{path}type", f"has to be one of {', '.join(map(str, types))}")
    elif decision["type"] == "respond" and "message" not in decision:
        yield Violation(f"{path}message", "is missing")
    elif decision["type"] == "edit":
        action = decision.get("edited_action")
        if not isinstance(action, dict) or not isinstance(action.get("args"), dict):
            yield Violation(f"{path}edited_action", "has to be an action {name, args}")
        elif not isinstance(action.get("name"), str) or action["name"] not in names:
            yield Violation(f"{path}edited_action.name", f"has to be one of {', '.join(sorted(map(str, names)))}")


def _are_named(items: Any, name: str) -> TypeGuard[list[dict[str, Any]]]:
    """True for a list of objects, at least one, each with a string under `name`."""
    return (
        isinstance(items, list)
        and bool(items)
        and all(isinstance(item, dict) and isinstance(item.get(name), str) for item in items)
    )
