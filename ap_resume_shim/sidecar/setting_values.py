"""How the values of settings are written: lists, pairs, references to the environment, and passwords.

`${NAME}` stands for the environment variable NAME; `$${` is a literal `${`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ap_resume_shim.core.errors import ConfigurationError


def _split(value: Any) -> Any:
    """Split `a,b`, or parse a JSON list."""
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError('a list is written a,b or ["a", "b"]') from None
    return [item.strip() for item in value.split(",") if item.strip()]


def _split_pairs(value: Any) -> Any:
    """Like `_split`, but split only before another NAME=, because values may contain commas."""
    if isinstance(value, list):
        return [each for item in value for each in (_split_pairs(item) if isinstance(item, str) else [item])]
    if not isinstance(value, str) or value.startswith("["):
        return _split(value)
    return [item.strip() for item in re.split(r",(?=\s*\w+=)", value) if item.strip()]


Names = Annotated[list[str], BeforeValidator(_split)]
Pairs = Annotated[list[str], BeforeValidator(_split_pairs)]
Seconds = Annotated[float, Field(gt=0)]


def pairs(written: Iterable[str]) -> dict[str, str]:
    """Parse options of the form `NAME=VALUE`. Raises `ConfigurationError`."""
    found = {}
    for item in written:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigurationError(f"An option of a backend has the form NAME=VALUE, not {item!r}.")
        found[name] = value
    return found


REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")
_PASSWORD = re.compile(r"(://[^\s:@]*:)(?!\$\{\w+\}@)\S+(?=@)|([?&]password=)[^\s&]+")


def resolve(value: Any) -> Any:
    """Replace the references in a value. Raises `ValueError` for a variable that is not set."""
    if isinstance(value, list):
        return [resolve(item) for item in value]
    return REFERENCE.sub(_referred, value) if isinstance(value, str) else value


def _referred(reference: re.Match[str]) -> str:
    if reference[0] == "$${":
        return "${"
    if reference[1] is None:
        raise ValueError("${ starts a reference, ${NAME}; write $${ for a literal ${")
    if reference[1] not in os.environ:
        raise ValueError(f"it refers to the environment variable {reference[1]}, which is not set")
    return os.environ[reference[1]]


def masked(text: str) -> str:
    """Return `text` with the passwords in its URLs masked."""
    return _PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", text)
