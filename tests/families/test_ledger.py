"""Servers whose threads are known from the traffic alone: seen from the first run on, and kept apart by caller."""

from __future__ import annotations

import pytest

from ap_resume_shim.core.protocol import Mode
from tests.support.driver import Driver
from tests.support.sidecar import sidecar
from tests.support.waiting import eventually
from tests.support.world import Place, Same, World

ALICE, BOB = {"authorization": "Bearer alice"}, {"authorization": "Bearer bob"}


@pytest.mark.shows("ask")
@pytest.mark.having("keeps_contents")
def test_another_caller_gets_nothing_of_a_question(world: World, mode: Mode) -> None:
    world.client.headers.update(ALICE)
    try:
        thread = world.thread("ask")
    finally:
        del world.client.headers["authorization"]
    nobodys = world.resume(mode, world.driver.unknown(), headers=BOB, input=world.driver.yes)
    with world.untouched():
        theirs = world.resume(mode, thread, headers=BOB, input=world.driver.yes)
    assert (theirs.status, theirs.code) == (nobodys.status, nobodys.code) == (409, "thread_not_interrupted")
    outcome = world.resume(mode, thread, headers=ALICE, input=world.driver.yes)
    assert outcome.status == 200, outcome.text
    assert world.heard(thread) == [Same(world.driver.yes)]
    world.ends(thread)


@pytest.mark.shows("ask")
@pytest.mark.having("recognised")
@pytest.mark.modes(Mode.WAIT)
def test_a_sidecar_that_detects_its_backend_sees_the_first_run(world: World, subject: type[Driver], mode: Mode) -> None:
    options = [part for name, value in subject.options.items() for part in ("--option", f"{name}={value}")]
    options += [] if subject.resume_at is None else ["--resume-at", subject.resume_at]
    with sidecar("--upstream", world.place.server, "--port", "0", *options) as shim:
        # A busy machine takes longer than the start waits.
        eventually(lambda: f"the backend is {subject.backend} " in shim.log, "the sidecar detects it")
        ours = World(Place(shim.url, list, world.place.server), subject)
        thread = ours.thread("ask")
        outcome = ours.resume(mode, thread, input=ours.driver.yes)
        assert outcome.status == 200, outcome.text
        assert ours.heard(thread) == [Same(ours.driver.yes)]
        ours.client.close()
