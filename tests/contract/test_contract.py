"""The whole contract at once: whatever is answered in whatever order, each question hears its own answer or none.

`AP_TEST_CONTRACT=full` runs many sequences; `AP_TEST_CONTRACT=1234` replays the one with that seed.
"""

from __future__ import annotations

import asyncio
import os
import time
from random import Random

import httpx
import pytest

from ap_resume_shim import ReverseProxy
from ap_resume_shim.backends import load_backend
from tests.contract.langgraph import LangGraphServer
from tests.contract.legacy import LegacyServer, Loop
from tests.contract.sequence import Sequence
from tests.e2e.placements import real_server
from tests.outcome import KEPT

WANTED = os.environ.get("AP_TEST_CONTRACT", "")
PARTS = 4
"""Of the sequences on the legacy server, for processes that run tests side by side."""
AT_ONCE = int(os.environ.get("AT_ONCE", "8"))
"""Sequences on a real server at the same time."""


def seeds(few: int, many: int, first: int) -> list[int]:
    """The seeds of this run, the same every time."""
    if WANTED.isdecimal():
        return [int(WANTED)]
    return list(range(first, first + (many if WANTED == "full" else few)))


def violated(seed: int, sequence: Sequence, found: list[str]) -> str:
    """What a person needs who looks for the reason."""
    return f"AP_TEST_CONTRACT={seed} replays this sequence:\n" + "\n".join([*sequence.story, "violations:", *found])


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
    began, wanted, answers = time.monotonic(), seeds(100, 2000, 1_000_000)[part::PARTS], 0
    for seed in wanted:
        sequence, found = in_its_own_time(seed)
        assert not found, violated(seed, sequence, found)
        answers += len(sequence.answers)
    print(f"legacy: {len(wanted)} seeds {wanted[:1]}...: {answers} answers, {time.monotonic() - began:.0f} s")


async def at_once(url: str, wanted: list[int]) -> list[str]:
    """Sequences on a LangGraph server, some at a time, and what the contract forbids in them."""
    free, proxy = asyncio.Semaphore(AT_ONCE), ReverseProxy(url)
    began, answers = time.monotonic(), 0
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=KEPT) as client:

        async def one(seed: int) -> str | None:
            nonlocal answers
            async with free:
                rng = Random(seed)
                server = LangGraphServer(client, proxy, rng)
                sequence = Sequence(rng, server, load_backend("langgraph"), time.monotonic)
                found = await sequence.run()
                answers += len(sequence.answers)
                return violated(seed, sequence, found) if found else None

        found = [each for each in await asyncio.gather(*map(one, wanted)) if each]
    await proxy.aclose()
    print(f"LangGraph: {len(wanted)} seeds {wanted[:1]}...: {answers} answers, {time.monotonic() - began:.0f} s")
    return found


def test_each_question_of_a_real_langgraph_hears_its_own_answer_or_none() -> None:
    with real_server("langgraph") as url:
        found = asyncio.run(at_once(url, seeds(int(os.environ.get("FEW", "8")), 300, 2_000_000)))
    assert not found, f"{len(found)} sequences:\n" + found[0]
