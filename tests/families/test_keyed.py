"""Keyed answers, on the real servers: no question hears another question's answer, or a map in place of a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.core.protocol import Mode
from tests.families.test_families import pending
from tests.support.calling import CLIENT
from tests.support.outcome import Outcome
from tests.support.serving import serving
from tests.support.waiting import eventually
from tests.support.world import Same, Thread, World

BUSY = ("thread_busy", "resume_in_progress")


def settled(send: Callable[[], Outcome]) -> Outcome:
    """The outcome of a resume once the run before it is at rest."""

    def outcome() -> Outcome | None:
        sent = send()
        return None if sent.status == 409 and sent.code in BUSY else sent

    found: Outcome = eventually(outcome, "the thread is at rest")
    return found


def is_not_pending(outcome: Outcome) -> bool:
    return (outcome.status, outcome.code) == (409, "interrupt_not_pending")


def asked(world: World, thread: Thread, count: int) -> list[str]:
    """The ids of the questions that wait, once there are so many."""

    def ids() -> list[str] | None:
        found = [str(item["id"]) for item in pending(world, thread)]
        return found if len(found) == count else None

    found: list[str] = eventually(ids, f"{count} questions wait")
    return found


@pytest.mark.shows("two")
@pytest.mark.having("ids")
def test_an_old_card_is_refused_when_the_next_question_waits(world: World, mode: Mode) -> None:
    thread = world.thread("two")
    (first,) = asked(world, thread, 1)
    card = {first: world.driver.yes}
    assert world.resume(mode, thread, input=card).status == 200
    eventually(lambda: len(world.noted(thread, "asked")) == 2, "the second question is asked")
    with world.untouched():
        again = settled(lambda: world.resume(mode, thread, input=card))
    assert is_not_pending(again), again.text
    (second,) = (str(item["id"]) for item in again.metadata["interrupts"])
    with world.untouched():
        assert is_not_pending(world.resume(mode, thread, input={first: world.driver.no, second: world.driver.no}))
    assert settled(lambda: world.resume(mode, thread, input={second: world.driver.no})).status == 200
    assert world.heard(thread, 2) == [Same(world.driver.yes), Same(world.driver.no)]
    with world.untouched():
        late = settled(lambda: world.resume(mode, thread, input=card))
    assert late.status == 409, late.text


@pytest.mark.shows("two")
@pytest.mark.having("ids", "fresh")
def test_an_old_card_is_refused_by_a_shim_that_never_saw_its_question(world: World, mode: Mode) -> None:
    """After a restart, the ids in the thread's own history count, or their form."""
    thread = world.thread("two")
    (first,) = asked(world, thread, 1)
    assert world.resume(Mode.WAIT, thread, input=world.driver.yes).status == 200
    asked(world, thread, 1)
    driver = world.driver
    shim = ResumeShim(
        ReverseProxy(world.place.server), driver.backend, options=driver.options, resume_at=driver.resume_at
    )
    with serving(shim) as url:
        body = {"thread_id": thread, "input": {first: driver.yes}}
        old = settled(lambda: Outcome(CLIENT.patch(url + mode.route, json=body, timeout=60), mode))
    assert is_not_pending(old), old.text
    assert world.heard(thread) == [Same(driver.yes)]


@pytest.mark.shows("par")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_people_answer_one_question_each(world: World, mode: Mode, order: tuple[int, int]) -> None:
    """Where the backend takes the answers to all at once, nothing is sent until all are there."""
    thread = world.thread("par")
    ids = asked(world, thread, 2)
    answers: dict[str, Any] = dict(zip(ids, (world.driver.yes, world.driver.no), strict=True))
    first, second = (ids[index] for index in order)
    before = world.resumes
    if not world.driver.mixes:
        outcome = world.resume(mode, thread, input=answers)
        assert (outcome.code, world.resumes) == ("multiple_interrupts", before), outcome.text
        answers = dict.fromkeys(ids, world.driver.yes)
    outcome = world.resume(mode, thread, input={first: answers[first]})
    if outcome.status == 409:
        assert (outcome.code, world.resumes) == ("multiple_interrupts", before), outcome.text
        outcome = world.resume(mode, thread, input=answers)
    else:
        assert outcome.status == 200, outcome.text
        for stale in ({first: answers[first]}, answers):
            again = settled(lambda given=stale: world.resume(mode, thread, input=given))  # type: ignore[misc]
            assert is_not_pending(again), again.text
        assert world.resumes == before + 1
        outcome = settled(lambda: world.resume(mode, thread, input={second: answers[second]}))
    assert outcome.status == 200, outcome.text
    heard = world.heard(thread, 2)
    assert sorted(map(repr, heard)) == sorted(map(repr, answers.values()))


@pytest.mark.shows("ask")
@pytest.mark.having("ids", "restarts")
def test_an_old_card_is_refused_after_the_agent_was_started_anew(world: World, mode: Mode) -> None:
    old = world.thread("ask")
    (first,) = asked(world, old, 1)
    assert world.resume(Mode.WAIT, old, input=world.driver.yes).status == 200
    world.ends(old)
    anew = world.thread("ask", on=old)
    with world.untouched():
        refused = settled(lambda: world.resume(mode, anew, input={first: world.driver.no}))
    assert is_not_pending(refused), refused.text
    (second,) = asked(world, anew, 1)
    assert world.resume(mode, anew, input={second: world.driver.no}).status == 200
    assert world.heard(anew) == [Same(world.driver.no)]
    assert world.heard(old) == [Same(world.driver.yes)]


@pytest.mark.shows("ask")
@pytest.mark.having("ids")
def test_a_pin_sends_an_object_that_looks_keyed_as_it_is(world: World, mode: Mode) -> None:
    thread = world.thread("ask")
    (id_,) = asked(world, thread, 1)
    looks_keyed = {id_: world.driver.yes, "0" * 32: 1}
    outcome = world.resume(mode, thread, input=looks_keyed, interrupt_id=id_)
    if outcome.status == 422:
        assert not world.noted(thread, "got")
    else:
        assert outcome.status == 200, outcome.text
        assert world.heard(thread) == [Same(looks_keyed)]
