"""Misspelt field names: finds the known name that a client most likely meant.

Ignoring an unknown field is worse than refusing it: a misspelt `input` would resume the agent with null, and a misspelt
`interrupt_id` would answer any pending question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_TWO_EDITS = 8
"""Minimum length of a known name that may differ in two places."""


def meant(name: str, known: Iterable[str], aliases: Mapping[str, str]) -> str | None:
    """Return the known name that `name` is close to or an alias of; None if there is none.

    Close means: equal if case, `_` and `-` are ignored, or one edit apart (two if the known name has eight letters or
    more). An edit inserts, removes or replaces a letter, or swaps two neighbours (restricted Damerau-Levenshtein
    distance).
    """
    folded = _fold(name)
    if folded in aliases:
        return aliases[folded]
    for candidate in known:
        right = _fold(candidate)
        if _within(folded, right, 2 if len(right) >= _TWO_EDITS else 1):
            return candidate
    return None


def tokens(names: Iterable[str]) -> list[str]:
    """Return the first 20 names that are valid in a header field: tokens (RFC 9110, section 5.6.2)."""
    return list(islice((name for name in names if _TOKEN.fullmatch(name)), 20))


def _fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()


def _within(one: str, other: str, edits: int) -> bool:
    """Return True if at most `edits` edits turn `one` into `other`."""
    if abs(len(one) - len(other)) > edits:
        return False
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[same:], other[same:]
    if not one or not other or not edits:
        return len(one) + len(other) <= edits
    return (
        _within(one[1:], other[1:], edits - 1)
        or _within(one[1:], other, edits - 1)
        or _within(one, other[1:], edits - 1)
        or (one[:2] == other[1::-1] and _within(one[2:], other[2:], edits - 1))
    )
