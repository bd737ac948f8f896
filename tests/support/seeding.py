"""Seeds of random tests: the same every time, many where that is asked for, or the one that is to be replayed."""

from __future__ import annotations

import os
from random import SystemRandom


def seeds(variable: str, first: int, few: int, many: int) -> list[int]:
    """The seeds of a run, by an environment variable: `full` gives many, `random` as many new ones, a number itself."""
    wanted = os.environ.get(variable, "")
    if wanted.isdecimal():
        return [int(wanted)]
    if wanted == "random":
        first = SystemRandom().randrange(10**9, 10**12)
    return list(range(first, first + (many if wanted in ("full", "random") else few)))
