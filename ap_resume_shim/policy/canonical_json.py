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
    """Return the canonical form of a JSON value. Works without recursion, at any depth."""
    written: list[str] = []
    pending: list[tuple[str, Any]] = [("", value)]  # values in reverse order, each with the text before it
    while pending:
        before, item = pending.pop()
        written.append(before)
        if isinstance(item, dict):
            members = sorted(item.items(), key=_utf16)
            written.append("{")
            pending.append(("}", _END))
            pending += reversed([(f"{',' * (n > 0)}{_string(key)}:", each) for n, (key, each) in enumerate(members)])
        elif isinstance(item, list | tuple):
            written.append("[")
            pending.append(("]", _END))
            pending += reversed([("," * (n > 0), each) for n, each in enumerate(item)])
        elif item is not _END:
            written.append(_number(item) if isinstance(item, float) else _string(item))
    return "".join(written).encode("utf-8", "backslashreplace")


_END = object()
"""Follows the last value of an array or an object."""


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
