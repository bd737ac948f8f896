"""Templates of answers: JSON in which an object `{"$choice": name}` is a hole for a person's choice.

| hole | its value |
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
"""JSON with holes."""
HOLE: Final = "$choice"


def hole(name: Literal["value", "args", "message", "decisions", "decision"]) -> dict[str, str]:
    """Return a hole."""
    return {HOLE: name}


VALUE, ARGS, MESSAGE = hole("value"), hole("args"), hole("message")


def fill(template: Template, choice: Mapping[str, Any]) -> Any:
    """Return a template with the choices, by the names of the holes. Raises `ValueError` for a choice that is missing.

    The choices are copied as they are: a choice that looks like a hole is no hole.
    """
    if isinstance(template, list):
        return [fill(item, choice) for item in template]
    if not isinstance(template, dict):
        return template
    if template.keys() != {HOLE}:
        return {key: fill(item, choice) for key, item in template.items() if not _left_out(item, choice)}
    if template[HOLE] not in choice:
        raise ValueError(f"The answer has no {template[HOLE]!r}.")
    return choice[template[HOLE]]


def _left_out(template: Template, choice: Mapping[str, Any]) -> bool:
    return bool(template == MESSAGE and choice.get("message") in (None, ""))
