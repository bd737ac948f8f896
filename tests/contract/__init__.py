"""A random test over the whole contract, against a reference in a few lines (`reference`).

`AP_TEST_CONTRACT=full` runs many sequences; `AP_TEST_CONTRACT=1234` replays the one with that seed.
"""

from __future__ import annotations

import os

from tests.contract.sequence import Sequence

_WANTED = os.environ.get("AP_TEST_CONTRACT", "")


def seeds(first: int, few: int, many: int) -> list[int]:
    """The seeds of this run, the same every time."""
    if _WANTED.isdecimal():
        return [int(_WANTED)]
    return list(range(first, first + (many if _WANTED == "full" else few)))


def violated(seed: int, sequence: Sequence, found: list[str]) -> str:
    """What a person needs who looks for the reason."""
    return f"AP_TEST_CONTRACT={seed} replays this sequence:\n" + "\n".join([*sequence.story, "violations:", *found])
