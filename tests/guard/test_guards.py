"""What holds for every guard, between replicas as within one."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import KeyRecord, UncommittedResume
from ap_resume_shim.guard import ResumeKey
from tests.guard.conftest import Replicas, arrived, claims, taken

pytestmark = pytest.mark.anyio

KEYED = ResumeKey("t", "body", key="k", repeat="again", window=60)
ANSWER = Reply(200, {"run_id": "r1", "text": "é"}, (("content-location", "/runs/r1"),))


async def test_the_first_holds_and_the_second_is_refused(replicas: Replicas) -> None:
    first, second = await arrived(replicas.one), await arrived(replicas.other)
    assert (await claims(first), await second.rival(), await second.claim()) == (True, "holding", "holding")
    assert await claims(await arrived(replicas.other, "another thread"))


async def test_a_hold_whose_resume_was_not_sent_is_free_again(replicas: Replicas) -> None:
    first, second = await arrived(replicas.one), await arrived(replicas.other)
    assert await claims(first)
    await first.close()
    assert (await second.rival(), await second.claim()) == (None, None)


async def test_a_hold_whose_resume_was_certainly_not_taken_is_free_again(replicas: Replicas) -> None:
    first, second = await arrived(replicas.one, KEYED), await arrived(replicas.other)
    await first.claim()
    await first.forward()
    await first.mark_rejected()
    await first.close()
    assert await claims(second)
    assert await (await arrived(replicas.other, KEYED)).recall() is None


async def test_who_arrived_before_an_acceptance_is_refused_after_it(replicas: Replicas) -> None:
    first, second = await arrived(replicas.one), await arrived(replicas.other)
    await (await taken(first)).close()
    assert (await second.rival(), await second.claim()) == ("accepted", "accepted")
    assert await claims(await arrived(replicas.other))


async def test_a_resume_whose_session_begins_late_belongs_to_the_moment_of_its_arrival(replicas: Replicas) -> None:
    before = replicas.other.now()
    first = await taken(await arrived(replicas.one), answered=("q1",))
    await first.mark_idle()
    await asyncio.sleep(0.05)
    await first.close()
    replicas.clock.now += 5  # as much as has passed for the store, or more
    late = replicas.other.begin(ResumeKey("t"), before)
    assert (await late.rival(), await late.claim()) == ("accepted", "accepted")
    assert await late.had_run_in_flight(), "its end was seen after the arrival"
    assert await claims(replicas.other.begin(ResumeKey("another"), before))
    assert await claims(replicas.one.begin(ResumeKey("t"), replicas.one.now()))


async def test_whose_resume_was_taken_is_overtaken_by_the_next_one(replicas: Replicas) -> None:
    first = await arrived(replicas.one)
    await first.claim()
    await first.forward()
    assert await first.rival() is None
    await first.mark_accepted()
    assert await first.rival() is None
    await taken(await arrived(replicas.other))
    assert await first.rival() == "accepted"


async def test_what_was_forwarded_counts_as_taken_until_the_contrary_is_said(replicas: Replicas) -> None:
    first, second = await arrived(replicas.one, KEYED), await arrived(replicas.other)
    await first.claim()
    await first.forward()
    await first.close()
    assert not await claims(second)
    third = await arrived(replicas.other, KEYED)
    assert (await third.had_run_in_flight(), await third.recall()) == (
        True,
        KeyRecord("body", live=False, accepted=True),
    )


async def test_who_arrives_while_a_run_goes_on_is_told(replicas: Replicas) -> None:
    first = await taken(await arrived(replicas.one))
    second = await arrived(replicas.other)
    assert (await first.had_run_in_flight(), await second.had_run_in_flight()) == (False, True)
    await second.mark_idle()
    await asyncio.sleep(0.05)
    assert not await (await arrived(replicas.one)).had_run_in_flight()


async def test_an_old_arrival_cannot_say_that_a_newer_run_rests(replicas: Replicas) -> None:
    await taken(await arrived(replicas.one))
    old = await arrived(replicas.other)
    await taken(await arrived(replicas.one))
    await old.mark_idle()
    await asyncio.sleep(0.05)
    assert await (await arrived(replicas.one)).had_run_in_flight()


async def test_leaving_twice_is_leaving_once(replicas: Replicas) -> None:
    first, second = await arrived(replicas.one), await arrived(replicas.other)
    await first.close()
    await second.claim()
    await first.close()
    assert not await claims(await arrived(replicas.one))


async def test_of_many_at_once_exactly_one_gets_the_thread(replicas: Replicas) -> None:
    both = (replicas.one, replicas.other)
    arrivals = [both[number % 2].begin(ResumeKey("t")) for number in range(40)]
    assert sum(await asyncio.gather(*map(claims, arrivals))) == 1


async def test_a_key_is_kept_from_the_moment_its_thread_is_held(replicas: Replicas) -> None:
    first = await arrived(replicas.one, KEYED)
    assert await first.recall() is None
    await first.claim()
    assert await (await arrived(replicas.other, KEYED)).recall() == KeyRecord("body", live=True)
    await first.forward()
    await first.mark_accepted("r1")
    assert await (await arrived(replicas.other, KEYED)).recall() == KeyRecord("body", True, True, "r1")
    await first.keep(ANSWER)
    await first.close()
    assert await (await arrived(replicas.other, KEYED)).recall() == KeyRecord("body", False, True, "r1", ANSWER)


async def test_a_session_knows_the_run_that_was_started_or_kept(replicas: Replicas) -> None:
    first = await taken(await arrived(replicas.one, KEYED))
    await first.mark_run_id("r1")
    again, other = await arrived(replicas.other, KEYED), await arrived(replicas.other)
    assert (first.run_id, again.run_id, other.run_id) == ("r1", "r1", None)
    assert (await taken(other, "r2")).run_id == "r2"


async def test_a_run_may_be_named_later(replicas: Replicas) -> None:
    first = await taken(await arrived(replicas.one, KEYED))
    await first.mark_run_id("r1")
    await first.close()
    assert await (await arrived(replicas.other, KEYED)).recall() == KeyRecord("body", False, True, "r1")


async def test_an_answer_that_never_came_leaves_the_run_that_was_started(replicas: Replicas) -> None:
    await (await taken(await arrived(replicas.one, KEYED), "r1")).close()
    assert await (await arrived(replicas.other, KEYED)).recall() == KeyRecord("body", False, True, "r1")


@pytest.mark.parametrize("other", [ResumeKey("t", "body", key="another"), ResumeKey("t", "body")])
async def test_answers_are_kept_by_key(replicas: Replicas, other: ResumeKey) -> None:
    first = await taken(await arrived(replicas.one, KEYED))
    await first.keep(ANSWER)
    await first.close()
    assert await (await arrived(replicas.other, other)).recall() is None


async def test_what_another_keeps_is_not_overwritten(replicas: Replicas) -> None:
    first = await taken(await arrived(replicas.one, KEYED), "r1")
    await first.keep(ANSWER)
    await first.close()
    second = await arrived(replicas.other, KEYED)
    await taken(second, "r2")
    await second.keep(Reply(200, {}))
    await second.close()
    kept = await (await arrived(replicas.one, KEYED)).recall()
    assert kept is not None and (kept.run_id, kept.reply) == ("r1", ANSWER)


async def test_who_is_not_taken_forgets_no_key_and_no_repeat_of_another(replicas: Replicas) -> None:
    first = await taken(await arrived(replicas.one, KEYED), "r1")
    await first.close()
    second = await arrived(replicas.other, ResumeKey("t", "body", key="k", repeat="again", window=60))
    await second.mark_rejected()
    third = await arrived(replicas.one, KEYED)
    assert (await third.recall(), await third.repeated()) == (KeyRecord("body", False, True, "r1"), True)


async def test_a_repeat_is_known_until_the_first_was_not_taken(replicas: Replicas) -> None:
    first = await arrived(replicas.one, KEYED)
    assert not await first.repeated()
    await first.claim()
    assert await (await arrived(replicas.other, KEYED)).repeated()
    assert not await (await arrived(replicas.other, ResumeKey("t", repeat="other", window=60))).repeated()
    await first.close()
    assert not await (await arrived(replicas.other, KEYED)).repeated()


async def test_an_answer_without_the_name_of_its_question_repeats_one_with_it_and_not_the_reverse(
    replicas: Replicas,
) -> None:
    unnamed, named = (ResumeKey("t", repeat=digest, unnamed="u", window=60) for digest in "un")
    for first, repeated in ((named, [True, True]), (unnamed, [True, False])):
        session = await arrived(replicas.one, first)
        await session.claim()
        again = [await arrived(replicas.other, key) for key in (unnamed, named)]
        assert [await session.repeated() for session in again] == repeated
        await session.close()
        again = [await arrived(replicas.other, key) for key in (unnamed, named)]
        assert [await session.repeated() for session in again] == [False, False]


async def test_a_repeat_is_known_after_the_first_was_taken(replicas: Replicas) -> None:
    await (await taken(await arrived(replicas.one, KEYED))).close()
    assert await (await arrived(replicas.other, KEYED)).repeated()


@pytest.mark.parametrize("broken_off", [False, True])
@pytest.mark.parametrize("resent", [False, True])
async def test_a_repeat_is_known_after_the_response_of_a_resume_that_clients_send_again(
    replicas: Replicas, client: Redis, resent: bool, broken_off: bool
) -> None:
    key = ResumeKey("t", repeat="again", window=60, resent=resent)
    first = await taken(await arrived(replicas.one, key))
    replicas.clock.now += 61
    await client.flushdb()  # what time does to the store
    assert not await (await arrived(replicas.other, key)).repeated()
    await (first.close if broken_off else first.mark_response_ended)()
    assert await (await arrived(replicas.other, key)).repeated() is resent


async def test_a_hold_that_ends_untaken_lets_an_earlier_arrival_claim(replicas: Replicas) -> None:
    """A caller who may not resume, and asks in a loop, locks nobody out."""
    waiting = await arrived(replicas.one)
    for _ in range(3):
        holder = await arrived(replicas.other)
        assert await claims(holder)
        assert (await waiting.claim(), await waiting.rival()) == ("holding", "holding")
        await holder.mark_rejected()
        await holder.close()
    assert (await waiting.rival(), await waiting.claim()) == (None, None)
    assert await claims(waiting), "once more is no contradiction"


async def test_of_a_hold_and_an_acceptance_the_acceptance_counts(replicas: Replicas) -> None:
    waiting = await arrived(replicas.one)
    await (await taken(await arrived(replicas.other))).close()
    assert await claims(await arrived(replicas.other))
    assert (await waiting.rival(), await waiting.claim()) == ("accepted", "accepted")


async def test_a_thread_stays_held_until_its_state_shows_the_resume(replicas: Replicas) -> None:
    before = await arrived(replicas.other)
    first = await taken(await arrived(replicas.one), answered=("q1", "q2"), hold=True)
    after = await arrived(replicas.other)
    assert (await before.rival(), await after.rival(), await after.claim()) == ("accepted", "holding", "holding")
    assert not first.still_held()
    assert (await after.uncommitted()).names == {"q1", "q2"}
    await first.mark_committed()
    assert await (await arrived(replicas.one)).uncommitted() == UncommittedResume()
    assert (await after.had_run_in_flight(), await claims(after)) == (True, True)


async def test_a_resume_that_never_shows_stays_uncommitted_when_its_hold_ends(replicas: Replicas) -> None:
    first = await taken(await arrived(replicas.one), answered=("q1",), hold=True)
    await first.close()
    second = await arrived(replicas.other)
    assert (await second.uncommitted()).names == {"q1"}
    assert await claims(second)


async def test_a_thread_that_was_seen_at_rest_has_nothing_uncommitted(replicas: Replicas) -> None:
    first = await taken(await arrived(replicas.one), answered=("q1",))
    second = await arrived(replicas.other)
    assert (await second.uncommitted()).names == {"q1"}
    assert await first.uncommitted() == UncommittedResume()
    await second.mark_idle()
    await asyncio.sleep(0.05)
    assert await (await arrived(replicas.one)).uncommitted() == UncommittedResume()


async def test_what_a_later_resume_answers_is_uncommitted_then(replicas: Replicas) -> None:
    first = await taken(await arrived(replicas.one), answered=("q1",))
    await taken(await arrived(replicas.other), answered=("q2",))
    await first.mark_committed()
    assert (await (await arrived(replicas.one)).uncommitted()).names == {"q2"}


async def test_interrupt_ids_are_remembered_by_thread(replicas: Replicas) -> None:
    first = await arrived(replicas.one)
    assert await first.known_ids() == frozenset()
    assert await first.claim(("a",), ("a", "b")) is None
    await first.remember(["c", "é"])
    await asyncio.sleep(0.05)
    assert await (await arrived(replicas.other)).known_ids() == {"a", "b", "c", "é"}
    assert await (await arrived(replicas.other, "another")).known_ids() == frozenset()
    assert await first.known_ids() == frozenset(), "those of the arrival"


async def test_of_interrupt_ids_the_newest_are_remembered(replicas: Replicas) -> None:
    first = await arrived(replicas.one)
    assert await first.claim((), tuple(f"id{number}" for number in range(64))) is None
    await first.remember(["id0", "new"])
    await asyncio.sleep(0.05)
    known = await (await arrived(replicas.other)).known_ids()
    assert known == {"id0", "new", *(f"id{number}" for number in range(2, 64))}


async def test_a_guard_that_works_has_no_warnings(replicas: Replicas) -> None:
    assert await replicas.one.check() == ()
