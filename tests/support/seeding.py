"""Seeds of random tests: a few fixed ones by default, many on request, or a single one to replay."""

from __future__ import annotations

import os
from random import SystemRandom


def seeds(variable: str, first: int, few: int, many: int) -> list[int]:
    """Return the seeds of a run, as an environment variable selects them.

    `full` gives `many` seeds from `first`, `random` as many new ones, a number only that seed; the default is `few`.
    """
    wanted = os.environ.get(variable, "")
    if wanted.isdecimal():
        return [int(wanted)]
    if wanted == "random":
        first = SystemRandom().randrange(10**9, 10**12)
    return list(range(first, first + (many if wanted in ("full", "random") else few)))
