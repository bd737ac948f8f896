"""How an answer is written into a question of AgentOS.

The server checks little. To a tool's confirmation everything but true is a rejection, to a step's everything but false
a confirmation; what does not fit a form is converted, or makes the tool fail, or the run. So it is checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ap_resume_shim.core.errors import UnsupportedInput

Part = dict[str, Any]
"""A part of a run as the server tells it: the execution of a tool, or what a step requires."""

_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
"""Of the fields of a form. Others, such as `str | None`, tell too little to check."""
_WORDS = ("none", "null", "true", "false")


# --- tools ------------------------------------------------------------------------------------------------------


def _confirm(tool: Part, value: Any) -> Part:
    if isinstance(value, bool):
        return {"confirmed": value}
    if isinstance(value, dict) and set(value) == {"confirmed", "confirmation_note"} and value["confirmed"] is False:
        return {"confirmed": False, "confirmation_note": _text("confirmation_note", value["confirmation_note"])}
    raise UnsupportedInput(
        f"The tool {tool.get('tool_name')!r} asks for a confirmation: answer true or false, or "
        '{"confirmed": false, "confirmation_note": "…"}.'
    )


def _return(tool: Part, value: Any) -> Part:
    """With any other value the run fails, and says nothing."""
    if isinstance(value, str | list):
        return {"result": value}
    raise UnsupportedInput(
        f"The tool {tool.get('tool_name')!r} is executed elsewhere, and its result is a text or a list: send what is "
        "neither as a text of JSON."
    )


def _fill_in(tool: Part, value: Any) -> Part:
    """`get_user_input` is not executed: its form is told to the model as it is."""
    fields: list[Part] = tool.get("user_input_schema") or []
    given = _form(value, [field["name"] for field in fields])
    for field in fields:
        name = field["name"]
        if name not in given:
            _require(field.get("value") is not None, f"The field {name!r} of the form is missing.")
        elif tool.get("tool_name") != "get_user_input":
            _check_type(field, given[name])
            _check_words(name, given[name])
    filled = [{**field, "value": given.get(field["name"], field["value"])} for field in fields]
    return {"user_input_schema": filled, "answered": True}


def _select(tool: Part, value: Any) -> Part:
    questions: list[Part] = tool["user_feedback_schema"]
    given = _form(value, [question["question"] for question in questions])
    for question in questions:
        name, labels = question["question"], given.get(question["question"])
        several = bool(question.get("multi_select"))
        fits = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        _require(fits and (several or len(labels or []) < 2), f"The answer to {name!r} is a list of labels of options.")
    chosen = [{**each, "selected_options": given[each["question"]]} for each in questions]
    return {"user_feedback_schema": chosen, "answered": True}


TOOLS: dict[str, Callable[[Part, Any], Part]] = {
    "confirmation": _confirm,
    "external_execution": _return,
    "user_input": _fill_in,
    "user_feedback": _select,
}
"""What an answer changes in the execution of a tool, by what the tool waits for."""


# --- steps ------------------------------------------------------------------------------------------------------

_ASKS_FOR = {
    "requires_confirmation": "confirmed",
    "requires_output_review": "confirmed",
    "requires_user_input": "user_input",
    "requires_route_selection": "selected_choices",
}
"""What a step waits for, by what it says of itself."""


def needs_of(step: Part) -> list[str]:
    """What a step waits for: mostly one thing, and nothing where it has been answered."""
    asks = dict.fromkeys(name for flag, name in _ASKS_FOR.items() if step.get(flag))
    return [name for name in asks if step.get(name) in (None, {}, [])]


def write_step(step: Part, value: Any) -> Part:
    """What an answer changes in a step: bare where it waits for one thing, else by AgentOS's own names."""
    needs = needs_of(step)
    named = len(needs) > 1 or (needs == ["confirmed"] and isinstance(value, dict))
    change: Any = value if named else {needs[0]: value}
    may = {*needs, *_beside(step, needs)}
    _require(
        isinstance(change, dict) and set(needs) <= set(change) <= may,
        f"The step {step.get('step_name')!r} asks for {' and '.join(needs)}.",
    )
    for name, given in change.items():
        _STEPS[name](step, given)
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
    """What may go with a confirmation, where somebody hears it."""
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
        given = value.get(field["name"])
        missing = field.get("required", True) and given in (None, "")
        _require(not missing, f"The field {field['name']!r} of the form is missing.")
        if given is not None:
            _check_type(field, given, lax=True)
            allowed = field.get("allowed_values")
            _require(not allowed or given in allowed, f"The field {field['name']!r} takes one of {allowed}.")


def _chosen(step: Part, value: Any) -> None:
    """Of a name that it does not know, a router says nothing, and goes no way."""
    choices: list[Any] = step.get("available_choices") or []
    _require(
        isinstance(value, list) and bool(value) and all(choice in choices for choice in value),
        f"The step {step.get('step_name')!r} asks for a way to go: answer a list of names out of {choices}.",
    )
    several = bool(step.get("allow_multiple_selections"))
    _require(several or len(value) == 1, f"The step {step.get('step_name')!r} asks for one way to go.")


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
    """A tool's arguments are converted where that can be done: true becomes 1, and 1 becomes 1.0. A step's are not."""
    wanted = _TYPES.get(field["field_type"])
    if wanted is None or (lax and wanted in (list, dict)):
        return
    kinds = (int, float) if lax and wanted is float else wanted
    fits = isinstance(value, kinds) and (wanted is bool or not isinstance(value, bool))
    _require(fits, f"The field {field['name']!r} of the form takes a value of type {field['field_type']}.")


def _check_words(name: str, value: Any) -> None:
    """A text that is one of these words, in whatever case, comes to the tool as what it says."""
    _require(
        not isinstance(value, str) or value.strip().lower() not in _WORDS,
        f"AgentOS turns the text {value!r} in the field {name!r} into what it says: send other words.",
    )


def _text(name: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise UnsupportedInput(f"`{name}` is a text.")


def _require(fits: bool, otherwise: str) -> None:
    if not fits:
        raise UnsupportedInput(otherwise)
