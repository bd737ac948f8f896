"""The whole contract at once: whatever is answered in whatever order, each question hears its own answer or none.

`AP_TEST_CONTRACT=full` runs many sequences; `AP_TEST_CONTRACT=1234` replays the one with that seed.
"""

from __future__ import annotations

import os
import time
from random import Random

from ap_resume_shim.backends import load_backend
from tests.contract.legacy import LegacyServer, Loop
from tests.contract.sequence import Sequence

WANTED = os.environ.get("AP_TEST_CONTRACT", "")
START = 1_000_000


def seeds(few: int, many: int) -> list[int]:
    """The seeds of this run, always the same."""
    if WANTED.isdecimal():
        return [int(WANTED)]
    return list(range(START, START + (many if WANTED == "full" else few)))


def in_its_own_time(seed: int) -> tuple[Sequence, list[str]]:
    """A sequence on the legacy server, and what the contract forbids in it."""
    loop, rng = Loop(), Random(seed)
    server = LegacyServer(loop, rng)
    sequence = Sequence(rng, server, load_backend("agent-protocol"), loop.time)
    try:
        with server.running():
            found = loop.run_until_complete(sequence.run())
        return sequence, found
    finally:
        loop.end()


def test_each_question_of_the_legacy_server_hears_its_own_answer_or_none() -> None:
    began, wanted = time.monotonic(), seeds(100, 2000)
    steps = 0
    for number, seed in enumerate(wanted):
        sequence, found = in_its_own_time(seed)
        steps += len(sequence.answers)
        assert not found, f"AP_TEST_CONTRACT={seed}, sequence {number}:\n" + "\n".join([*sequence.story, *found])
    print(f"{len(wanted)} sequences from seed {wanted[0]}: {steps} answers, {time.monotonic() - began:.0f} s")
