"""JSON values: traversal, equality and depth, the integers that servers carry exactly, and the forms of ids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core.errors import InvalidRequest, UnsupportedInput

DOUBLE = range(-(2**53), 2**53 + 1)
"""Integers that a double represents exactly, without a gap."""
SAFE = DOUBLE[1:-1]
"""Integers that no other integer is rounded to as a double: JavaScript's safe integers."""
INT64, UINT64 = range(-(2**63), 2**63), range(-(2**63), 2**64)
"""Integers of JSON libraries with 64 bits: signed only, or unsigned as well."""

HEX32 = re.compile("[0-9a-f]{32}")
"""A UUID without dashes, in lower case. Ids that are half of a SHA-256, or an MD5, have the same form."""
UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A UUID with dashes, in lower case."""


def is_hex32(value: Any) -> bool:
    """True for a string of 32 hexadecimal digits in lower case."""
    return isinstance(value, str) and HEX32.fullmatch(value) is not None


def is_uuid(text: str) -> bool:
    """True for a UUID in any case, with all of its dashes or without any."""
    return any(form.fullmatch(text.lower()) for form in (HEX32, UUID))


def uuid_key(thread_id: str, named: str) -> str:
    """Return a UUID in lower case and without dashes, for a server that treats all spellings alike.

    `named` are the things with such ids. Raises `InvalidRequest` for an id that is not a UUID.
    """
    if not is_uuid(thread_id):
        raise InvalidRequest(f"`thread_id` is not a UUID, as the ids of {named} are.")
    return thread_id.replace("-", "").lower()


def everything_in(value: Any) -> Iterator[Any]:
    """Yield a value and all keys and values inside it, at any depth and in no particular order."""
    stack = [value]
    while stack:
        item = stack.pop()
        yield item
        if isinstance(item, dict):
            stack += (*item, *item.values())
        elif isinstance(item, list | tuple):
            stack += item


def integers_in(value: Any) -> Iterator[int]:
    """Yield all integers in a value; booleans are not integers."""
    return (item for item in everything_in(value) if isinstance(item, int) and not isinstance(item, bool))


def equal(one: Any, other: Any) -> bool:
    """Return True if two values are equal in JSON: 1 equals 1.0, and does not equal true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def depth(value: Any) -> int:
    """Return the nesting depth of arrays and objects: 0 for a scalar. Works level by level, without recursion."""
    levels, level = 0, [value]
    while level := [inner for outer in level for inner in _children(outer)]:
        levels += 1
    return levels


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values()) or [None]
    if isinstance(value, list):
        return value or [None]
    return []


@dataclass(frozen=True, slots=True)
class Carries:
    """The values that a server delivers to its agent unchanged. By default, all values."""

    server: str
    """The server's name, as the subject of a sentence."""
    integers: range | None = None
    """The integers that arrive unchanged; None for all."""
    nul: bool = True
    """Strings with U+0000 arrive unchanged. Otherwise the server replaces or removes it, or its database refuses it
    after the agent ran."""
    serialised: bool = True
    """Objects that look like serialised LangChain objects arrive unchanged. Otherwise they are revived as code, as
    JavaScript's server does."""

    def check(self, answers: Any) -> None:
        """Raise `UnsupportedInput` for a value that the server would change."""
        for integer in integers_in(answers):
            if self.integers is not None and integer not in self.integers:
                raise UnsupportedInput(
                    f"{self.server} does not carry the integer {str(integer)[:40]} unchanged: send it as a string."
                )
        for value in everything_in(answers):
            if isinstance(value, str) and "\0" in value and not self.nul:
                raise UnsupportedInput(
                    f"{self.server} does not carry the character U+0000 in a string: leave it out, or encode it."
                )
            if isinstance(value, dict) and value.get("lc") == 1 and not self.serialised:
                raise UnsupportedInput(f"{self.server} treats an object with `lc: 1` as code: wrap it in a string.")
