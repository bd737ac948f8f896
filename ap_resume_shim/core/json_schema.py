"""A checker for the JSON Schemas of questions: it reports only certain violations.

A violation is certain if no reading of the schema allows the value, even by a server that converts or does not check: a
missing required property, a value outside `enum` or `const`, and an object, an array or a scalar where another of the
three is required. Scalars that a server may convert (`"5"` for 5), `pattern`, `format`, extra properties, unknown
keywords and malformed schemas never count, unless the server is known to enforce more (`Strictness`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.json_pointer import MISSING, point
from ap_resume_shim.core.json_values import equal

MAX_DEPTH = 100
MAX_CHECKS = 20_000
"""Limits of the check, in levels and in places. The server decides about anything beyond, in larger or endless
schemas."""


@dataclass(frozen=True, slots=True)
class Strictness:
    """Checks that a server enforces beyond the certain ones, as its recordings show."""

    scalar_types: bool = False
    bounds: bool = False
    """`minimum`, `maxLength` and similar; lengths in UTF-16 code units."""
    extra_properties: bool = False
    """`additionalProperties`."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A reason why a schema refuses a value."""

    path: str
    """Keys and indexes that lead to the place, joined with dots; empty for the value itself."""
    problem: str

    def as_json(self) -> dict[str, str]:
        """Return `{path, problem}`."""
        return {"path": self.path, "problem": self.problem}


LAX = Strictness()


def violations(schema: Any, value: Any, strictness: Strictness = LAX) -> list[Violation]:
    """Return every certain violation of `schema` in `value`; an empty list if there is none."""
    return list(dict.fromkeys(_Checker(schema, strictness).check(schema, value, "")))


class _Checker:
    def __init__(self, root: Any, strictness: Strictness) -> None:
        self._root, self._strict, self._checks_left = root, strictness, MAX_CHECKS

    def check(self, schema: Any, value: Any, path: str, depth: int = 0) -> Iterator[Violation]:
        if schema is False:
            yield Violation(path, "no value is allowed here")
        self._checks_left -= 1
        if not isinstance(schema, dict) or self._checks_left < 0 or depth > MAX_DEPTH:
            return
        if value is None and schema.get("nullable") is True:  # OpenAPI 3.0
            return
        if "$ref" in schema:
            yield from self.check(self._resolve(schema["$ref"]), value, path, depth + 1)
        yield from self._type(schema, value, path)
        yield from self._enum(schema, value, path)
        if self._strict.bounds:
            yield from _bounds(schema, value, path)
        if isinstance(value, dict):
            yield from self._properties(schema, value, path, depth)
        if isinstance(value, list):
            yield from self._items(schema, value, path, depth)
        yield from self._combinators(schema, value, path, depth)

    def _resolve(self, ref: Any) -> Any:
        """Return the schema that a local JSON pointer refers to; for any other reference, True, which allows
        everything.
        """
        if not isinstance(ref, str) or (ref != "#" and not ref.startswith("#/")):
            return True
        found = point(self._root, ref[1:])
        return True if found is MISSING else found

    def _type(self, schema: dict[str, Any], value: Any, path: str) -> Iterator[Violation]:
        declared = schema.get("type")
        types: list[Any] = declared if isinstance(declared, list) else [declared]
        if not types or any(not isinstance(name, str) or name not in _TYPES for name in types):
            return
        fits = any(_TYPES[name](value) for name in types)
        if not fits and (self._strict.scalar_types or _shape(value) not in {_SHAPES.get(name) for name in types}):
            yield Violation(path, f"has to be of type {' or '.join(types)}")

    @staticmethod
    def _enum(schema: dict[str, Any], value: Any, path: str) -> Iterator[Violation]:
        allowed = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(allowed, list) and not any(equal(item, value) for item in allowed):
            yield Violation(path, f"has to be one of {strictjson.dumps(allowed).decode()[:200]}")

    def _properties(self, schema: dict[str, Any], value: dict[str, Any], path: str, depth: int) -> Iterator[Violation]:
        known = schema.get("properties")
        known = known if isinstance(known, dict) else {}
        required = schema.get("required")
        for name in required if isinstance(required, list) else ():
            if not isinstance(name, str) or name in value:
                continue
            rule = known.get(name)
            if not (isinstance(rule, dict) and "default" in rule):
                yield Violation(_join(path, name), "is missing")
        rest = schema.get("additionalProperties", True) if self._strict.extra_properties else True
        for name, item in value.items():
            yield from self.check(known.get(name, rest), item, _join(path, name), depth + 1)

    def _items(self, schema: dict[str, Any], value: list[Any], path: str, depth: int) -> Iterator[Violation]:
        first, rest = schema.get("prefixItems"), schema.get("items")
        first = first if isinstance(first, list) else []
        for index, item in enumerate(value):
            rule = first[index] if index < len(first) else rest if isinstance(rest, dict) else True
            yield from self.check(rule, item, _join(path, index), depth + 1)

    def _combinators(self, schema: dict[str, Any], value: Any, path: str, depth: int) -> Iterator[Violation]:
        for name in ("anyOf", "oneOf"):
            choices = schema.get(name)
            if not isinstance(choices, list) or not choices:
                continue
            found = [list(self.check(choice, value, path, depth + 1)) for choice in choices]
            if all(found):
                yield from found[0] if len(found) == 1 else [Violation(path, f"fits none of `{name}`")]
        parts = schema.get("allOf")
        for part in parts if isinstance(parts, list) else ():
            yield from self.check(part, value, path, depth + 1)


def _join(path: str, key: str | int) -> str:
    return f"{path}.{key}" if path else str(key)


def _shape(value: Any) -> str:
    """Return `object`, `array` or `scalar`: no server converts one of the three to another."""
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "scalar"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and value == value // 1,
}
_SHAPES = {name: name if name in ("array", "object") else "scalar" for name in _TYPES}


def _size(value: Any) -> float | None:
    return value if _is_number(value) else None


def _units(value: Any) -> int | None:
    return len(value.encode("utf-16-le", "surrogatepass")) // 2 if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


_BOUNDS: tuple[tuple[str, Callable[[Any], float | None], Callable[[float, float], bool]], ...] = (
    ("minimum", _size, lambda size, bound: size >= bound),
    ("maximum", _size, lambda size, bound: size <= bound),
    ("exclusiveMinimum", _size, lambda size, bound: size > bound),
    ("exclusiveMaximum", _size, lambda size, bound: size < bound),
    ("minLength", _units, lambda size, bound: size >= bound),
    ("maxLength", _units, lambda size, bound: size <= bound),
    ("minItems", _count, lambda size, bound: size >= bound),
    ("maxItems", _count, lambda size, bound: size <= bound),
)


def _bounds(schema: dict[str, Any], value: Any, path: str) -> Iterator[Violation]:
    for name, measure, fits in _BOUNDS:
        bound, measured = _size(schema.get(name)), measure(value)
        if bound is not None and measured is not None and not fits(measured, bound):
            yield Violation(path, f"is outside `{name}: {bound}`")
