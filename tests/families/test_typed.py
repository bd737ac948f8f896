"""Typed questions, on the real servers: the schema is shown, and an answer that violates it never reaches the agent."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.protocol import Mode
from tests.families.test_families import pending
from tests.support.world import World


@pytest.mark.having("typed")
def test_an_answer_that_violates_its_schema_is_refused_and_the_question_stays(world: World, mode: Mode) -> None:
    assert world.driver.typed is not None
    scenario, misfit = world.driver.typed
    thread = world.thread(scenario)
    (asked,) = pending(world, thread)
    with world.untouched():
        outcome = world.resume(mode, thread, input=misfit)
    assert (outcome.status, outcome.code) == (422, "invalid_answer"), outcome.text
    assert outcome.metadata["response_schema"] == asked["response_schema"]
    assert outcome.metadata["interrupt_id"] == asked["id"]
    assert pending(world, thread) == [asked]
    assert not world.noted(thread, "got")


@pytest.mark.shows("ask-expired")
def test_a_question_whose_time_is_over_is_not_pending(world: World, mode: Mode) -> None:
    thread = world.thread("ask-expired")
    with world.untouched():
        outcome = world.resume(mode, thread, input=world.driver.yes)
    assert (outcome.status, outcome.code) == (409, "interrupt_not_pending"), outcome.text
