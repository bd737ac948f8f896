"""LangChain's shapes: the two modes of its human-in-the-loop middleware, and agent-inbox's `HumanInterrupt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ap_resume_shim.core import hitl, strictjson
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.questions.model import Action, Question
from ap_resume_shim.core.questions.prompts import text_in
from ap_resume_shim.core.questions.schemas import resolved, variants
from ap_resume_shim.core.questions.template import ARGS, MESSAGE, Template, placeholder


def approval(interrupt: Interrupt) -> Question | None:
    """Return the question of the middleware, in either mode; None for another shape."""
    read = hitl.read(interrupt.value)
    if read is None:
        return None
    if read.batched:
        actions = tuple(_action(call, call.allowed) for call in read.calls)
        return _approval(actions, {"decisions": placeholder("decisions")})
    allowed = _allowed(interrupt.response_schema)
    edited = _arguments(allowed.get("edit"), interrupt.response_schema)
    return _approval((_action(read.calls[0], tuple(allowed) or _MOST_ALLOWED, edited),), placeholder("decision"))


_MOST_ALLOWED = ("approve", "reject")
"""The decisions to offer where the server drops the schema, as Aegra does: another one may fail the run for good."""


def agent_inbox(interrupt: Interrupt) -> Question | None:
    """Return the question of a `HumanInterrupt`: in a list of one, bare, or as JSON text; None for another shape.

    The answer is in a list if the question is.
    """
    value = _parsed(interrupt.value)
    match value:
        case [request]:
            answer: Template = [placeholder("decision")]
        case request:
            answer = placeholder("decision")
    match request:
        case {"action_request": {"action": str(name), **about}, "config": dict(config)}:
            decisions = {
                key: template
                for flag, key, template in (
                    ("allow_accept", "approve", {"type": "accept", "args": None}),
                    ("allow_edit", "edit", {"type": "edit", "args": {"action": name, "args": ARGS}}),
                    ("allow_respond", "respond", {"type": "response", "args": MESSAGE}),
                    ("allow_ignore", "ignore", {"type": "ignore", "args": None}),
                )
                if config.get(flag) is True
            }
            action = Action(name, about.get("args"), decisions, text_in(request.get("description")))
            return _approval((action,), answer)
    return None


def _approval(actions: tuple[Action, ...], answer: Template) -> Question | None:
    """Return the question; None if an action allows no decision that has a template."""
    return Question("tool_approval", actions=actions, answer=answer) if all(a.decisions for a in actions) else None


def _action(call: hitl.Call, allowed: Sequence[Any], args_schema: Any = None) -> Action:
    """Return the action of a tool call. An edit keeps the name of the tool."""
    edited = {"name": call.name, "args": ARGS}
    templates: dict[str, Template] = {
        "approve": {"type": "approve"},
        "edit": {"type": "edit", "edited_action": edited},
        "reject": {"type": "reject", "message": MESSAGE},
        "respond": {"type": "respond", "message": MESSAGE},
    }
    decisions = {name: template for name, template in templates.items() if name in allowed}
    return Action(call.name, call.args, decisions, text_in(call.description), args_schema)


def _allowed(schema: Any) -> Mapping[str, Any]:
    """Return the decisions that a schema allows, by type, each with its schema."""
    found = {}
    for variant in variants(schema):
        match variant:
            case {"properties": {"type": {"const": str(name)}}}:
                found[name] = variant
    return found


def _arguments(edit: Any, root: Any) -> Any:
    """Return the schema of an edit's arguments, with the definitions that it may refer to."""
    match edit:
        case {"properties": {"edited_action": action}}:
            match resolved(action, root):
                case {"properties": {"args": args}}:
                    definitions = {"$defs": root["$defs"]} if "$defs" in root else {}
                    return {**resolved(args, root), **definitions}
    return None


def _parsed(value: Any) -> Any:
    """Return the JSON in a text that looks like an object or an array; any other value unchanged."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return strictjson.read(value)
        except ValueError:
            return value
    return value
