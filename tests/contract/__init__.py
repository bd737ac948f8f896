"""A random test over the whole contract, against a reference in a few lines (`reference`).

`AP_TEST_CONTRACT=full` runs many sequences; `AP_TEST_CONTRACT=1234` replays the one with that seed.
"""

from __future__ import annotations

from tests.contract.sequence import Sequence

VARIABLE = "AP_TEST_CONTRACT"


def violated(seed: int, sequence: Sequence, found: list[str]) -> str:
    """What a person needs who looks for the reason."""
    return f"{VARIABLE}={seed} replays this sequence:\n" + "\n".join([*sequence.story, "violations:", *found])
