"""How a line of the log is written: `what name=value …`, and its fields as those of the record.

Ids and paths may be an attacker's: what cannot be seen is escaped, what could be taken for two fields is in quotes, and
a value has a longest length.
"""

from __future__ import annotations

import json
import logging
import re
from time import perf_counter

_LONGEST = 1024
"""Characters of a value."""


class Stopwatch:
    """Adds up the seconds that were spent inside it."""

    __slots__ = ("_since", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._since = perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter() - self._since


def write(logger: logging.Logger, level: int, what: str, **fields: str | int | float | None) -> None:
    """Write a line; its text leaves out fields without a value."""
    if not logger.isEnabledFor(level):
        return
    shown = {name: printable(cut(value)) if isinstance(value, str) else value for name, value in fields.items()}
    pairs = [f"{name}={_quoted(str(value))}" for name, value in shown.items() if value is not None]
    logger.log(level, "%s %s", what, " ".join(pairs), extra=shown)


def printable(text: str) -> str:
    """A text as a part of one line: what cannot be seen is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cut(text: str) -> str:
    """The beginning of a text that is too long for a line."""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def milliseconds(seconds: float) -> float:
    """As lines have them."""
    return round(seconds * 1000, 1)


def _quoted(value: str) -> str:
    """As it is, unless it could be taken for more than one value."""
    return value if re.fullmatch(r'[^\s="]+', value) else json.dumps(value, ensure_ascii=False)
