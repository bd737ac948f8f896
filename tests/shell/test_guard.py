"""The guard: one resume of a thread at a time, and none that arrived before another was accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ap_resume_shim import MemoryGuard, ResumeShim
from ap_resume_shim.core.errors import ResumeInProgress
from ap_resume_shim.guard import Ticket
from tests.serving import serving
from tests.shell.agent import Agent, at_once, held, resume, says, shimmed, streamed
from tests.shell.calling import eventually

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
    try:
        run(arrival.claim())
    except ResumeInProgress:
        return False
    return True


def test_the_first_holds_and_the_second_is_refused() -> None:
    guard = MemoryGuard()
    first, second = guard.arrive(Ticket("t")), guard.arrive(Ticket("t"))
    assert (claims(first), claims(second)) == (True, False)
    assert claims(guard.arrive(Ticket("another")))


def test_a_hold_that_is_left_is_free_again() -> None:
    guard = MemoryGuard()
    first, second = guard.arrive(Ticket("t")), guard.arrive(Ticket("t"))
    assert claims(first)
    run(first.leave())
    assert claims(second), "nothing was accepted meanwhile"


def test_who_arrived_before_an_acceptance_is_refused_after_it() -> None:
    guard = MemoryGuard()
    first, second = guard.arrive(Ticket("t")), guard.arrive(Ticket("t"))
    assert claims(first)
    run(first.accepted())
    run(first.leave())
    assert (run(second.overtaken()), claims(second), claims(guard.arrive(Ticket("t")))) == (True, False, True)


def test_who_arrives_while_a_run_goes_on_is_told() -> None:
    guard = MemoryGuard()
    first = guard.arrive(Ticket("t"))
    assert claims(first)
    run(first.accepted())
    second = guard.arrive(Ticket("t"))
    run(first.settled())
    assert (run(first.unsettled()), run(second.unsettled()), run(guard.arrive(Ticket("t")).unsettled())) == (
        False,
        True,
        False,
    )


def test_an_old_arrival_cannot_say_that_a_newer_run_rests() -> None:
    guard = MemoryGuard()
    old, new = guard.arrive(Ticket("t")), guard.arrive(Ticket("t"))
    assert claims(new)
    run(new.accepted())
    run(old.settled())
    assert run(guard.arrive(Ticket("t")).unsettled())


def test_leaving_twice_is_leaving_once() -> None:
    guard = MemoryGuard()
    first, second = guard.arrive(Ticket("t")), guard.arrive(Ticket("t"))
    run(first.leave())
    run(first.leave())
    assert claims(second)


def test_nothing_is_remembered_of_threads_at_rest() -> None:
    guard = MemoryGuard()
    for number in range(100):
        arrival = guard.arrive(Ticket(str(number)))
        assert claims(arrival)
        run(arrival.accepted())
        run(arrival.settled())
        run(arrival.leave())
    assert remembered(guard) == 0


def test_of_threads_that_may_still_run_the_last_are_remembered() -> None:
    guard = MemoryGuard()
    for number in range(10_500):
        arrival = guard.arrive(Ticket(str(number)))
        run(arrival.accepted())
        run(arrival.leave())
    assert remembered(guard) == 10_000
    assert (run(guard.arrive(Ticket("10499")).unsettled()), run(guard.arrive(Ticket("0")).unsettled())) == (True, False)


def remembered(guard: MemoryGuard) -> int:
    return len(guard._threads)


class Guarding(RuleBasedStateMachine):
    """Any number of resumes of three threads, in any order of steps."""

    arrivals = Bundle("arrivals")

    def __init__(self) -> None:
        super().__init__()
        self.guard = MemoryGuard(remembered=2)
        self.here: dict[Any, str] = {}
        self.holder: dict[str, Any] = {}
        self.overtaken: set[Any] = set()

    @rule(target=arrivals, key=st.sampled_from("abc"))
    def arrive(self, key: str) -> Any:
        arrival = self.guard.arrive(Ticket(key))
        self.here[arrival] = key
        return arrival

    @rule(arrival=arrivals)
    def claim(self, arrival: Any) -> None:
        key = self.here[arrival]
        free = self.holder.get(key) in (None, arrival) and arrival not in self.overtaken
        assert claims(arrival) is free
        if free:
            self.holder[key] = arrival

    @rule(arrival=arrivals)
    def accepted(self, arrival: Any) -> None:
        key = self.here[arrival]
        if key in self.holder and self.holder[key] is arrival:
            run(arrival.accepted())
            del self.holder[key]
            self.overtaken |= {other for other, its in self.here.items() if its == key and other is not arrival}

    @rule(arrival=arrivals)
    def settled(self, arrival: Any) -> None:
        run(arrival.settled())

    @rule(arrival=consumes(arrivals))
    def leave(self, arrival: Any) -> None:
        run(arrival.leave())
        key = self.here.pop(arrival)
        if self.holder.get(key) is arrival:
            del self.holder[key]

    @invariant()
    def memory_is_bounded(self) -> None:
        assert remembered(self.guard) <= len(set(self.here.values())) + 2

    def teardown(self) -> None:
        for arrival in self.here:
            run(arrival.leave())
        assert remembered(self.guard) <= 2


TestGuarding = Guarding.TestCase
TestGuarding.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_of_concurrent_resumes_exactly_one_is_forwarded(route: str) -> None:
    with shimmed(agent := Agent(held)) as url, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(resume, url, route) for _ in range(8)]
        assert eventually(lambda: sum(call.done() for call in calls) == 7)
        agent.go.set()
        answers = [call.result() for call in calls]
    assert (len(agent.resumes), sum(answer.status_code == 200 for answer in answers)) == (1, 1)
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"resume_in_progress"}


FAILURES: dict[str, Any] = {
    "refused": says(b"{}", kind="application/json", status=422),
    "failed": says(b"{}", kind="application/json", status=500),
    "raised": lambda agent, receive, send: raises(),
    "broken": says(ValueError("broken")),
}


async def raises() -> None:
    raise ValueError("raised")


@pytest.mark.parametrize("end", FAILURES)
def test_a_hold_is_dropped_after_a_failure(end: str) -> None:
    with shimmed(agent := Agent(FAILURES[end])) as url:
        assert resume(url).status_code >= 400
        agent.answering, agent.status = at_once, "interrupted"
        assert resume(url).status_code == 200


def test_a_hold_is_dropped_when_the_client_leaves() -> None:
    with shimmed(agent := Agent(says(b"event: metadata\n", None))) as url:
        with streamed(url):
            pass
        assert eventually(lambda: agent.left.is_set())
        agent.answering, agent.status = at_once, "interrupted"
        assert resume(url).status_code == 200


def test_a_refused_lookup_holds_nothing() -> None:
    guard = MemoryGuard()
    with serving(ResumeShim(Agent(), "agent-protocol", guard=guard)) as url:
        assert resume(url, thread_id="unknown").status_code == 404
    assert remembered(guard) == 0


def test_threads_of_two_loops_do_not_wait_for_each_other() -> None:
    guard = MemoryGuard()

    async def one() -> bool:
        return claims(guard.arrive(Ticket("t")))

    assert (asyncio.run(one()), asyncio.run(one())) == (True, False)
