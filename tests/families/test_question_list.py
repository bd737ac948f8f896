"""What every backend shows of a question, on the real server: the same fields, and the request that answers it."""

from __future__ import annotations

import pytest

from tests.support.questions import FIELDS, answer, find, read_list, read_thread
from tests.support.world import Same, World


@pytest.mark.shows("ask")
def test_a_thread_shows_its_question_and_the_request_that_answers_it(world: World) -> None:
    thread = world.thread("ask")
    shown = read_thread(world, thread)
    assert (shown["thread_id"], shown["status"]) == (thread, "interrupted")
    (question,) = shown["questions"]
    assert question.keys() == FIELDS
    response = answer(world, question, world.driver.yes)
    assert response.status_code == 200, response.text
    assert world.heard(thread) == [Same(world.driver.yes)]
    world.ends(thread)
    assert read_thread(world, thread)["questions"] == []


@pytest.mark.shows("ask")
def test_the_list_has_the_question_until_it_is_answered_or_says_why_not(world: World) -> None:
    thread = world.thread("ask")
    whole = read_list(world)
    if not whole.listed:
        assert (whole.questions, whole.costs) == ([], whole.costs[:1])
        assert len(whole.notes) == 1
        return
    (question,) = find(world, thread)
    shown = read_thread(world, thread)["questions"][0]
    assert {**question, "agent_id": None} == {**shown, "agent_id": None}
    assert answer(world, question, world.driver.yes).status_code == 200
    world.ends(thread)
    assert read_list(world).of(thread) == []


@pytest.mark.shows("par")
def test_the_request_of_one_of_several_questions_is_accepted(world: World) -> None:
    """It answers all of them, if the backend accepts only that."""
    shown = read_thread(world, world.thread("par"))["questions"]
    assert len({question["interrupt_id"] for question in shown}) == 2
    response = answer(world, shown[0], world.driver.yes)
    assert response.status_code == 200, response.text
