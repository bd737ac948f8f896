"""Misspelt field names: which known name a client most likely meant.

A field that nobody reads is worse than a refused one: a misspelt `input` would resume the agent with null, and a
misspelt `interrupt_id` would answer whatever is pending.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_TWO_EDITS = 8
"""Letters from which on a name may differ in two places."""


def meant(name: str, known: Iterable[str], aliases: Mapping[str, str]) -> str | None:
    """The known name that `name` is near to, or an alias of; None where it is near to none.

    Near: equal when case, `_` and `-` are ignored, or one edit apart (two from eight letters of the known name on). An
    edit inserts, removes or replaces a letter, or swaps two neighbours (restricted Damerau-Levenshtein distance).
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
    """The names that may stand in a header field: tokens (RFC 9110, section 5.6.2), the first 20 of them."""
    return list(islice((name for name in names if _TOKEN.fullmatch(name)), 20))


def _fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()


def _within(one: str, other: str, edits: int) -> bool:
    """Whether `one` becomes `other` by at most that many edits."""
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
