"""JSON Patch (RFC 6902)."""

from __future__ import annotations

import copy
from typing import Any

from ap_resume_shim.core.json_pointer import MISSING, index_of, parts, walk
from ap_resume_shim.core.json_values import equal


def patched(document: Any, patch: Any) -> Any:
    """Return the document after a patch; the unchanged document if an operation of the patch fails (section 5)."""
    new = copy.deepcopy(document)
    try:
        for operation in patch:
            new = _apply(new, operation)
    except (KeyError, IndexError, TypeError, ValueError):
        return document
    return new


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    path = parts(operation["path"])
    match operation["op"]:
        case "add":
            return _add(document, path, operation["value"])
        case "remove":
            return _remove(document, path)
        case "replace":
            return _add(_remove(document, path), path, operation["value"])
        case "move":
            source = parts(operation["from"])
            value = _find(document, source)
            return _add(_remove(document, source), path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_find(document, parts(operation["from"]))))
        case "test" if equal(_find(document, path), operation["value"]):
            return document
    raise ValueError(operation)


def _find(document: Any, path: list[str]) -> Any:
    found = walk(document, path)
    if found is MISSING:
        raise KeyError(path)
    return found


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    container, last = _find(document, path[:-1]), path[-1]
    if isinstance(container, list):
        index = len(container) if last == "-" else index_of(last)
        if index is None or index > len(container):
            raise IndexError(last)
        container.insert(index, value)
    else:
        container[last] = value
    return document


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        return None
    _find(document, path)
    container, last = _find(document, path[:-1]), path[-1]
    del container[int(last) if isinstance(container, list) else last]
    return document
