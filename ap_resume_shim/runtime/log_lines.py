"""Writes log lines in the form `event name=value …`; the fields are attributes of the log record, too.

Ids and paths may come from an attacker: unprintable characters are escaped, ambiguous values are quoted, and each value
has a maximum length.
"""

from __future__ import annotations

import json
import logging
import re
from time import perf_counter

_LONGEST = 1024
"""Maximum length of a value, in characters."""
_PLAIN = re.compile(r'[^\s="]+')


class Stopwatch:
    """Context manager that sums the seconds spent inside its blocks."""

    __slots__ = ("_since", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._since = perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter() - self._since


def write(logger: logging.Logger, level: int, event: str, **fields: str | int | float | None) -> None:
    """Write a line. Fields that are None are left out of its text."""
    if not logger.isEnabledFor(level):
        return
    shown = {name: printable(truncate(value)) if isinstance(value, str) else value for name, value in fields.items()}
    pairs = [f"{name}={_quoted(str(value))}" for name, value in shown.items() if value is not None]
    logger.log(level, "%s %s", event, " ".join(pairs), extra=shown)


def printable(text: str) -> str:
    """Return `text` with unprintable characters escaped, for use in one line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def truncate(text: str) -> str:
    """Truncate `text` to the maximum length of a value."""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def milliseconds(seconds: float) -> float:
    """Return seconds as milliseconds, rounded to one decimal."""
    return round(seconds * 1000, 1)


def _quoted(value: str) -> str:
    """Return `value`, quoted as JSON if it contains white space, `=` or quotes."""
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
