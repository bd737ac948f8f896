"""The whole contract at once: whatever is answered in whatever order, each question hears its own answer or none."""

from __future__ import annotations

import time
from random import Random

import pytest

from ap_resume_shim.backends import load_backend
from tests.contract import VARIABLE, violated
from tests.contract.legacy import LegacyServer, Loop
from tests.contract.sequence import Sequence
from tests.support.seeding import seeds

PARTS = 4
"""For processes that run tests side by side."""


def in_its_own_time(seed: int) -> tuple[Sequence, list[str]]:
    """A sequence on the legacy server, and what the contract forbids in it."""
    loop, rng = Loop(), Random(seed)
    server = LegacyServer(loop, rng)
    sequence = Sequence(rng, server, load_backend("agent-protocol"), loop.time)
    try:
        with server.running():
            return sequence, loop.run_until_complete(sequence.run())
    finally:
        loop.end()


@pytest.mark.parametrize("part", range(PARTS))
def test_each_question_of_the_legacy_server_hears_its_own_answer_or_none(part: int) -> None:
    began, wanted, answers = time.monotonic(), seeds(VARIABLE, 1_000_000, 60, 2000)[part::PARTS], 0
    print(f"legacy server, every {PARTS}th seed from {wanted[:1]} on")
    for seed in wanted:
        sequence, found = in_its_own_time(seed)
        assert not found, violated(seed, sequence, found)
        answers += len(sequence.answers)
    print(f"{len(wanted)} sequences, {answers} answers, {time.monotonic() - began:.0f} s")
