"""JSON pointers (RFC 6901)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MISSING = object()
"""The result for a pointer that finds nothing. It is not None, which is a valid value."""

_INDEX = re.compile("0|[1-9][0-9]{0,8}")


def point(document: Any, pointer: str) -> Any:
    """Return the value that a pointer refers to, or `MISSING`. Raises `ValueError` for an invalid pointer."""
    return walk(document, parts(pointer))


def walk(document: Any, keys: Iterable[str]) -> Any:
    """Return the value that the keys of a pointer lead to, or `MISSING`."""
    for key in keys:
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and (index := index_of(key)) is not None and index < len(document):
            document = document[index]
        else:
            return MISSING
    return document


def place(document: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    """Return a copy of the document with a value set at a pointer; missing objects on the path are created."""
    return _set_at(document, parts(pointer), value)


def _set_at(document: dict[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    first, *rest = keys
    if not rest:
        return {**document, first: value}
    inner = document.get(first)
    return {**document, first: _set_at(inner if isinstance(inner, dict) else {}, rest, value)}


def parts(pointer: str) -> list[str]:
    """Return the keys of a pointer; the empty pointer, which means the whole document, has none.

    Raises `ValueError`.
    """
    if not pointer:
        return []
    if not pointer.startswith("/"):
        raise ValueError(f"a JSON pointer starts with a slash: {pointer!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def index_of(key: str) -> int | None:
    """Return the array index for a key; None for a key that is not an index, such as `-` or `01`."""
    return int(key) if _INDEX.fullmatch(key) else None
