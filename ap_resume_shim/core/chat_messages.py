"""Converts the messages in a server's state to the draft's `Message` objects.

A `Message` has a `role` and a `content`: text, or a list of blocks with a `type`. LangChain's messages have a `type` in
place of the role.
"""

from __future__ import annotations

from typing import Any

_ROLES = {
    **{kind: kind for kind in ("human", "ai", "system", "tool", "function", "remove")},
    **{f"{kind}MessageChunk": kind.lower() for kind in ("Human", "AI", "System", "Tool", "Function")},
}
"""LangChain's message types, and the types of streamed message chunks, with the role of each."""


def as_messages(value: Any) -> list[dict[str, Any]] | None:
    """Return the draft's messages; None if `value` is not a list of messages."""
    if not isinstance(value, list):
        return None
    messages = [message for item in value if (message := _message(item)) is not None]
    return messages if len(messages) == len(value) else None


def _message(item: Any) -> dict[str, Any] | None:
    """Convert one message.

    Keeps fields that the draft does not define; drops optional fields of the draft that are null.
    """
    if not isinstance(item, dict):
        return None
    rest = {name: field for name, field in item.items() if field is not None or name not in ("role", "id", "metadata")}
    if "role" not in rest:
        rest = {"role": _ROLES.get(str(rest.pop("type", None))), **rest}
    rest["content"] = _content(rest.get("content"))
    types = (("role", str), ("content", str | list), ("id", str), ("metadata", dict))
    return rest if all(isinstance(rest[name], kind) for name, kind in types if name in rest) else None


def _content(content: Any) -> Any:
    """Return text, or blocks (plain strings become text blocks); None for anything else."""
    if not isinstance(content, list):
        return content
    blocks = [{"type": "text", "text": block} if isinstance(block, str) else block for block in content]
    return blocks if all(map(_is_block, blocks)) else None


def _is_block(block: Any) -> bool:
    return (
        isinstance(block, dict) and isinstance(block.get("type"), str) and isinstance(block.get("metadata", {}), dict)
    )
