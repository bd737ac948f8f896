"""Describes the errors that pydantic reports: the place of each, and the value that is expected there.

The texts do not quote the wrong value, which may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

EXPECTED = {
    "bool_": "must be true or false",
    "dict_type": "must be an object",
    "extra_forbidden": "unknown key",
    "float_": "must be a number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "int_": "must be a whole number",
    "less_than_equal": "must be at most {le:g}",
    "list_": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is required",
    "model_type": "must be an object",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "too_short": "must not be empty",
    "value_error": "{error}",
}
"""Descriptions of the expected value, by the type of pydantic's error, or by the part before its first `_`."""


def expected(item: Mapping[str, Any], words: Mapping[str, str] = EXPECTED, otherwise: str = "is invalid") -> str:
    """Return the description of the value that one of pydantic's errors expects."""
    kind = item["type"]
    text = words.get(kind) or words.get(f"{kind.partition('_')[0]}_", otherwise)
    return text.format(**item.get("ctx", {}))


def problems(
    error: ValidationError, value: Any, words: Mapping[str, str] = EXPECTED
) -> list[tuple[Sequence[str | int], str]]:
    """Return the place of each wrong part of `value`, and the description of the value that is expected there.

    A part that may have several types has one error for each of them, which are joined.
    """
    found: dict[tuple[str | int, ...], dict[str, None]] = {}
    for item in error.errors(include_url=False, include_input=False):
        found.setdefault(_place(item["loc"], value, item["type"]), {})[expected(item, words)] = None
    return [(place, ", or ".join(texts)) for place, texts in found.items()]


def _place(loc: tuple[str | int, ...], value: Any, kind: str) -> tuple[str | int, ...]:
    """Return the keys that lead to a problem.

    Pydantic's own location continues with the member of the union that it tried.
    """
    for depth, part in enumerate(loc):
        try:
            value = value[part]
        except (KeyError, TypeError):
            return loc if kind == "missing" and depth == len(loc) - 1 else loc[:depth]
    return loc
