"""The guard of one process: what it remembers, and what it forgets."""

from __future__ import annotations

import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ap_resume_shim import MemoryGuard
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import KeyRecord, UncommittedResume
from ap_resume_shim.guard import ResumeKey
from ap_resume_shim.guard.base import IDS_LIFETIME
from tests.guard.conftest import Clock

T = TypeVar("T")


def run(step: Coroutine[Any, Any, T]) -> T:
    """The memory guard never waits, so that a step needs no event loop."""
    try:
        step.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("the memory guard waited")


def claims(arrival: Any) -> bool:
    return run(arrival.claim()) is None


def test_nothing_is_remembered_of_threads_without_an_acceptance() -> None:
    guard = MemoryGuard()
    for number in range(100):
        arrival = guard.begin(ResumeKey(str(number)))
        assert claims(arrival)
        run(arrival.mark_rejected())
        run(arrival.close())
    assert remembered(guard) == 0


def test_of_threads_with_an_acceptance_the_last_are_remembered() -> None:
    guard = MemoryGuard()
    for number in range(10_500):
        arrival = guard.begin(ResumeKey(str(number)))
        run(arrival.mark_accepted())
        run(arrival.close())
    assert remembered(guard) == 10_000
    assert (
        run(guard.begin(ResumeKey("10499")).had_run_in_flight()),
        run(guard.begin(ResumeKey("0")).had_run_in_flight()),
    ) == (
        True,
        False,
    )


def test_answers_are_forgotten_when_their_time_is_over() -> None:
    guard = MemoryGuard(keep=60, duplicate_window=5, clock=(clock := Clock()))
    answered(guard, "k")
    assert (recalls(guard, "k"), run(guard.begin(keyed("k")).repeated())) == (True, True)
    clock.now += 5
    assert (recalls(guard, "k"), run(guard.begin(keyed("k")).repeated())) == (True, False)
    clock.now += 55
    assert (recalls(guard, "k"), len(guard.records), len(guard.repeats)) == (False, 0, 0)


def test_of_many_answers_the_last_are_kept() -> None:
    guard = MemoryGuard(remembered=10, duplicate_window=60)
    for number in range(30):
        answered(guard, str(number))
    assert (len(guard.records), recalls(guard, "19"), recalls(guard, "20")) == (10, False, True)
    guard.begin(ResumeKey("another"))
    assert len(guard.repeats) == 10


def test_of_large_answers_the_last_are_kept() -> None:
    guard = MemoryGuard(keep_bytes=10_000)
    for number in range(30):
        answered(guard, str(number), "x" * 3000)
    assert [number for number in range(30) if recalls(guard, str(number))] == [27, 28, 29]


def test_an_answer_that_is_too_large_leaves_its_run() -> None:
    guard = MemoryGuard(keep_bytes=1000)
    answered(guard, "k", "x" * 2000)
    assert run(guard.begin(keyed("k")).recall()) == KeyRecord("body", False, True, "r1")


def test_a_stored_answer_is_its_bytes_alone() -> None:
    class Value(dict[str, Any]):
        """A value that can be referred to weakly."""

    guard, value = MemoryGuard(), Value(text="x")
    session = guard.begin(keyed("k"))
    assert claims(session)
    run(session.mark_accepted("r1"))
    run(session.keep(Reply(200, value, (("x", "y"),))))
    run(session.close())
    left = weakref.ref(session), weakref.ref(value)
    del session, value
    assert [each() for each in left] == [None, None]
    again = run(guard.begin(keyed("k")).recall())
    assert again == KeyRecord("body", False, True, "r1", Reply(200, {"text": "x"}, (("x", "y"),)))


def test_a_key_that_is_under_way_is_never_forgotten() -> None:
    guard = MemoryGuard(remembered=3)
    first = guard.begin(ResumeKey("first", "body", key="first"))
    assert claims(first)
    for number in range(10):
        answered(guard, str(number))
    assert run(guard.begin(keyed("first")).recall()) == KeyRecord("body", live=True)


def test_interrupt_ids_are_remembered_of_so_many_threads_and_for_so_long() -> None:
    guard = MemoryGuard(remembered=10, clock=(clock := Clock()))
    for number in range(30):
        run(guard.begin(ResumeKey(str(number))).remember(["id"]))
    assert len(guard.ids) == 10
    assert [run(guard.begin(ResumeKey(thread)).known_ids()) for thread in ("19", "20")] == [frozenset(), {"id"}]
    clock.now += IDS_LIFETIME
    assert (run(guard.begin(ResumeKey("20")).known_ids()), len(guard.ids)) == (frozenset(), 0)


def test_the_age_of_an_uncommitted_resume_is_that_at_the_arrival() -> None:
    guard = MemoryGuard(clock=(clock := Clock()))
    first = guard.begin(ResumeKey("t"))
    assert run(first.claim(("q",))) is None
    run(first.mark_accepted())
    clock.now += 7
    second = guard.begin(ResumeKey("t"))
    clock.now += 1
    assert run(second.uncommitted()) == UncommittedResume(frozenset({"q"}), 7)


def keyed(key: str) -> ResumeKey:
    return ResumeKey(f"thread of {key}", "body", key=key, repeat=key, window=5)


def answered(guard: MemoryGuard, key: str, value: Any = None) -> None:
    arrival = guard.begin(keyed(key))
    assert claims(arrival)
    run(arrival.forward())
    run(arrival.mark_accepted("r1"))
    run(arrival.keep(Reply(200, value)))
    run(arrival.close())


def recalls(guard: MemoryGuard, key: str) -> bool:
    return run(guard.begin(keyed(key)).recall()) is not None


def remembered(guard: MemoryGuard) -> int:
    return len(guard._threads)


class Guarding(RuleBasedStateMachine):
    """Any number of resumes of three threads, in any order of steps."""

    arrivals = Bundle("arrivals")
    moments = Bundle("moments")

    def __init__(self) -> None:
        super().__init__()
        self.guard = MemoryGuard(remembered=2)
        self.here: dict[Any, str] = {}
        self.holder: dict[str, Any] = {}
        self.overtaken: set[Any] = set()
        self.accepted_since: dict[int, set[str]] = {}
        """The threads with an acceptance since each of these moments."""

    @rule(target=arrivals, key=st.sampled_from("abc"))
    def begin(self, key: str) -> Any:
        arrival = self.guard.begin(ResumeKey(key))
        self.here[arrival] = key
        return arrival

    @rule(target=moments)
    def arrive(self) -> Any:
        self.accepted_since.setdefault(self.guard.now(), set())
        return self.guard.now()

    @rule(target=arrivals, moment=moments, key=st.sampled_from("abc"))
    def begin_late(self, moment: int, key: str) -> Any:
        overtaken = key in self.accepted_since[moment] and key in self.guard._threads
        arrival = self.guard.begin(ResumeKey(key), moment)
        self.here[arrival] = key
        self.overtaken |= {arrival} if overtaken else set()
        return arrival

    @rule(arrival=arrivals)
    def claim(self, arrival: Any) -> None:
        key = self.here[arrival]
        free = self.holder.get(key) in (None, arrival) and arrival not in self.overtaken
        assert claims(arrival) is free
        if free:
            self.holder[key] = arrival

    @rule(arrival=arrivals)
    def mark_accepted(self, arrival: Any) -> None:
        key = self.here[arrival]
        if key in self.holder and self.holder[key] is arrival:
            run(arrival.mark_accepted())
            del self.holder[key]
            self.overtaken |= {other for other, its in self.here.items() if its == key and other is not arrival}
            for accepted in self.accepted_since.values():
                accepted.add(key)

    @rule(arrival=arrivals)
    def mark_idle(self, arrival: Any) -> None:
        run(arrival.mark_idle())

    @rule(arrival=consumes(arrivals))
    def close(self, arrival: Any) -> None:
        run(arrival.close())
        key = self.here.pop(arrival)
        if self.holder.get(key) is arrival:
            del self.holder[key]

    @invariant()
    def memory_is_bounded(self) -> None:
        assert remembered(self.guard) <= len(set(self.here.values())) + 2

    def teardown(self) -> None:
        for arrival in self.here:
            run(arrival.close())
        assert remembered(self.guard) <= 2


TestGuarding = Guarding.TestCase
TestGuarding.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
