"""Checks the arguments of `ResumeShim` when the app is made: a wrong one would show at the first resume, or never.

The texts do not quote the wrong value, which may be a secret.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.telemetry import Telemetry

Form = tuple[Callable[[Any], bool], str]
"""A check, and the description of the values that pass it."""


def _a(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


def _one_of(*values: str) -> Form:
    *first, last = (f'"{value}"' for value in values)
    return lambda value: value in values, f"{', '.join(first)} or {last}"


def _several(type_: type) -> Callable[[Any], bool]:
    collections = (list, tuple, set, frozenset)
    return lambda value: isinstance(value, collections) and all(isinstance(item, type_) for item in value)


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


_BOOL = _a(bool), "True or False"  # not "false", the text of an environment variable, which is true
_TEXT = _a(str, NoneType), "text, or None"
_NAMES = (lambda value: isinstance(value, str) or _several(str)(value)), "a name, or a list of names"

_FORMS: dict[str, Form] = {
    "backend": (_a(str, os.PathLike, Dialect), "a name, a `Dialect`, or the `Path` of a profile"),
    "profile": (_a(str, os.PathLike, NoneType), "the path of a file, or None"),
    "resume_at": _TEXT,
    "options": (_a(Mapping, NoneType), "a mapping of names to values, or None"),
    "guard": (lambda value: isinstance(value, str) or hasattr(value, "duplicate_window"), "text, or a `Guard`"),
    "namespace": _TEXT,
    "credentials": _NAMES,
    "share_ledger": _BOOL,
    "lenient": _BOOL,
    "prefix": (_a(str), "text"),
    "settle": (_seconds, "a number of seconds, 0 or more"),
    "typed_answers": _one_of("check", "show"),
    "vendor_resumes": _one_of("pass", "observe", "guard"),
    "report_key": _TEXT,
    "limits": (_a(Limits, NoneType), "`Limits`, or None"),
    "cors": _NAMES,
    "merge_openapi": _BOOL,
    "telemetry": (_several(Telemetry), "a list of `Metrics` and `Tracing`"),
    "authorize": (
        lambda value: value is None or isinstance(value, str) or callable(value),
        "a function, a URL, or None",
    ),
}


def check_arguments(given: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for an argument of a wrong type, or outside its range."""
    for name, (fits, expected) in _FORMS.items():
        if not fits(given[name]):
            raise ConfigurationError(f"`{name}` must be {expected}.")
