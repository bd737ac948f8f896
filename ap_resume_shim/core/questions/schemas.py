"""Derives the kind of a question from the JSON Schema of its answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.json_pointer import point
from ap_resume_shim.core.questions.model import Option, Question, Schema

_MAX_DEPTH = 20
"""Maximum number of references and unions with null around a schema."""
_SCALARS = ("string", "integer", "number", "boolean")
YES_OR_NO = (Option("Yes", True), Option("No", False))


def by_schema(schema: Any, prompt: str | None = None) -> Question | None:
    """Return the question whose answer has this schema; None if the schema fits no kind but `any`."""
    rule = resolved(schema, schema)
    form = form_of(rule, schema)
    options = options_of(rule)
    if options:
        return Question("choice", prompt, options=options)
    if rule.get("type") == "boolean":
        return Question("confirm", prompt, options=YES_OR_NO)
    if rule.get("type") == "array":
        return _several(rule, schema, prompt)
    if form is not None:
        return Question("form", prompt, form=form)
    return Question("text", prompt) if rule.get("type") == "string" else None


def form_of(schema: Schema, root: Any) -> Schema | None:
    """Return the schema of a flat object with its properties resolved; None for any other schema."""
    properties = schema.get("properties")
    if schema.get("type", "object") != "object" or not isinstance(properties, dict) or not properties:
        return None
    fields = {name: _field(field, root) for name, field in properties.items()}
    if not all(fields.values()):
        return None
    required = schema.get("required")
    names = [name for name in fields if name in required] if isinstance(required, list) else []
    about = {key: schema[key] for key in ("title", "description") if isinstance(schema.get(key), str)}
    return {**about, "type": "object", "properties": fields, "required": names}


def options_of(schema: Schema) -> tuple[Option, ...]:
    """Return the values that a schema lists, as `enum`, `const`, or a union of `const`."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list):
        return tuple(Option(_label(value), value) for value in values)
    union = schema.get("oneOf", schema.get("anyOf"))
    parts = union if isinstance(union, list) else []
    if not all(isinstance(part, dict) and "const" in part for part in parts):
        return ()
    return tuple(Option(_label(part["const"], part.get("title")), part["const"]) for part in parts)


def resolved(schema: Any, root: Any) -> Schema:
    """Return a schema with its local references resolved, and without null: `nullable` replaces it.

    Returns an empty schema for one that is malformed or endless.
    """
    for _ in range(_MAX_DEPTH):
        if not isinstance(schema, dict):
            return {}
        if "$ref" in schema:
            schema = {**_target(schema["$ref"], root), **{key: schema[key] for key in schema if key != "$ref"}}
            continue
        inner = _without_null(schema)
        if inner is None:
            return schema
        schema = inner
    return {}


def variants(schema: Any) -> Iterator[Schema]:
    """Yield the resolved parts of a union, or the schema itself."""
    rule = resolved(schema, schema)
    union = rule.get("oneOf", rule.get("anyOf"))
    for part in union if isinstance(union, list) else [rule]:
        yield resolved(part, schema)


def _several(schema: Schema, root: Any, prompt: str | None) -> Question | None:
    """Return the question for a list of choices."""
    options = options_of(resolved(schema.get("items"), root))
    if not options:
        return None
    lists = tuple(replace(option, answer=[option.answer]) for option in options)
    return Question("choice", prompt, options=lists, multiple=schema.get("maxItems") != 1)


def _field(schema: Any, root: Any) -> Schema | None:
    """Return the resolved schema of a form's field; None for a field that is nested or has no type."""
    rule = resolved(schema, root)
    if options_of(rule) or (isinstance(rule.get("type"), str) and rule["type"] in _SCALARS):
        return rule
    items = resolved(rule.get("items"), root)
    return {**rule, "items": items} if rule.get("type") == "array" and options_of(items) else None


def _target(ref: Any, root: Any) -> Schema:
    if not isinstance(ref, str) or (ref != "#" and not ref.startswith("#/")):
        return {}
    found = point(root, ref[1:])
    return found if isinstance(found, dict) else {}


def _without_null(schema: Schema) -> Schema | None:
    """Return the schema with `nullable` in the place of null, and without unions of one; None if there are none."""
    kinds, values = schema.get("type"), schema.get("enum")
    if isinstance(kinds, list) and ("null" in kinds or len(kinds) == 1):
        left = [kind for kind in kinds if kind != "null"]
        nullable = {"nullable": True} if "null" in kinds else {}
        return {**schema, "type": left[0] if len(left) == 1 else left, **nullable}
    if isinstance(values, list) and None in values:
        return {**schema, "enum": [value for value in values if value is not None], "nullable": True}
    for name in ("anyOf", "oneOf", "allOf"):
        union = schema.get(name)
        if not isinstance(union, list):
            continue
        parts = [part for part in union if part != _NULL]
        if len(parts) == 1 and isinstance(parts[0], dict):
            rest = {key: schema[key] for key in schema if key != name}
            return {**rest, **parts[0], **({"nullable": True} if _NULL in union else {})}
    return None


_NULL = {"type": "null"}


def _label(value: Any, title: Any = None) -> str:
    if isinstance(title, str):
        return title
    return value if isinstance(value, str) else strictjson.dumps(value).decode()
