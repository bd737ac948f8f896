"""How many requests a resume makes: as many as its verdict and its answer need, and no more."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.protocol import Mode
from benchmarks.requests_per_resume import requests_of
from tests.support.world import World

LOOKUPS = {
    "langgraph": (3, 4),
    "langgraph-old": (3, 4),
    "langgraph-js": (3, 4),
    "langhost": (3, 4),
    "aegra": (2, 3),
    "agent-protocol": (2, 3),
}
"""Before the resume: without `agent_id`, and with it."""
AFTERWARDS = {"langgraph": 3, "langgraph-old": 3, "langgraph-js": 3, "langhost": 3}
"""After a wait the thread is looked at again, since most servers call a run that stopped at the next question a
success. On LangGraph's servers a look is three requests, side by side."""

COMMITS = {"agent-protocol": 1}
"""Beside the answer, one look at least shows the resume in the state, where that is not known to come with the answer;
none, where the run has ended before."""


@pytest.mark.parametrize("given", [False, True], ids=["own agent", "agent given"])
def test_a_resume_makes_no_more_requests_than_it_needs(world: World, mode: Mode, given: bool) -> None:
    wanted = LOOKUPS[world.driver.name][given] + 1 + (AFTERWARDS.get(world.driver.name, 1) if mode is Mode.WAIT else 0)
    allowed = range(wanted, wanted + COMMITS.get(world.driver.name, 0) + 1)
    for _ in range(3):  # a thread that has not settled when its wait has ended is asked again
        made = requests_of(world, mode, given=given)
        if len(made) in allowed:
            break
    assert len(made) in allowed, made
