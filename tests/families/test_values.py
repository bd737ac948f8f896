"""Every JSON value arrives unchanged at the agent, or is refused with 422 before the server is touched.

What comes of each is kept for the table in the docs (`python -m tests.families`).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ap_resume_shim.core.protocol import Mode
from tests.families import results
from tests.support.world import Same, World

LOOKS_KEYED = {"0" * 32: "looks like an interrupt id"}
VALUES: list[Any] = [
    None,
    False,
    True,
    0,
    -1,
    1.5,
    2**53 - 1,
    2**53 + 1,
    "",
    "null",
    "yes",
    "Grüße, 世界 🎈\n",
    "a\0b",
    [],
    [None, False, 0, "", [], {}],
    {},
    {"a": {"b": [None]}},
    LOOKS_KEYED,
    {"resume": {"goto": "x"}, "__interrupt__": []},
    {"n": 3},
]


@pytest.mark.shows("ask")
@pytest.mark.parametrize("value", VALUES, ids=[json.dumps(value)[:40] for value in VALUES])
def test_a_value_arrives_unchanged_or_is_refused(world: World, mode: Mode, value: Any) -> None:
    for scenario in world.driver.asks:
        thread = world.thread(scenario)
        before = world.resumes
        outcome = world.resume(mode, thread, input=value)
        if outcome.code == "interrupt_not_pending":  # an object whose keys look like ids is literal with a pin alone
            assert (value, world.resumes) == (LOOKS_KEYED, before), outcome.text
            (asked,) = outcome.metadata["interrupts"]
            outcome = world.resume(mode, thread, input=value, interrupt_id=asked["id"])
        if outcome.status == 200:
            assert world.heard(thread) == [Same(value)], outcome.text
        else:
            assert outcome.status == 422, outcome.text
            assert outcome.code in ("unsupported_input", "invalid_answer"), outcome.text
            assert world.resumes == before, "the server was asked to resume"
            assert not world.noted(thread, "got")
        results.keep(world.driver.name, scenario, value, carried=outcome.status == 200)


@pytest.mark.shows("ask")
def test_going_on_is_an_answer_of_null(world: World, mode: Mode) -> None:
    """Clients that are generated from the draft cannot send an explicit null."""
    thread = world.thread("ask")
    explicit = world.resume(mode, world.thread("ask"), input=None)
    outcome = world.resume(mode, thread)
    assert (outcome.status, outcome.code) == (explicit.status, explicit.code)


REFUSALS = ((422, "unsupported_input"), (422, "invalid_answer"))
"""Of a list: by a backend that does not carry lists, and by a question whose schema allows none."""


@pytest.mark.shows("ask")
def test_messages_are_an_answer_or_refused(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    outcome = world.resume(mode, thread, messages=[{"role": "user", "content": "yes"}])
    if outcome.status == 200:
        assert len(world.heard(thread)) == 1
    else:
        assert (outcome.status, outcome.code) in REFUSALS, outcome.text


@pytest.mark.shows("ask")
def test_input_and_messages_together_are_422(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    with world.untouched():
        outcome = world.resume(mode, thread, input=1, messages=[{"role": "user", "content": "x"}])
    assert (outcome.status, outcome.code) == (422, "invalid_request")
