"""Converts an answer to the response of a function, which in ADK is always an object.

ADK passes the return value of a tool to the model unchanged if it is an object, and as `{"result": value}` otherwise.
The shim sends an answer in the same form, as ADK's command line does. A workflow unwraps `result`, and parses a text
that is JSON.
"""

from __future__ import annotations

import json
from typing import Any

from ap_resume_shim.backends.adk.session import CONFIRMATION, CREDENTIAL, AdkQuestion
from ap_resume_shim.core.errors import UnsupportedInput
from ap_resume_shim.core.json_schema import Strictness
from ap_resume_shim.core.json_values import DOUBLE
from ap_resume_shim.core.typed_answers import check_answer

_KINDS = ("integer", "number", "string", "boolean", "array", "object")
_ENFORCED = Strictness(scalar_types=True, extra_properties=True)
"""The parts of a schema that the shim enforces, because ADK converts true to 1 and drops unknown keys."""


def response_of(question: AdkQuestion, value: Any) -> dict[str, Any]:
    """Return the function response that carries an answer.

    Raises `UnsupportedInput` or `InvalidAnswer` for a value that would not arrive unchanged.
    """
    if _wants_confirmation(question):
        return _confirmation(value)
    if question.name == CREDENTIAL:
        return _credential(value)
    if question.of_workflow:
        return _workflow_input(question, value)
    return value if isinstance(value, dict) else {"result": value}


def _wants_confirmation(question: AdkQuestion) -> bool:
    """True if the question is a confirmation: of a tool, or of a workflow's node, which asks for it as input."""
    return question.name == CONFIRMATION or question.id.startswith("wf_tool_confirmation:")


def _confirmation(value: Any) -> dict[str, Any]:
    """Return the confirmation. Only true and false are accepted: ADK would treat `{}` as no, and `"yes"` as true."""
    if isinstance(value, bool):
        return {"confirmed": value}
    if (
        isinstance(value, dict)
        and isinstance(value.get("confirmed"), bool)
        and value.keys() <= {"confirmed", "payload"}
    ):
        return value
    raise UnsupportedInput(
        'The question asks for a confirmation: answer with true, false, or {"confirmed": true or false, "payload": …}.'
    )


def _credential(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise UnsupportedInput("The question asks for a credential: answer with its `authConfig`, filled in.")


def _workflow_input(question: AdkQuestion, value: Any) -> dict[str, Any]:
    """Return the response for a workflow's node.

    An answer that violates the schema would be an error in the workflow, for this answer and all later ones.
    """
    schema = question.arguments.get("response_schema")
    if isinstance(schema, dict):
        check_answer(question.interrupt, value, _ENFORCED, _enforced(schema))
        _check_floats(schema, value)
    return {"result": json.dumps(value) if isinstance(value, str) and _reads_as_json(value) else value}


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _enforced(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a schema that ADK enforces: the types of the value and of its fields."""
    fields = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(fields, dict):
        return _type(schema)
    required = schema.get("required") or []
    known = {name: _type(field, *(() if name in required else ("null",))) for name, field in fields.items()}
    return {"type": "object", "properties": known, "required": required, "additionalProperties": False}


def _type(schema: Any, *others: str) -> dict[str, Any]:
    kind = schema.get("type") if isinstance(schema, dict) else None
    return {"type": [kind, *others]} if kind in _KINDS else {}


def _check_floats(schema: dict[str, Any], value: Any) -> None:
    """Raise `UnsupportedInput` for an integer that ADK would change, since it converts a `number` to a float."""
    fields = schema.get("properties")
    parts: list[tuple[Any, Any]] = [(schema, value)]
    if isinstance(fields, dict) and isinstance(value, dict):
        parts = [(fields.get(name), item) for name, item in value.items()]
    for rule, item in parts:
        if _type(rule) == {"type": ["number"]} and isinstance(item, int) and item not in DOUBLE:
            raise UnsupportedInput(
                f"ADK would convert {str(item)[:40]} to a float, which is another number: send it as text."
            )
