"""The three things a profile can say with data: `{name}` in a path, `$name` for a whole value, and JSON pointers.

No expressions, conditions or loops: what needs them is a dialect in Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ap_resume_shim.core.http import segment

MISSING = object()
"""What a pointer finds where nothing is. Not None, which is a value."""

_NAME = re.compile(r"\{(\w+)\}")


def names_in(path: str) -> set[str]:
    """The names that a path refers to."""
    return set(_NAME.findall(path))


def fill_path(path: str, names: Mapping[str, Any]) -> str:
    """Put values into a path, each escaped as one segment: a profile cannot opt out."""
    return _NAME.sub(lambda match: segment(str(names[match[1]])), path)


def fill(template: Any, names: Mapping[str, Any]) -> Any:
    """Put whole values into a template of JSON; a member whose value is missing is left out."""
    if isinstance(template, str) and template.startswith("$"):
        return names.get(template[1:], MISSING)
    if isinstance(template, dict):
        filled = {key: fill(item, names) for key, item in template.items()}
        return {key: item for key, item in filled.items() if item is not MISSING}
    if isinstance(template, list):
        return [item for item in (fill(item, names) for item in template) if item is not MISSING]
    return template


def point(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) finds, or `MISSING`."""
    for key in parts(pointer):
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and key.isdecimal() and int(key) < len(document):
            document = document[int(key)]
        else:
            return MISSING
    return document


def equal(one: Any, other: Any) -> bool:
    """Whether two scalars are the same JSON value: for Python, `True` equals 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def place(document: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    """The document with a value put where a pointer points; objects on the way are made."""
    first, *rest = parts(pointer)
    if not rest:
        return {**document, first: value}
    inner = document.get(first)
    return {
        **document,
        first: place(inner if isinstance(inner, dict) else {}, "/" + "/".join(_escape(rest)), value),
    }


def parts(pointer: str) -> list[str]:
    """The keys of a pointer; the empty pointer is the whole document. Raises `ValueError`."""
    if not pointer:
        return []
    if not pointer.startswith("/"):
        raise ValueError(f"a JSON pointer starts with a slash: {pointer!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _escape(keys: list[str]) -> list[str]:
    return [key.replace("~", "~0").replace("/", "~1") for key in keys]
