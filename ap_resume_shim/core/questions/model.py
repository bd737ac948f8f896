"""The parts of a question that a person sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ap_resume_shim.core.questions.template import VALUE, Template, placeholder

Kind = Literal["text", "confirm", "choice", "form", "tool_approval", "any"]
"""How a person answers: with a text, yes or no, one of several options, a form, a decision for each tool call, or any
JSON."""
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Option:
    """A button, or a box to tick: its label, and the answer that it stands for."""

    label: str
    answer: Any


@dataclass(frozen=True, slots=True)
class Action:
    """A tool call that needs a decision."""

    name: str
    args: Any
    decisions: Mapping[str, Template]
    """The allowed decisions: `approve`, `edit`, `reject`, `respond` or `ignore`, each with its template."""
    description: str | None = None
    args_schema: Any = None
    """JSON Schema of the edited arguments, if it is known."""

    def as_json(self) -> dict[str, Any]:
        """Return the form that clients see: an object with all fields."""
        return {
            "name": self.name,
            "args": self.args,
            "description": self.description,
            "args_schema": self.args_schema,
            "decisions": dict(self.decisions),
        }


@dataclass(frozen=True, slots=True)
class Question:
    """A question, as it is shown to a person."""

    kind: Kind
    prompt: str | None = None
    """The text to show, if the question has one."""
    actions: tuple[Action, ...] = ()
    """With `tool_approval`: the tool calls."""
    options: tuple[Option, ...] = ()
    """With `confirm` and `choice`: the options."""
    multiple: bool = False
    """True if several options may be chosen: their answers are lists, and the answer is all of them joined."""
    form: Schema | None = None
    """With `form`: the JSON Schema of an object. Its properties are scalars, choices, or lists of choices, without
    references; `nullable` marks those that may be null."""
    answer: Template = field(default_factory=lambda: VALUE)

    def as_json(self) -> dict[str, Any]:
        """Return the form that clients see: an object with all fields."""
        return {
            "kind": self.kind,
            "prompt": self.prompt,
            "actions": [action.as_json() for action in self.actions],
            "options": [{"label": option.label, "answer": option.answer} for option in self.options],
            "multiple": self.multiple,
            "form": self.form,
            "answer": self.answer,
        }


def single_approval(
    prompt: str | None, name: str, args: Any, decisions: Mapping[str, Template], args_schema: Any = None
) -> Question:
    """Return the question about one tool call, whose answer is the bare decision."""
    action = Action(name, args, decisions, args_schema=args_schema)
    return Question("tool_approval", prompt, (action,), answer=placeholder("decision"))
