"""JSON schemas of the answers, for clients.

AgentOS has no schemas: a question contains its form, options and choices in AgentOS's format. `answer.py` additionally
refuses values that the server would convert or misread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ap_resume_shim.backends.agno.answer import Part, needs_of

Schema = dict[str, Any]

_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "dict": "object"}
_DECISION: Schema = {"type": "boolean"}


def of_tool(kind: str, tool: Part) -> Schema:
    """Return the schema of the answer to a tool; `kind` is what the tool waits for."""
    match kind:
        case "confirmation":
            note = {"confirmed": {"const": False}, "confirmation_note": {"type": "string"}}
            return {"anyOf": [_DECISION, {"type": "object", "properties": note, "required": ["confirmed"]}]}
        case "external_execution":
            return {"type": ["string", "array"]}
        case "user_feedback":
            questions: list[Part] = tool.get("user_feedback_schema") or []
            return _object({q["question"]: _labels(q) for q in questions}, [q["question"] for q in questions])
    fields: list[Part] = tool.get("user_input_schema") or []
    typed = tool.get("tool_name") != "get_user_input"
    properties = {field["name"]: _field(field) if typed else {} for field in fields}
    return _object(properties, [field["name"] for field in fields if field.get("value") is None])


def of_step(step: Part) -> Schema | None:
    """Return the schema of the answer to a step; None if it waits for several fields at once."""
    match needs_of(step):
        case ["confirmed"]:
            return {"type": ["boolean", "object"]}
        case ["selected_choices"]:
            most = {} if step.get("allow_multiple_selections") else {"maxItems": 1}
            return {"type": "array", "items": {"enum": step.get("available_choices") or []}, "minItems": 1, **most}
        case ["user_input"]:
            fields: list[Part] = step.get("user_input_schema") or []
            required = [field["name"] for field in fields if field.get("required", True)]
            return _object({field["name"]: _field(field, null=True) for field in fields}, required)
    return None


def _object(properties: dict[str, Schema], required: Iterable[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _field(field: Part, *, null: bool = False) -> Schema:
    """Return the schema of a form's field; types such as `str | None` are only in the question."""
    name = _TYPES.get(field.get("field_type") or "")
    kind: Schema = {} if name is None else {"type": [name, "null"] if null else name}
    allowed = field.get("allowed_values")
    about = {"description": field["description"]} if field.get("description") else {}
    return {**kind, **({"enum": [*allowed, None] if null else allowed} if allowed else {}), **about}


def _labels(question: Part) -> Schema:
    """Return the schema of the selected labels; AgentOS accepts other texts as well."""
    most = {} if question.get("multi_select") else {"maxItems": 1}
    return {"type": "array", "items": {"type": "string"}, **most}
