"""Strict JSON (RFC 8259): refuses input that `json` accepts and servers interpret differently.

Refused are NaN and the infinities, numbers too large for a double, duplicate keys (two parsers would read two different
requests), lone surrogates, encodings other than UTF-8, and nesting deeper than backends accept.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from ap_resume_shim.core.json_values import depth

_MAY_BE_HALF = re.compile(r"\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..\\u[dD])[c-fC-F])")
"""Matches an escaped half of a surrogate pair without the other half; may match others too. Most texts have no
match."""

MAX_DEPTH = 200
"""Maximum nesting of arrays and objects. The encoder of LangGraph's servers stops at 254 levels, and wraps the value in
further ones."""


def loads(raw: bytes) -> Any:
    """Parse a JSON text. Raises `ValueError` with a message for the sender."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"The body is not valid UTF-8 (byte {error.start}).") from None
    if text.startswith("\ufeff"):
        raise ValueError("The body is not JSON: Unexpected UTF-8 BOM. Send it without the byte order mark.")
    try:
        value = _STRICT.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"The body is not JSON: {error}.") from None
    if depth(value) > MAX_DEPTH:
        raise ValueError(_TOO_DEEP)
    if _MAY_BE_HALF.search(text):
        try:
            _write(value).encode()
        except UnicodeEncodeError:
            raise ValueError("A string holds half of a surrogate pair, which is not a character.") from None
    return value


def read(raw: bytes | str) -> Any:
    """Parse JSON that a backend wrote, as far as it can be forwarded. Raises `ValueError`.

    NaN and the infinities, which Python's servers write, become null, as in a browser. A number too large for a double
    is refused, since it could not be written again.
    """
    text = raw if isinstance(raw, str) else raw.decode(json.detect_encoding(raw), "surrogatepass")
    try:
        return (_LONG_READER if len(raw) >= _LONG else _READER).decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def lenient(raw: bytes | str) -> Any:
    """Parse JSON that a client wrote, as the most lenient of the servers does.

    JavaScript replaces bytes that are not UTF-8, and reads any number; Python's standard library reads NaN and an
    infinite float. Raises `ValueError` for what no server reads, and `RecursionError` for what only JavaScript reads.
    """
    try:
        return read(raw)
    except ValueError:
        text = raw if isinstance(raw, str) else raw.decode("utf-8-sig", "replace")
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else float(digits))


_LONG = 64 * 1024


def _identity(value: dict[str, Any]) -> dict[str, Any]:
    return value


def dumps(value: Any) -> bytes:
    """Write a value as compact UTF-8, without NaN.

    Half of a surrogate pair, which JavaScript can produce, stays escaped.
    """
    return _write(value).encode("utf-8", "backslashreplace")


def _write(value: Any) -> str:
    return _WRITER.encode(value)


_TOO_DEEP = f"The body is nested deeper than {MAX_DEPTH} levels."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"The key {repeated!r} occurs twice in one object.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"The number {text[:40]} is too large for a double.")
    return number


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"The number {text[:40]}… has more than {_MAX_DIGITS} digits.")
    return int(text)


_MAX_DIGITS = 1000

_STRICT = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_integer
)
_READER = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite)
_LONG_READER = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite, object_hook=_identity)
"""For long texts. It calls a Python function for each object: only then can the interpreter switch to other threads."""
_WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
