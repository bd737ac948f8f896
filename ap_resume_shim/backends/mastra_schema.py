"""JSON Schema, as far as the schemas go that Mastra tells of its answers: enough to refuse what would not be heard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ap_resume_shim.core import strictjson


def mismatch(schema: Any, value: Any, place: str = "input") -> str | None:
    """Why a JSON Schema refuses a value; None where it does not, or for reasons that are left to the server.

    A key that an object's schema does not know counts: the server drops it on its way to the step.
    """
    if not isinstance(schema, dict):
        return f"`{place}` may not be" if schema is False else None
    return next((problem for check in _CHECKS if (problem := check(schema, value, place))), None)


def _type(schema: dict[str, Any], value: Any, place: str) -> str | None:
    given = schema.get("type")
    types = given if isinstance(given, list) else [] if given is None else [given]
    if not types or any(_TYPES.get(name, _anything)(value) for name in types):
        return None
    return f"`{place}` has to be of type {' or '.join(map(str, types))}"


def _listed(schema: dict[str, Any], value: Any, place: str) -> str | None:
    if "const" in schema:
        listed = [schema["const"]]
    elif isinstance(schema.get("enum"), list):
        listed = schema["enum"]
    else:
        return None
    if any(item == value and isinstance(item, bool) == isinstance(value, bool) for item in listed):
        return None
    return f"`{place}` has to be one of {strictjson.dumps(listed).decode()[:200]}"


def _bounds(schema: dict[str, Any], value: Any, place: str) -> str | None:
    for name, size, fits in _BOUNDS:
        bound, measured = schema.get(name), size(value)
        if isinstance(bound, int | float) and measured is not None and not fits(measured, bound):
            return f"`{place}` is outside `{name}: {bound}`"
    return None


def _object(schema: dict[str, Any], value: Any, place: str) -> str | None:
    if not isinstance(value, dict):
        return None
    known = schema.get("properties") or {}
    for name in schema.get("required") or ():
        if name not in value and "default" not in known.get(name, {}):
            return f"`{place}.{name}` is missing"
    rest = schema.get("additionalProperties", True)
    problems = (mismatch(known.get(name, rest), item, f"{place}.{name}") for name, item in value.items())
    return next(filter(None, problems), None)


def _items(schema: dict[str, Any], value: Any, place: str) -> str | None:
    if not isinstance(value, list) or "items" not in schema:
        return None
    problems = (mismatch(schema["items"], item, f"{place}.{index}") for index, item in enumerate(value))
    return next(filter(None, problems), None)


def _combined(schema: dict[str, Any], value: Any, place: str) -> str | None:
    for name in ("anyOf", "oneOf"):
        choices = schema.get(name)
        if isinstance(choices, list) and all(mismatch(choice, value, place) for choice in choices):
            return mismatch(choices[0], value, place) if len(choices) == 1 else f"`{place}` fits none of `{name}`"
    problems = (mismatch(part, value, place) for part in schema.get("allOf") or ())
    return next(filter(None, problems), None)


_CHECKS: tuple[Callable[[dict[str, Any], Any, str], str | None], ...] = (
    _type,
    _listed,
    _bounds,
    _object,
    _items,
    _combined,
)


def _anything(value: Any) -> bool:
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[Any, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
}


def _number(value: Any) -> float | None:
    return value if _is_number(value) else None


def _units(value: Any) -> int | None:
    """A string's length as JavaScript counts it."""
    return len(value.encode("utf-16-le")) // 2 if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


_BOUNDS: tuple[tuple[str, Callable[[Any], float | None], Callable[[float, float], bool]], ...] = (
    ("minimum", _number, lambda size, bound: size >= bound),
    ("maximum", _number, lambda size, bound: size <= bound),
    ("exclusiveMinimum", _number, lambda size, bound: size > bound),
    ("exclusiveMaximum", _number, lambda size, bound: size < bound),
    ("minLength", _units, lambda size, bound: size >= bound),
    ("maxLength", _units, lambda size, bound: size <= bound),
    ("minItems", _count, lambda size, bound: size >= bound),
    ("maxItems", _count, lambda size, bound: size <= bound),
)
