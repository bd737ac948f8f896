"""Finds the text of a question that has no known shape."""

from __future__ import annotations

from typing import Any

_NAMES = (
    "question",
    "prompt",
    "message",
    "confirmation_message",
    "user_input_message",
    "hint",
    "prefix",
    "description",
    "text",
    "title",
)
"""Members that hold the text of a question, most specific first."""
_SIMPLE = ("question", "prompt", "message")


def text_in(value: Any) -> str | None:
    """Return a text that is not blank; None for any other value."""
    return value if isinstance(value, str) and value.strip() else None


def prompt_in(value: Any) -> str | None:
    """Return the text of a question: the value itself, or one of its members."""
    if not isinstance(value, dict):
        return text_in(value)
    return next((text for name in _NAMES if (text := text_in(value.get(name)))), None)


def is_only_a_prompt(value: Any) -> bool:
    """True for a text, and for an object with only a text: then a text answers the question."""
    if isinstance(value, dict):
        return len(value) == 1 and any(text_in(value.get(name)) for name in _SIMPLE)
    return isinstance(value, str)
