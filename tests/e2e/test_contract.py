"""The whole contract at once, as in `tests/contract`, on a real LangGraph server: also forks and edited states."""

from __future__ import annotations

import asyncio
import time
from random import Random

import httpx

from ap_resume_shim import ReverseProxy
from ap_resume_shim.backends import load_backend
from tests.contract import VARIABLE, violated
from tests.contract.langgraph import LangGraphServer
from tests.contract.sequence import Sequence
from tests.servers.run import running
from tests.support.outcome import KEPT
from tests.support.seeding import seeds

AT_ONCE = 24
"""Sequences at the same time: the server takes runs from its queue once in a second or so."""


async def at_once(url: str, wanted: list[int]) -> list[str]:
    """Sequences on a LangGraph server, some at a time, and what the contract forbids in them."""
    free, proxy = asyncio.Semaphore(AT_ONCE), ReverseProxy(url)
    began, answers = time.monotonic(), 0
    print(f"LangGraph, seeds {wanted[0]} to {wanted[-1]}")
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
    print(f"{len(wanted)} sequences, {answers} answers, {time.monotonic() - began:.0f} s")
    return found


def test_each_question_of_a_real_langgraph_hears_its_own_answer_or_none() -> None:
    with running("langgraph") as url:
        found = asyncio.run(at_once(url, seeds(VARIABLE, 2_000_000, 8, 300)))
    assert not found, f"{len(found)} sequences:\n" + "\n\n".join(found)
