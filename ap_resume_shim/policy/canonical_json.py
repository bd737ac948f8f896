"""Canonical JSON (RFC 8785): one spelling of a value, so that its digest can be computed anywhere.

Unlike there, an integer keeps all its digits, and half of a surrogate pair is escaped.
"""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from typing import Any

from ap_resume_shim.core import strictjson


def sha256(value: Any) -> str:
    """Return the SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def canonical(value: Any) -> bytes:
    """Return the canonical form of a JSON value. Raises `RecursionError` for one that is nested too deep."""
    return _text(value).encode("utf-8", "backslashreplace")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        items = sorted(value.items(), key=_utf16)
        return "{" + ",".join([f"{_string(key)}:{_text(item)}" for key, item in items]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([_text(item) for item in value]) + "]"
    return _number(value) if isinstance(value, float) else _string(value)


def _utf16(item: tuple[str, Any]) -> bytes:
    """Return the sort key of a member: its name in UTF-16."""
    return item[0].encode("utf-16-be", "surrogatepass")


def _string(value: object) -> str:
    return strictjson.dumps(value).decode()


def _number(value: float) -> str:
    """Return a number as ECMAScript writes it."""
    text = repr(value)
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        text = f"{Decimal(text):f}"
        return "0" if value == 0 else text.removesuffix(".0")
    return re.sub(r"e([+-])0", r"e\1", text)
