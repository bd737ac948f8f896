"""An answer as ADK takes it: the response of a function, which is an object always.

What a tool of the agent's own returns, ADK hands to the model as it is where it is an object, and as
`{"result": value}` where it is not. An answer goes the same way, as ADK's own command line sends it. A workflow takes
`result` out again, and reads text that is JSON as JSON.
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
"""ADK makes 1 of true, and drops keys that it does not know."""


def response_of(question: AdkQuestion, value: Any) -> dict[str, Any]:
    """The response that carries an answer. Raises `UnsupportedInput` for what would not arrive unchanged."""
    if _wants_confirmation(question):
        return _confirmation(value)
    if question.name == CREDENTIAL:
        return _credential(value)
    if question.of_workflow:
        return _workflow_input(question, value)
    return value if isinstance(value, dict) else {"result": value}


def _wants_confirmation(question: AdkQuestion) -> bool:
    """Of a tool, or of a workflow's node, which asks for it as input."""
    return question.name == CONFIRMATION or question.id.startswith("wf_tool_confirmation:")


def _confirmation(value: Any) -> dict[str, Any]:
    """ADK takes `{}` for a no, and `"yes"` for true: a decision is a decision only where it is true or false."""
    if isinstance(value, bool):
        return {"confirmed": value}
    if (
        isinstance(value, dict)
        and isinstance(value.get("confirmed"), bool)
        and value.keys() <= {"confirmed", "payload"}
    ):
        return value
    raise UnsupportedInput(
        'The question is whether to do it: answer with true, false, or {"confirmed": true or false, "payload": …}.'
    )


def _credential(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise UnsupportedInput("The question is for a credential: answer with its `authConfig`, filled in.")


def _workflow_input(question: AdkQuestion, value: Any) -> dict[str, Any]:
    """One that does not fit is an error in the workflow, for that answer and all that follow it."""
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
    """What ADK looks at in a schema: the types of the value and of its fields."""
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
    """A number is a float there."""
    fields = schema.get("properties")
    parts = [(schema, value)]
    if isinstance(fields, dict) and isinstance(value, dict):
        parts = [(fields[name], item) for name, item in value.items()]
    for rule, item in parts:
        if _type(rule) == {"type": ["number"]} and isinstance(item, int) and item not in DOUBLE:
            raise UnsupportedInput(f"ADK makes a float of {str(item)[:40]}, which is another number: send it as text.")
