"""Templates of answers: JSON in which an object `{"$choice": name}` is a placeholder for a person's choice.

| placeholder | its value |
|---|---|
| `value` | the answer itself: a text, a form's object, the answer of an option, any JSON |
| `args` | the edited arguments of a tool call |
| `message` | a reason or a reply; a member of an object is left out if it is empty |
| `decisions` | the filled decisions, one for each action, in order |
| `decision` | the filled decision for the only action |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

Template = Any
"""JSON with placeholders."""
PLACEHOLDER: Final = "$choice"


def placeholder(name: Literal["value", "args", "message", "decisions", "decision"]) -> dict[str, str]:
    """Return a placeholder."""
    return {PLACEHOLDER: name}


VALUE, ARGS, MESSAGE = placeholder("value"), placeholder("args"), placeholder("message")


def fill(template: Template, choice: Mapping[str, Any]) -> Any:
    """Return a template with the choices, by the names of the placeholders. Raises `ValueError` if one is missing.

    The choices are copied as they are: one that looks like a placeholder is not filled.
    """
    if isinstance(template, list):
        return [fill(item, choice) for item in template]
    if not isinstance(template, dict):
        return template
    if template.keys() != {PLACEHOLDER}:
        return {key: fill(item, choice) for key, item in template.items() if not _left_out(item, choice)}
    if template[PLACEHOLDER] not in choice:
        raise ValueError(f"The answer has no {template[PLACEHOLDER]!r}.")
    return choice[template[PLACEHOLDER]]


def _left_out(template: Template, choice: Mapping[str, Any]) -> bool:
    return bool(template == MESSAGE and choice.get("message") in (None, ""))
