"""Keyed answers: no question ever receives another question's answer, or a map instead of a value."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.protocol import Mode
from tests.e2e.test_verdicts import pending
from tests.support.outcome import Outcome
from tests.support.world import World


def not_pending(outcome: Outcome) -> bool:
    return (outcome.status, outcome.code) == (409, "interrupt_not_pending")


def test_the_same_keyed_answer_twice_is_heard_once(world: World, mode: Mode) -> None:
    thread = world.thread("par")
    a, b = pending(world, thread)
    assert world.resume(mode, thread, input={a: "yes"}).status == 200
    again = world.resume(mode, thread, input={a: "yes"})
    assert not_pending(again)
    assert [item["id"] for item in again.metadata["interrupts"]] == [b]
    assert len(world.run_requests(thread)) == 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_people_each_answer_one_of_two_questions(world: World, mode: Mode, order: tuple[int, int]) -> None:
    thread = world.thread("par")
    asked = list(zip("ab", pending(world, thread), strict=True))
    for which in order:
        name, id_ = asked[which]
        assert world.resume(mode, thread, input={id_: name.upper()}).status == 200
    values = world.values(thread)
    assert (values["a"], values["b"]) == ("A", "B")


def test_a_stale_page_that_answers_both_after_one_is_done_is_refused(world: World, mode: Mode) -> None:
    thread = world.thread("par")
    a, b = pending(world, thread)
    assert world.resume(mode, thread, input={a: "A"}).status == 200
    assert not_pending(world.resume(mode, thread, input={a: "late", b: "late"}))
    assert world.resume(mode, thread, input={b: "B"}).status == 200
    values = world.values(thread)
    assert (values["a"], values["b"]) == ("A", "B")


def test_an_old_card_is_refused_after_the_agent_was_started_anew(world: World, mode: Mode) -> None:
    thread = world.thread("par")
    a, _ = pending(world, thread)
    world.driver.start("par", {"topic": "dinner"}, on=thread)
    assert not_pending(world.resume(mode, thread, input={a: "old"}))
    c, d = pending(world, thread)
    assert world.resume(mode, thread, input={c: "new", d: "new"}).status == 200
    values = world.values(thread)
    assert (values["a"], values["b"]) == ("new", "new")


def test_a_single_question_keyed_by_its_id_hears_the_value(world: World, mode: Mode) -> None:
    thread = world.thread("two")
    (asked,) = world.resume(Mode.WAIT, thread, input="x").run["metadata"]["interrupts"]
    assert world.resume(mode, thread, input={asked["id"]: "v"}).status == 200
    assert world.values(thread)["answer"] == ["x", "v"]


def test_a_pin_sends_an_object_that_looks_keyed_as_it_is(world: World, mode: Mode) -> None:
    thread = world.thread("par")
    a, b = pending(world, thread)
    value = {"0" * 32: "looks like an interrupt id", b: "is one"}
    assert world.resume(mode, thread, input=value, interrupt_id=a).status == 200
    assert world.resume(mode, thread, input={b: "B"}).status == 200
    values = world.values(thread)
    assert (values["a"], values["b"]) == (value, "B")
