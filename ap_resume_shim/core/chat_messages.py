"""The draft's `Message` objects, made from the messages in a server's state.

A `Message` has a `role` and a `content`: text, or a list of blocks that have a `type`. LangChain's messages have a
`type` in place of the role.
"""

from __future__ import annotations

from typing import Any

_ROLES = {
    **{kind: kind for kind in ("human", "ai", "system", "tool", "function", "remove")},
    **{f"{kind}MessageChunk": kind.lower() for kind in ("Human", "AI", "System", "Tool", "Function")},
}
"""LangChain's types of messages, and of the parts of streamed ones."""


def as_messages(value: Any) -> list[dict[str, Any]] | None:
    """The draft's messages; None for what is no list of messages."""
    if not isinstance(value, list):
        return None
    messages = [message for item in value if (message := _message(item)) is not None]
    return messages if len(messages) == len(value) else None


def _message(item: Any) -> dict[str, Any] | None:
    """One message; fields that the draft does not know are kept, and those of its own that are null are left out."""
    if not isinstance(item, dict):
        return None
    rest = {name: field for name, field in item.items() if field is not None or name not in ("role", "id", "metadata")}
    if "role" not in rest:
        rest = {"role": _ROLES.get(str(rest.pop("type", None))), **rest}
    rest["content"] = _content(rest.get("content"))
    types = (("role", str), ("content", str | list), ("id", str), ("metadata", dict))
    return rest if all(isinstance(rest[name], kind) for name, kind in types if name in rest) else None


def _content(content: Any) -> Any:
    """Text, or blocks, of which plain strings are made text blocks; None for anything else."""
    if not isinstance(content, list):
        return content
    blocks = [{"type": "text", "text": block} if isinstance(block, str) else block for block in content]
    return blocks if all(map(_is_block, blocks)) else None


def _is_block(block: Any) -> bool:
    return (
        isinstance(block, dict) and isinstance(block.get("type"), str) and isinstance(block.get("metadata", {}), dict)
    )
