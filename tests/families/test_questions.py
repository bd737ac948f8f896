"""Questions as a person sees them, on the real servers: every choice gives an answer that the agent receives."""

from __future__ import annotations

from typing import Any

import pytest

from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.questions import Question, describe
from tests.families.test_families import pending
from tests.support.choosing import answer_of, choices_in
from tests.support.world import Same, Thread, World

FIELDS = {"text": "a", "count": 1, "ratio": 0.5, "flag": True, "items": [1], "data": {"k": 1}, "maybe": "m"}
VALUES: dict[tuple[str, str], Any] = {
    ("agno", "ask-form"): {**FIELDS, "whatever": "w"},
    ("agno", "ask-free"): {"a": 1},
    ("ag-ui", "ask-object"): {"a": 1},
    ("llamaindex", "ask-form"): {"approved": True, "comment": "ok"},
    ("adk", "ask-number"): 5,
}
"""Values for questions of the kind `any`, by backend and scenario; the others take a text."""


def described(world: World, thread: Thread) -> Question:
    (asked,) = pending(world, thread)
    return describe(Interrupt(asked["id"], asked["value"], asked.get("response_schema")))


def received(answer: Any) -> Any:
    """The part of an answer that the agents note: of an approval in AG-UI only the decision."""
    edited = isinstance(answer, dict) and "editedArgs" in answer
    return {"approved": answer["approved"]} if edited else answer


@pytest.mark.shows("ask")
def test_every_choice_gives_an_answer_that_the_agent_receives(world: World) -> None:
    for scenario in world.driver.asks:
        value = VALUES.get((world.driver.backend, scenario), world.driver.yes if scenario == "ask" else "yes")
        for number in range(len(list(choices_in(described(world, world.thread(scenario)), value)))):
            thread = world.thread(scenario)
            question = described(world, thread)
            choice = list(choices_in(question, value))[number]
            answer = answer_of(question, choice)
            outcome = world.resume(Mode.WAIT, thread, input=answer)
            assert outcome.status == 200, (scenario, choice, outcome.text)
            assert world.heard(thread) == [Same(received(answer))], (scenario, choice)
