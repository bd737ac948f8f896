"""Agno's questions: those of its tools and of its workflows' steps, each with a `kind` and the schema of its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.questions.model import Option, Question, Schema, single_approval
from ap_resume_shim.core.questions.prompts import prompt_in, text_in
from ap_resume_shim.core.questions.schemas import YES_OR_NO, by_schema, form_of
from ap_resume_shim.core.questions.template import ARGS, MESSAGE, Template

Value = Mapping[str, Any]


def agno(interrupt: Interrupt) -> Question | None:
    """Return the question; None for another shape, and for a step that waits for several values at once."""
    match interrupt.value:
        case {"kind": str(kind)} if kind in _KINDS and isinstance(interrupt.response_schema, dict):
            return _KINDS[kind](interrupt.value, interrupt.response_schema)
    return None


def _confirmation(value: Value, _: Schema) -> Question | None:
    match value:
        case {"tool_name": str(name)}:
            rejected = {"confirmed": False, "confirmation_note": MESSAGE}
            return single_approval(None, name, value.get("tool_args"), {"approve": True, "reject": rejected})
    return Question("confirm", prompt_in(value), options=YES_OR_NO)


def _output_review(value: Value, _: Schema) -> Question | None:
    """Return the approval of a step's output, which may be edited if it is a text."""
    output = value.get("step_output")
    content = output.get("content") if isinstance(output, dict) else None
    edit: Template = {"edit": {"confirmed": True, "edited_output": ARGS}} if isinstance(content, str) else {}
    name = text_in(value.get("step_name")) or "step"
    decisions = {"approve": True, **edit, "reject": False}
    return single_approval(
        prompt_in(value), name, content, decisions, {"type": "string", "minLength": 1} if edit else None
    )


def _user_input(value: Value, schema: Schema) -> Question | None:
    """Return the form, with the values that the model has filled in as defaults."""
    fields = value.get("user_input_schema")
    filled = {
        field["name"]: field["value"]
        for field in (fields if isinstance(fields, list) else ())
        if isinstance(field, dict) and isinstance(field.get("name"), str) and field.get("value") is not None
    }
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return Question("any", prompt_in(value))
    typed = {
        name: {**(rule or {"type": "string"}), **({"default": filled[name]} if name in filled else {})}
        for name, rule in properties.items()
        if isinstance(rule, dict)
    }
    form = form_of({**schema, "properties": typed}, schema)
    return Question("form" if form else "any", prompt_in(value), form=form)


def _external_execution(value: Value, _: Schema) -> Question | None:
    return Question("text", prompt_in(value.get("tool_args")))


def _user_feedback(value: Value, schema: Schema) -> Question | None:
    """Return the buttons of one question, or a form for several questions or several labels."""
    questions = value.get("user_feedback_schema")
    if not isinstance(questions, list) or not questions or not all(map(_has_options, questions)):
        return Question("any")
    if len(questions) == 1 and not questions[0].get("multi_select"):
        name, labels = questions[0]["question"], _labels(questions[0]["options"])
        return Question("choice", name, options=tuple(Option(label, {name: [label]}) for label in labels))
    return Question(
        "form", form=form_of({**schema, "properties": {q["question"]: _field(q) for q in questions}}, schema)
    )


def _field(question: Value) -> Schema:
    most = {} if question.get("multi_select") else {"maxItems": 1}
    return {"type": "array", "items": {"enum": _labels(question["options"])}, **most}


def _has_options(question: Any) -> bool:
    match question:
        case {"question": str(), "options": list(options)}:
            return bool(_labels(options))
    return False


def _labels(options: list[Any]) -> list[str]:
    return [option["label"] for option in options if isinstance(option, dict) and isinstance(option.get("label"), str)]


def _route_selection(value: Value, schema: Schema) -> Question | None:
    return by_schema(schema, prompt_in(value)) or Question("any", prompt_in(value))


_KINDS: dict[str, Callable[[Value, Schema], Question | None]] = {
    "confirmation": _confirmation,
    "output_review": _output_review,
    "user_input": _user_input,
    "external_execution": _external_execution,
    "user_feedback": _user_feedback,
    "route_selection": _route_selection,
}
