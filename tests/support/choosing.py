"""A person who looks at a question, makes a choice, and has it written into the answer: what a console does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ap_resume_shim.core.questions import Question, fill

Choice = dict[str, Any]
"""`{"value": …}`, `{"option": label}`, or `{"decisions": [[name, {placeholder: …}], …]}`, one for each action."""
SAMPLES = {"string": "a", "integer": 3, "number": 0.5, "boolean": True}


def choices_in(question: Question, value: Any) -> Iterator[Choice]:
    """Every decision, every option, a form with the fields that have no default; or else the value."""
    if question.kind == "tool_approval":
        for name in dict.fromkeys(name for action in question.actions for name in action.decisions):
            yield {"decisions": [_decision(name, action.decisions, action.args) for action in question.actions]}
    elif question.options:
        for option in question.options:
            yield {"option": option.label}
    elif question.form is not None:
        fields = question.form["properties"].items()
        yield {"value": {name: _sample(field) for name, field in fields if field.get("default") is None}}
    else:
        yield {"value": value}


def answer_of(question: Question, choice: Choice) -> Any:
    """The answer for a choice."""
    if "decisions" in choice:
        pairs = zip(question.actions, choice["decisions"], strict=True)
        decisions = [fill(action.decisions[name], placeholders) for action, (name, placeholders) in pairs]
        return fill(question.answer, {"decisions": decisions, "decision": decisions[0]})
    if "option" in choice:
        choice = {"value": next(o.answer for o in question.options if o.label == choice["option"])}
    return fill(question.answer, choice)


def _decision(name: str, decisions: Any, args: Any) -> list[Any]:
    """The decision of this name, or else the first that the action allows. An edited text has one more word."""
    edited = f"{args} edited" if isinstance(args, str) else args
    return [name if name in decisions else next(iter(decisions)), {"args": edited, "message": "because"}]


def _sample(field: dict[str, Any]) -> Any:
    if field.get("type") == "array":
        return [field["items"]["enum"][0]]
    return field["enum"][0] if "enum" in field else SAMPLES[field["type"]]
