"""The questions of other frameworks, as the shim's dialects present them in `Interrupt.value`.

Each function returns the question of its framework; None for another shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.questions.agno import agno
from ap_resume_shim.core.questions.model import Question, Schema, single_approval
from ap_resume_shim.core.questions.prompts import prompt_in, text_in
from ap_resume_shim.core.questions.schemas import YES_OR_NO, by_schema, form_of, resolved
from ap_resume_shim.core.questions.template import ARGS, MESSAGE, Template

Shape = Callable[[Interrupt], Question | None]


def _by_schema(schema: Any, prompt: str | None) -> Question:
    return by_schema(schema, prompt) or Question("any", prompt)


def mastra(interrupt: Interrupt) -> Question | None:
    """Return the approval of a tool call. Steps and tools that ask for a value have a free shape, and a schema."""
    match interrupt.value:
        case {"toolName": str(name), "args": args, **rest} if not rest and interrupt.response_schema is None:
            return single_approval(
                None, name, args, {"approve": True, "reject": {"approved": False, "reason": MESSAGE}}
            )
    return None


def adk(interrupt: Interrupt) -> Question | None:
    """Return the question of a long-running function call."""
    match interrupt.value:
        case {"name": str(name), "args": dict(args), **rest} if not rest:
            prompt = prompt_in(args)
        case _:
            return None
    match name, args:
        case "adk_request_confirmation", {"originalFunctionCall": {"name": str(tool), **call}}:
            hint = prompt_in(args.get("toolConfirmation"))
            return single_approval(hint, tool, call.get("args"), {"approve": True, "reject": False})
        case "adk_request_input", _ if str(interrupt.id).startswith("wf_tool_confirmation:"):
            return Question("confirm", prompt, options=YES_OR_NO)
        case "adk_request_input", _ if not interrupt.response_schema:
            return Question("text", prompt)
    return _by_schema(interrupt.response_schema, prompt)


def llamaindex(interrupt: Interrupt) -> Question | None:
    """Return the question of an event. Only the framework's own event is known to ask for a text."""
    match interrupt.value:
        case {"type": str(name), "value": dict(fields), **rest} if not rest and interrupt.response_schema is None:
            return Question("text" if name == "InputRequiredEvent" else "any", prompt_in(fields))
    return None


def acp(interrupt: Interrupt) -> Question | None:
    """Return the question of a message with parts."""
    match interrupt.value:
        case {"role": str(), "parts": list(parts)}:
            texts = [part.get("content") for part in parts if _is_text(part)]
            prompt = text_in("".join(text for text in texts if isinstance(text, str)))
            return Question("text" if len(texts) == len(parts) else "any", prompt)
    return None


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("content_type") == "text/plain"


def a2a(interrupt: Interrupt) -> Question | None:
    """Return the question of a task: a text, with or without data."""
    match interrupt.value:
        case {"task_id": _, "state": str(), "message": {"content": str(text)}}:
            return Question("text", text_in(text))
        case {"task_id": _, "state": str(), "message": {"content": list(blocks)}}:
            texts = [block["text"] for block in blocks if _is_text_block(block)]
            prompt = text_in("\n".join(texts))
            form = next((form for block in blocks if (form := _form_in(block, prompt))), None)
            return form or Question("text" if len(texts) == len(blocks) else "any", prompt)
    return None


def _is_text_block(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)


def _form_in(block: Any, prompt: str | None) -> Question | None:
    """Return the form that a part with data asks for: the data is its schema, or has it as a member."""
    data = block.get("data") if isinstance(block, dict) else None
    if not isinstance(data, dict):
        return None
    schema = next((data[name] for name in ("schema", "response_schema", "responseSchema") if name in data), data)
    form = form_of(resolved(schema, schema), schema)
    if form is None:
        return None
    fields = {name: _without_numbers(field) for name, field in form["properties"].items()}
    return Question("form", prompt, form={**form, "properties": fields})


def _without_numbers(field: Schema) -> Schema:
    """Return the schema of a field in which a text takes the place of a number, since A2A carries no integers."""
    if field.get("type") not in ("integer", "number"):
        return field
    return {"type": "string", **{key: field[key] for key in ("title", "description") if key in field}}


def ag_ui(interrupt: Interrupt) -> Question | None:
    """Return the question of an entry in AG-UI's outcome, with the metadata of Strands or Agent Framework."""
    match interrupt.value:
        case {"reason": "tool_call", "metadata": {"tool_name": str(name), **about}}:
            prompt = text_in(interrupt.value.get("message"))
            return single_approval(prompt, name, about.get("tool_input"), _APPROVED)
        case {"reason": "tool_call", "metadata": {"agent_framework": {"function_call": {"name": str(name), **call}}}}:
            edited = _property(interrupt.response_schema, "editedArgs")
            edit = {} if edited is None else {"edit": {"approved": True, "editedArgs": ARGS}}
            prompt = text_in(interrupt.value.get("message"))
            return single_approval(prompt, name, call.get("arguments"), {**_APPROVED, **edit}, edited)
        case {"reason": str(), "metadata": dict(metadata)}:
            prompt = text_in(interrupt.value.get("message")) or prompt_in(metadata.get("reason"))
            return _by_schema(interrupt.response_schema, prompt)
    return None


_APPROVED: dict[str, Template] = {"approve": {"approved": True}, "reject": {"approved": False}}


def _property(schema: Any, name: str) -> Any:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties.get(name) if isinstance(properties, dict) else None


OF_AGENTS: tuple[Shape, ...] = (a2a, acp, llamaindex)
"""Shapes whose answer is the person's value itself: an agent's own value may look like them."""
OF_DIALECTS: tuple[Shape, ...] = (agno, mastra, adk, ag_ui)
"""Shapes whose answer has a form of its own."""
