"""Writes an answer into a question of AgentOS, and checks it first, because the server checks little.

In the confirmation of a tool, every value but true is a rejection; in that of a step, every value but false is a
confirmation. The server converts a value that does not fit a form, or the tool or the run fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ap_resume_shim.core.errors import UnsupportedInput

Part = dict[str, Any]
"""A part of the server's run: the execution of a tool, a requirement, or a step requirement."""

_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
"""Types of a form's fields. The shim does not check other types, such as `str | None`."""
_WORDS = ("none", "null", "true", "false")


# --- tools ------------------------------------------------------------------------------------------------------


def _confirm(tool: Part, value: Any) -> Part:
    if isinstance(value, bool):
        return {"confirmed": value}
    rejected = isinstance(value, dict) and value.get("confirmed") is False
    if rejected and value.keys() <= {"confirmed", "confirmation_note"}:
        return {name: item if name == "confirmed" else _text(name, item) for name, item in value.items()}
    raise UnsupportedInput(
        f"The tool {tool.get('tool_name')!r} asks for a confirmation: answer true or false, or "
        '{"confirmed": false, "confirmation_note": "…"}, where the note is optional.'
    )


def _return(tool: Part, value: Any) -> Part:
    """Return the change for a tool that is executed elsewhere; with any other value the run fails without a message."""
    if isinstance(value, str | list):
        return {"result": value}
    raise UnsupportedInput(
        f"The tool {tool.get('tool_name')!r} is executed elsewhere, and its result is a text or a list: send any other "
        "value as JSON text."
    )


def _fill_in(tool: Part, value: Any) -> Part:
    """Return the change for a form.

    AgentOS does not execute `get_user_input`, but passes its form to the model, so the types of its fields are free.
    """
    fields: list[Part] = tool.get("user_input_schema") or []
    answers = _form(value, [field["name"] for field in fields])
    for field in fields:
        name = field["name"]
        if name not in answers:
            _require(field.get("value") is not None, f"The field {name!r} of the form is missing.")
        elif tool.get("tool_name") != "get_user_input":
            _check_type(field, answers[name])
            _check_words(name, answers[name])
    filled = [{**field, "value": answers.get(field["name"], field["value"])} for field in fields]
    return {"user_input_schema": filled, "answered": True}


def _select(tool: Part, value: Any) -> Part:
    questions: list[Part] = tool["user_feedback_schema"]
    answers = _form(value, [question["question"] for question in questions])
    for question in questions:
        name, labels = question["question"], answers.get(question["question"])
        several = bool(question.get("multi_select"))
        fits = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        _require(fits and (several or len(labels or []) < 2), f"The answer to {name!r} is a list of labels of options.")
    chosen = [{**each, "selected_options": answers[each["question"]]} for each in questions]
    return {"user_feedback_schema": chosen, "answered": True}


TOOLS: dict[str, Callable[[Part, Any], Part]] = {
    "confirmation": _confirm,
    "external_execution": _return,
    "user_input": _fill_in,
    "user_feedback": _select,
}
"""Functions that return the change in a tool's execution, by the kind of question.

Each raises `UnsupportedInput` for an answer that does not fit.
"""


# --- steps ------------------------------------------------------------------------------------------------------

_ASKS_FOR = {
    "requires_confirmation": "confirmed",
    "requires_output_review": "confirmed",
    "requires_user_input": "user_input",
    "requires_route_selection": "selected_choices",
}
"""The field that a step waits for, by the flag that the step sets."""


def needs_of(step: Part) -> list[str]:
    """Return the fields that a step waits for: mostly one, and none after it was answered."""
    asks = dict.fromkeys(name for flag, name in _ASKS_FOR.items() if step.get(flag))
    return [name for name in asks if step.get(name) in (None, {}, [])]


def write_step(step: Part, value: Any) -> Part:
    """Return the change in a step. Raises `UnsupportedInput` for an answer that does not fit.

    The answer is the bare value if the step waits for one field, or else an object with AgentOS's names.
    """
    needs = needs_of(step)
    named = len(needs) > 1 or (needs == ["confirmed"] and isinstance(value, dict))
    change: Any = value if named else {needs[0]: value}
    may = {*needs, *_beside(step, needs)}
    _require(
        isinstance(change, dict) and set(needs) <= set(change) <= may,
        f"The step {step.get('step_name')!r} asks for {' and '.join(needs)}.",
    )
    for name, item in change.items():
        _STEPS[name](step, item)
    _require(
        change.get("confirmed") is not True or "rejection_feedback" not in change,
        "A `rejection_feedback` goes with `confirmed: false`.",
    )
    _require(
        change.get("confirmed") is not False or "edited_output" not in change,
        "An `edited_output` goes with `confirmed: true`.",
    )
    return dict(change)


def _beside(step: Part, needs: list[str]) -> list[str]:
    """Return the optional fields of a confirmation that AgentOS uses."""
    if "confirmed" not in needs:
        return []
    feedback = ["rejection_feedback"] if step.get("on_reject") == "retry" else []
    return [*feedback, "edited_output"] if step.get("requires_output_review") else feedback


def _confirmed(step: Part, value: Any) -> None:
    _require(
        isinstance(value, bool), f"The step {step.get('step_name')!r} asks for a confirmation: answer true or false."
    )


def _filled_in(step: Part, value: Any) -> None:
    _require(
        isinstance(value, dict) and bool(value),
        f"The step {step.get('step_name')!r} asks for a form: answer an object that is not empty.",
    )
    for field in step.get("user_input_schema") or []:
        answer = value.get(field["name"])
        missing = field.get("required", True) and answer in (None, "")
        _require(not missing, f"The field {field['name']!r} of the form is missing.")
        if answer is not None:
            _check_type(field, answer, lax=True)
            allowed = field.get("allowed_values")
            _require(not allowed or answer in allowed, f"The field {field['name']!r} must be one of {allowed}.")


def _chosen(step: Part, value: Any) -> None:
    """Check the choices of a router, which silently ignores an unknown name and takes no route."""
    choices: list[Any] = step.get("available_choices") or []
    _require(
        isinstance(value, list) and bool(value) and all(choice in choices for choice in value),
        f"The step {step.get('step_name')!r} asks for a route: answer with a list of names from {choices}.",
    )
    several = bool(step.get("allow_multiple_selections"))
    _require(several or len(value) == 1, f"The step {step.get('step_name')!r} asks for exactly one route.")


_STEPS: dict[str, Callable[[Part, Any], object]] = {
    "confirmed": _confirmed,
    "user_input": _filled_in,
    "selected_choices": _chosen,
    "rejection_feedback": lambda _, value: _text("rejection_feedback", value),
    "edited_output": lambda _, value: _text("edited_output", value),
}


# --- both -------------------------------------------------------------------------------------------------------


def _form(value: Any, names: list[str]) -> dict[str, Any]:
    if isinstance(value, dict) and set(value) <= set(names):
        return value
    raise UnsupportedInput(f"The question is a form: answer an object with the keys {names}.")


def _check_type(field: Part, value: Any, *, lax: bool = False) -> None:
    """Check the type of a field's value.

    AgentOS converts the arguments of a tool if it can: true becomes 1, and 1 becomes 1.0. It does not convert the
    values of a step, for which `lax` is set.
    """
    wanted = _TYPES.get(field["field_type"])
    if wanted is None or (lax and wanted in (list, dict)):
        return
    kinds = (int, float) if lax and wanted is float else wanted
    fits = isinstance(value, kinds) and (wanted is bool or not isinstance(value, bool))
    _require(fits, f"The field {field['name']!r} of the form must have the type {field['field_type']}.")


def _check_words(name: str, value: Any) -> None:
    """Refuse the texts in `_WORDS`, in any case: AgentOS converts them to the values null, true and false."""
    _require(
        not isinstance(value, str) or value.strip().lower() not in _WORDS,
        f"AgentOS converts the text {value!r} in the field {name!r} to another type: send other words.",
    )


def _text(name: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise UnsupportedInput(f"`{name}` is a text.")


def _require(fits: bool, otherwise: str) -> None:
    if not fits:
        raise UnsupportedInput(otherwise)
