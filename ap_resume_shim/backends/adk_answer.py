"""An answer as ADK takes it: the response of a function, which is an object always.

What a tool of the agent's own returns, ADK hands to the model as it is where it is an object, and as
`{"result": value}` where it is not. An answer goes the same way, as ADK's own command line sends it. A workflow takes
`result` out again, and reads text that is JSON as JSON.
"""

from __future__ import annotations

import json
from typing import Any

from ap_resume_shim.backends.adk_session import CONFIRMATION, CREDENTIAL, Question
from ap_resume_shim.core.errors import UnsupportedInput

_EXACT = 2**53
"""Up to here a float is an integer exactly."""
_KINDS: dict[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "string": str,
    "boolean": bool,
    "array": list,
    "object": dict,
}


def response_of(question: Question, value: Any) -> dict[str, Any]:
    """The response that carries an answer. Raises `UnsupportedInput` for what would not arrive unchanged."""
    if _wants_confirmation(question):
        return _confirmation(value)
    if question.name == CREDENTIAL:
        return _credential(value)
    if question.of_workflow:
        return _workflow_input(value, question.arguments.get("response_schema"))
    return value if isinstance(value, dict) else {"result": value}


def _wants_confirmation(question: Question) -> bool:
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


def _workflow_input(value: Any, schema: Any) -> dict[str, Any]:
    """One that does not fit is an error in the workflow, for that answer and all that follow it."""
    if isinstance(schema, dict) and not _fits(value, schema):
        raise UnsupportedInput(f"The answer does not fit what the question asks for: {json.dumps(schema)}.")
    return {"result": json.dumps(value) if isinstance(value, str) and _reads_as_json(value) else value}


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether ADK, which looks at types alone, takes the value for what it is; it makes 1 of true, and drops keys."""
    fields: dict[str, Any] | None = schema.get("properties")
    if schema.get("type") != "object" or fields is None:
        return _is(value, schema)
    required = schema.get("required") or ()
    if not isinstance(value, dict) or not set(required) <= value.keys() <= fields.keys():
        return False
    return all(_is(item, fields[name]) or (item is None and name not in required) for name, item in value.items())


def _is(value: Any, schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind]) and not (kind == "number" and isinstance(value, int) and abs(value) > _EXACT)
