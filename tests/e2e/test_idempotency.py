"""A retry with the same `Idempotency-Key`: the first answer again, and no second one for the agent."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.protocol import Mode
from tests.support.waiting import eventually
from tests.support.world import World

KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


@pytest.mark.modes(Mode.BACKGROUND, Mode.WAIT)
def test_a_retry_gets_the_first_answer_and_the_next_question_stays(world: World, mode: Mode) -> None:
    thread = world.thread("two")
    first = world.resume(mode, thread, KEY, input="first")
    again = world.resume(mode, thread, KEY, input="first")
    assert (again.status, again.response.content) == (200, first.response.content)
    assert again.response.headers["idempotency-replayed"] == "true"
    assert again.response.headers["content-location"] == first.response.headers["content-location"]
    assert (world.driver.status(thread), len(world.driver.runs(thread))) == ("interrupted", 2)
    assert world.resume(mode, thread, input="second").status == 200
    assert world.values(thread)["answer"] == ["first", "second"]


@pytest.mark.modes(Mode.STREAM)
def test_a_stream_that_has_ended_names_its_run_and_the_next_question_stays(world: World, mode: Mode) -> None:
    thread = world.thread("two")
    first = world.resume(mode, thread, KEY, input="first")
    again = world.resume(mode, thread, KEY, input="first")
    if "resume_state" not in again.metadata:  # the first one's stream has ended, and the shim is about to note that
        eventually(lambda: "resume_state" in world.resume(mode, thread, KEY, input="first").metadata, "it is noted")
        again = world.resume(mode, thread, KEY, input="first")
    assert (again.status, again.code) == (409, "resume_in_progress")
    assert again.metadata == {"run_id": first.run_id, "resume_state": "consumed"}
    assert (world.driver.status(thread), len(world.driver.runs(thread))) == ("interrupted", 2)


def test_a_key_with_another_answer_is_refused(world: World, mode: Mode) -> None:
    thread = world.thread("two")
    world.resume(mode, thread, KEY, input="first")
    other = world.resume(mode, thread, KEY, input="second")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert world.driver.status(thread) == "interrupted"
