"""Threads x gates x callers x replicas x faults: whatever happens in whatever order, the promise holds.

What is promised is about arrival: a resume that arrives after the next question was asked, though its caller had read
the one before, can be told apart by a pinned interrupt, or by an `Idempotency-Key` or a body that came before. Others
of that kind are not sent here. `AP_TEST_MODEL=full` runs more examples; `AP_TEST_MODEL=random` as many, and others
every time.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.responses import REPLAYED
from ap_resume_shim.core.steps import Reply, StreamReply
from ap_resume_shim.guard import MemoryGuard
from ap_resume_shim.guard import redis as redis_guard
from ap_resume_shim.guard.redis_scripts import PRELUDE
from tests.model.backend import GATES, Backend, Kind, Said, Thread
from tests.model.replica import FAULTS, FORMS, LEASE, PLACES, Clock, Form, ModelOutbox, Replica, SharedGuard, UnderWay
from tests.support.redis_server import redis_server

FULL = os.environ.get("AP_TEST_MODEL") in ("full", "random")
KINDS = (
    Kind(ids=False, refuses=True),
    Kind(ids=False, refuses=False),
    Kind(ids=False, refuses=True, head_at_end=True),
    Kind(ids=True, refuses=True),
    Kind(ids=True, refuses=False, stale=True),
    Kind(ids=True, refuses=True, questions=2),
    Kind(ids=True, refuses=False, stale=True, questions=2, straddles=True),
    Kind(ids=False, refuses=True, straddles=True),
    Kind(ids=True, refuses=True, straddles=True),
    Kind(ids=False, refuses=False, late=True),
    Kind(ids=True, refuses=False, late=True, questions=2),
    Kind(ids=True, refuses=True, late=True, straddles=True),
)
# Shrinking a failure of this size takes minutes: wanted when it is to be understood, not when it is to be seen.
PHASES = [Phase.generate, *([Phase.shrink] if FULL else [])]
HOUR = 3600.0
COMMIT_TIMEOUT = FlowSettings().commit_timeout
some = st.integers(0, 11)
"""One of those that there are; the number is taken modulo theirs."""


class OneProcess(RuleBasedStateMachine):
    """Any number of resumes in one process."""

    steps: Counter[str] = Counter()
    ends: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.loop = Clock(), asyncio.new_event_loop()
        self.replicas: list[Replica] = []
        self.resumes: list[UnderWay] = []
        self.decided: list[tuple[Said, ...]] = []
        self.callers = 0

    @initialize(kind=st.sampled_from(KINDS), window=st.sampled_from((0.0, HOUR)), gates=st.integers(1, GATES))
    def start(self, kind: Kind, window: float, gates: int) -> None:
        self.backend, self.window = Backend(kind), window
        self.backend.everybody_looked = self.everybody_looked
        self.start_replicas()
        self.backend.start_thread(gates)

    def start_replicas(self) -> None:
        replica = Replica(self.clock, self.loop)
        replica.guard = MemoryGuard(duplicate_window=self.window, clock=replica.clock)
        self.replicas = [replica]

    # What callers do

    @precondition(lambda self: len(self.backend.threads) < 2)
    @rule(gates=st.integers(1, GATES))
    def start_a_thread(self, gates: int) -> None:
        self.backend.start_thread(gates)

    @rule(thread=some, all_of_them=st.booleans())
    def read(self, thread: int, all_of_them: bool) -> None:
        """A caller reads a question, or several, and decides; when its answer is sent is another matter."""
        if (its := self.thread(thread)).run is None or its.shows_next:
            self.decide(its, all_of_them=all_of_them)

    @precondition(lambda self: self.decided)
    @rule(
        which=some,
        mode=st.sampled_from(Mode),
        keyed=st.booleans(),
        form=st.sampled_from(FORMS),
        replica=some,
        deletes=st.booleans(),
    )
    def send(self, which: int, mode: Mode, keyed: bool, form: Form, replica: int, deletes: bool) -> None:
        says = self.decided.pop(which % len(self.decided))
        if self.form_of(says, form) is None:
            return
        self.begin(says, mode, replica, key=f"k{says[0].who}" if keyed else None, form=form, deletes=deletes)

    @rule(
        thread=some,
        mode=st.sampled_from(Mode),
        keyed=st.booleans(),
        replica=some,
        all_of_them=st.booleans(),
        deletes=st.booleans(),
    )
    def read_and_send(
        self, thread: int, mode: Mode, keyed: bool, replica: int, all_of_them: bool, deletes: bool
    ) -> None:
        if (its := self.thread(thread)).run is None and not its.done:
            self.decide(its, all_of_them=all_of_them)
            self.send(len(self.decided) - 1, mode, keyed, "plain", replica, deletes)

    @precondition(lambda self: self.resumes)
    @rule(which=some, replica=some, looks=st.booleans())
    def send_again(self, which: int, replica: int, looks: bool) -> None:
        """A retry, with the key that the resume had, or a double click; it may look at the thread at once."""
        first = self.some_resume(which)
        known = self.executed(first.said) and (first.key is not None or self.window > 0)
        if self.in_time(first.says) or first.form != "plain" or known:
            again = self.begin(first.says, first.mode, replica, key=first.key, form=first.form, deletes=first.deletes)
            if looks:
                again.go()

    @precondition(lambda self: self.works)
    @rule(which=some, replica=some, place=st.sampled_from(("Ask", "Pause", "MarkIdle")))
    def click_again_while_the_agent_works(self, which: int, replica: int, place: str) -> None:
        """The next question is asked after that: before its first look, or while it waits."""
        self.click_again(which, replica, lambda again: again.go_until(place))

    @precondition(lambda self: self.works and self.backend.kind.straddles)
    @rule(which=some, replica=some)
    def click_again_at_the_end_of_the_work(self, which: int, replica: int) -> None:
        """The next question is asked in the middle of its first look."""
        self.click_again(which, replica, UnderWay.go)

    def click_again(self, which: int, replica: int, begin: Callable[[UnderWay], None]) -> None:
        first = self.works[which % len(self.works)]
        again = self.begin(first.says, first.mode, replica, form=first.form, deletes=first.deletes)
        begin(again)
        for _ in range(2):
            self.agent_goes_on(list(self.backend.threads).index(first.said.thread))
        again.go_until("end")

    @precondition(lambda self: self.backend.kind.ids and self.backend.executed)
    @rule(which=some, replica=some, to=st.sampled_from(("claim", "end")))
    def send_an_old_card(self, which: int, replica: int, to: str) -> None:
        """An answer by the id of a question that was answered some time ago."""
        said = self.backend.executed[-1 - which % len(self.backend.executed)].said
        self.callers += 1
        self.begin((replace(said, who=self.callers),), Mode.BACKGROUND, replica, form="keyed").go_until(to)

    @precondition(lambda self: any(resume.key for resume in self.resumes))
    @rule(which=some, replica=some)
    def send_another_answer_with_the_key_of(self, which: int, replica: int) -> None:
        keyed = [resume for resume in self.resumes if resume.key]
        first = keyed[which % len(keyed)]
        if first.thread.run is None and not first.thread.done:
            says = self.decide(first.thread)
            self.decided.remove(says)
            self.begin(says, first.mode, replica, key=first.key)

    # What resumes do

    @precondition(lambda self: self.under_way)
    @rule(which=some, steps=st.integers(1, 4))
    def go(self, which: int, steps: int) -> None:
        resume = self.some_under_way(which)
        for _ in range(steps):
            self.tick()
            resume.go()

    @precondition(lambda self: self.under_way)
    @rule(which=some, place=st.sampled_from((*PLACES, "")))
    def go_until(self, which: int, place: str) -> None:
        self.tick()
        self.some_under_way(which).go_until(place)

    @precondition(lambda self: self.under_way)
    @rule(which=some, fault=st.sampled_from(FAULTS))
    def fail(self, which: int, fault: str) -> None:
        self.tick()
        resume = self.some_under_way(which)
        resume.go_until(fault)
        resume.go(fault)

    @precondition(lambda self: self.under_way)
    @rule(which=some)
    def client_leaves(self, which: int) -> None:
        self.fail(which, "client leaves")

    @precondition(lambda self: any(resume.may_slip_out for resume in self.resumes))
    @rule()
    def slip_out(self) -> None:
        """A connection that was being opened when its client left is open, at last."""
        next(resume for resume in self.resumes if resume.may_slip_out).slips_out()

    @rule(thread=some)
    def agent_goes_on(self, thread: int) -> None:
        """The promise is about arrival, and what a resume met on arrival is what its first look finds."""
        its = self.thread(thread)
        if its.run is not None and self.everybody_looked(its.name):
            self.backend.go_on(its)

    @rule(thread=some)
    def server_takes_up(self, thread: int) -> None:
        """An answer that was accepted leaves the queue."""
        self.backend.take_up(self.thread(thread))

    @precondition(lambda self: any(resume.commit is not None for resume in self.under_way))
    @rule(which=some)
    def look_for_commit(self, which: int) -> None:
        late = [resume for resume in self.under_way if resume.commit is not None]
        late[which % len(late)].look_for_commit()

    def everybody_looked(self, thread: str) -> bool:
        return all(resume.looked for resume in self.under_way if resume.thread.name == thread)

    # What is promised

    @invariant()
    def every_answer_hits_the_question_that_it_was_meant_for(self) -> None:
        self.count()
        for execution in self.backend.executed:
            said = execution.said
            assert (execution.thread, execution.gate, execution.part) == (said.thread, said.gate, said.part), execution

    @invariant()
    def nothing_is_executed_twice(self) -> None:
        executed = self.backend.executed
        keys = [resume.key for by in {execution.by for execution in executed} if (resume := self.resumes[by]).key]
        for each in (
            [(execution.thread, execution.gate, execution.part) for execution in executed],
            [(execution.by, execution.part) for execution in executed],
            [execution.said for execution in executed],
            keys,
        ):
            assert len(set(each)) == len(each), executed

    @invariant()
    def what_is_sent_together_is_executed_together(self) -> None:
        for resume in self.resumes:
            executed = {execution.said for execution in self.backend.executed if execution.by == resume.number}
            assert not executed or executed == set(resume.says), resume

    @invariant()
    def nothing_that_goes_on_is_deleted(self) -> None:
        assert not any(thread.lost for thread in self.backend.threads.values())

    @invariant()
    def every_verdict_is_true(self) -> None:
        for resume in self.resumes:
            executed = self.backend.heard_of(resume.number)
            if resume.error is not None:
                self.is_true(resume.error.metadata.get("resume_state"), resume, executed)
            elif isinstance(resume.reply, StreamReply) or (resume.reply is not None and resume.reply.status == 200):
                assert self.executed(resume.said), resume
                assert executed is (REPLAYED not in resume.reply.headers), resume

    @invariant()
    def every_repeated_answer_is_the_first(self) -> None:
        for resume in self.resumes:
            if isinstance(resume.reply, Reply) and REPLAYED in resume.reply.headers:
                kept = [first.kept for first in self.resumes if first.key == resume.key and first.kept is not None]
                assert [(reply.status, reply.value) for reply in kept] == [(resume.reply.status, resume.reply.value)]

    @invariant()
    def nobody_cancels_the_run_of_another(self) -> None:
        """But for a retry that joined the first one's, and one whose hold has lapsed: it cannot know better."""
        for run, by in self.backend.cancelled:
            its = self.resumes[self.backend.runs_of[run]]
            assert its.says == self.resumes[by].says or self.resumes[by].lapsed, (run, self.resumes[by])

    def is_true(self, state: Any, resume: UnderWay, executed: bool) -> None:
        """`consumed` may be about the resume that came first with the key; all else is about this one."""
        match state:
            case "not_sent" | None:
                assert not executed, resume
            case "consumed":
                assert self.executed(resume.said), resume
            case _:
                assert state == "unknown"

    def teardown(self) -> None:
        try:
            if hasattr(self, "backend"):
                self.everything_ends()
                self.every_verdict_is_true()
                for thread in self.backend.threads.values():
                    self.can_be_resumed(thread)
                self.nothing_is_executed_twice()
                self.ends.update(map(how_it_ended, self.resumes))
        finally:
            self.close()

    def everything_ends(self) -> None:
        self.all_go_on()
        for resume in self.under_way:  # what a client left on its way never shows in the thread's state
            self.clock.now += int(COMMIT_TIMEOUT * 1_000_000)
            resume.give_up_commit()
        self.all_go_on()
        assert not self.under_way

    def all_go_on(self) -> None:
        for _ in range(60):
            for resume in self.under_way:
                self.tick()
                resume.go()
            for thread in self.backend.threads.values():
                self.backend.take_up(thread)
                if thread.run is not None:
                    self.backend.go_on(thread)

    def can_be_resumed(self, thread: Thread) -> None:
        """No thread is held for ever: one who reads it may answer, at the second attempt at the latest."""
        if thread.done:
            return
        for _ in range(2):
            self.clock.now += int(2 * LEASE * 1_000_000)
            resume = self.begin(self.decide(thread, all_of_them=True), Mode.BACKGROUND, 0)
            while not resume.left:
                self.tick()
                resume.go()
                self.backend.take_up(thread)
            if resume.reply is not None:
                return
        raise AssertionError(f"{thread} cannot be resumed: {resume.error!r}")

    def close(self) -> None:
        self.loop.close()

    # The test's own means

    @property
    def under_way(self) -> list[UnderWay]:
        return [resume for resume in self.resumes if not resume.left and not resume.dead]

    @property
    def works(self) -> list[UnderWay]:
        """Resumes whose answer the agent works on; it asks no other question yet."""
        runs = [thread.run for thread in self.backend.threads.values() if thread.run and not thread.shows_next]
        first = [self.resumes[self.backend.runs_of[run]] for run in runs]
        return [resume for resume in first if self.in_time(resume.says)]

    def some_under_way(self, which: int) -> UnderWay:
        return self.under_way[which % len(self.under_way)]

    def some_resume(self, which: int) -> UnderWay:
        """The newest are the most interesting."""
        return self.resumes[-1 - which % len(self.resumes)]

    def thread(self, which: int) -> Thread:
        threads = list(self.backend.threads.values())
        return threads[which % len(threads)]

    def decide(self, thread: Thread, *, all_of_them: bool = False) -> tuple[Said, ...]:
        """The answer of a new caller to what is pending, or to one question of it."""
        self.callers += 1
        parts = sorted(thread.pending)[: None if all_of_them else 1]
        says = tuple(Said(thread.name, thread.asked, self.callers, part) for part in parts)
        self.decided.append(says)
        return says

    def in_time(self, says: tuple[Said, ...]) -> bool:
        """Whether the questions are pending, or the agent works on the answer to one of them and asks no other yet."""
        its = self.backend.threads[says[0].thread]
        works = its.run is not None and not its.shows_next
        return its.asked == says[0].gate and (works or {said.part for said in says} <= its.pending)

    def form_of(self, says: tuple[Said, ...], wanted: Form) -> Form | None:
        """How answers can be sent so that the promise covers them: unnamed ones, only if no other is pending."""
        if not self.backend.kind.ids:
            return "plain" if self.in_time(says) else None
        if len(says) > 1:
            return "keyed"
        its = self.backend.threads[says[0].thread]
        alone = its.run is not None or len(its.pending) == 1
        return "pinned" if wanted == "plain" and not (self.in_time(says) and alone) else wanted

    def executed(self, said: Said) -> bool:
        return self.backend.heard(said)

    def begin(
        self,
        says: tuple[Said, ...],
        mode: Mode,
        replica: int,
        *,
        key: str | None = None,
        form: Form = "plain",
        deletes: bool = False,
    ) -> UnderWay:
        self.tick()
        named = self.form_of(says, form) or "plain"
        where = self.replicas[replica % len(self.replicas)]
        resume = UnderWay(len(self.resumes), says, mode, where, self.backend, key=key, form=named, deletes=deletes)
        self.resumes.append(resume)
        return resume

    def tick(self) -> None:
        self.clock.now += 1000

    def count(self) -> None:
        self.steps[type(self).__name__] += 1


class Replicas(OneProcess):
    """Two replicas that share a Redis server, which comes and goes as they do."""

    store: Redis
    url: str

    def start_replicas(self) -> None:
        self.store.flushall()
        self.store_ahead = 0
        self.tick()
        # The store's time is the test's, so that every run of an example is the same.
        self.patched = mock.patch.object(redis_guard, "PRELUDE", TIMED)
        self.patched.start()
        self.guards: list[SharedGuard] = []
        self.replicas = [self.start_replica() for _ in range(2)]

    def start_replica(self) -> Replica:
        replica = Replica(self.clock, self.loop)
        replica.guard = guard = SharedGuard(
            self.url, lease=LEASE, duplicate_window=self.window, clock=replica.clock, timeout=10.0
        )
        guard.telling, guard.outbox = [], ModelOutbox(0.0)
        self.guards.append(guard)
        return replica

    @rule(replica=some, away=st.sampled_from(("before", "after", "twice", "")))
    def store_goes_away(self, replica: int, away: str) -> None:
        self.guard_of(replica).away = away

    @precondition(lambda self: any(guard.away for guard in self.guards))
    @rule()
    def store_comes_back(self) -> None:
        for replica in self.replicas:
            self.guard_of(self.replicas.index(replica)).away = ""

    @rule(seconds=st.sampled_from((-24 * HOUR, -HOUR, -0.01)))
    def store_clock_goes_back(self, seconds: float) -> None:
        self.set_store_clock(seconds)

    @precondition(lambda self: not self.holders and not self.uncommitted)
    @rule(seconds=st.sampled_from((1, LEASE, HOUR)))
    def store_clock_goes_ahead(self, seconds: float) -> None:
        """What it ends early are holds, and the time that a backend has to commit: nothing is promised then."""
        self.set_store_clock(seconds)

    def set_store_clock(self, seconds: float) -> None:
        self.store_ahead += int(seconds * 1_000_000)
        self.tick()

    @rule(replica=some, seconds=st.sampled_from((1, LEASE / 2, LEASE, HOUR)))
    def process_clock_goes_ahead(self, replica: int, seconds: float) -> None:
        """Its machine was suspended for a while that the store does not know of."""
        self.replicas[replica % len(self.replicas)].ahead += seconds

    @precondition(lambda self: self.under_way)
    @rule(which=some)
    def store_tells(self, which: int) -> None:
        """A reading comes back; else it does when the resume needs it."""
        self.some_under_way(which).answered_reading()

    @rule(replica=some)
    def kill(self, replica: int) -> None:
        if replica < 4:  # else too few resumes come to an end
            self.kill_this(self.replicas[replica % len(self.replicas)])

    def kill_this(self, killed: Replica) -> None:
        at = self.replicas.index(killed)
        self.guard_of(at).away = "before"
        for resume in self.resumes:
            if resume.replica is killed:
                resume.dead, resume.stray = True, False
        self.replicas[at] = self.start_replica()

    @precondition(lambda self: self.on_the_wire)
    @rule(which=some)
    def what_a_dead_process_sent_arrives(self, which: int) -> None:
        self.on_the_wire[which % len(self.on_the_wire)].arrives()

    @precondition(lambda self: self.holders)
    @rule(which=some)
    def lapse(self, which: int) -> None:
        """A process stands still for longer than its lease; what it had put on the wire has arrived by then."""
        holder = self.holders[which % len(self.holders)]
        self.backend.take_up(holder.thread)  # the time for that is over, too
        for each in self.holders:  # others may believe that they hold it too, where the store was away
            if each.thread is holder.thread:
                if each.sending == "wire":
                    each.arrives()
                each.lapsed = True
                each.replica.ahead += LEASE
        for key in self.store.scan_iter(f"ap_resume_shim:{{{holder.said.thread}}}:*", _type="hash"):
            self.cut_short(key)

    @precondition(lambda self: self.holders)
    @rule(which=some, twice=st.booleans())
    def kill_in_the_middle(self, which: int, twice: bool) -> None:
        """A process dies with a resume on the wire, perhaps after a double click, and its lease runs out."""
        which %= len(self.holders)
        holder = self.holders[which]
        holder.go_until("wire")
        if not (holder.holds and holder.sending == "wire" and holder.replica in self.replicas):
            return
        other = self.replicas.index(holder.replica) + 1
        if twice and self.in_time(holder.says):
            again = self.begin(
                holder.says, holder.mode, other, key=holder.key, form=holder.form, deletes=holder.deletes
            )
            again.go_until("repeated")
        self.kill_this(holder.replica)
        self.lapse(which)
        for _ in range(2):
            self.agent_goes_on(list(self.backend.threads).index(holder.said.thread))

    def cut_short(self, key: bytes) -> None:
        if int(self.store.hget(key, "until") or 0) > self.store_now:
            self.store.hset(key, "until", self.store_now)

    @property
    def holders(self) -> list[UnderWay]:
        return [resume for resume in self.resumes if resume.holds]

    @property
    def uncommitted(self) -> bool:
        return any(thread.queue for thread in self.backend.threads.values())

    @property
    def on_the_wire(self) -> list[UnderWay]:
        return [resume for resume in self.resumes if resume.dead and resume.sending == "wire"]

    def guard_of(self, replica: int) -> SharedGuard:
        guard = self.replicas[replica % len(self.replicas)].guard
        assert isinstance(guard, SharedGuard)
        return guard

    def tick(self) -> None:
        super().tick()
        self.store.set("now", self.store_now)

    @property
    def store_now(self) -> int:
        return self.clock.now + self.store_ahead

    def everything_ends(self) -> None:
        self.store_comes_back()
        for resume in self.on_the_wire:
            resume.arrives()
        super().everything_ends()

    def close(self) -> None:
        if hasattr(self, "patched"):
            self.patched.stop()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        super().close()


class Forgetting(Replicas):
    """The store fails over to a replica that lags behind, and its clock may go ahead while threads are held.

    Holds, acceptances and keys are lost with the writes, so that more is sent than should be, and a backend may take an
    answer that no question hears. But what is said not to be sent was not, no thread is locked, and a pinned answer
    reaches its own question alone.
    """

    def start_replicas(self) -> None:
        super().start_replicas()
        self.snapshot: dict[bytes, tuple[bytes, int]] = {}
        self.forgot = False

    @rule()
    def replica_catches_up(self) -> None:
        self.snapshot = {
            key: (self.store.dump(key), max(0, self.store.pttl(key)))  # type: ignore[misc]
            for key in self.store.scan_iter()
        }

    @rule()
    def store_fails_over(self) -> None:
        self.forgot = True
        self.store.flushall()
        for key, (dump, milliseconds) in self.snapshot.items():
            self.store.restore(key, milliseconds, dump)
        self.tick()

    @rule(seconds=st.sampled_from((1, LEASE, HOUR)))
    def store_clock_goes_ahead(self, seconds: float) -> None:
        self.forgot = True
        self.set_store_clock(seconds)

    @invariant()
    def every_answer_hits_the_question_that_it_was_meant_for(self) -> None:
        if not self.forgot:
            super().every_answer_hits_the_question_that_it_was_meant_for()
        for execution in self.backend.executed:
            if self.resumes[execution.by].form == "pinned":
                said = execution.said
                assert (execution.thread, execution.gate, execution.part) == (said.thread, said.gate, said.part)

    @invariant()
    def nothing_is_executed_twice(self) -> None:
        if not self.forgot:
            super().nothing_is_executed_twice()

    @invariant()
    def every_verdict_is_true(self) -> None:
        if not self.forgot:
            super().every_verdict_is_true()
        for resume in self.resumes:
            if resume.error is not None and resume.error.metadata.get("resume_state") in (None, "not_sent"):
                assert all(execution.by != resume.number for execution in self.backend.executed), resume

    @invariant()
    def every_repeated_answer_is_the_first(self) -> None:
        if not self.forgot:
            super().every_repeated_answer_is_the_first()

    @invariant()
    def nobody_cancels_the_run_of_another(self) -> None:
        if not self.forgot:
            super().nobody_cancels_the_run_of_another()


TIMED = PRELUDE.replace("clock[1] * 1000000 + clock[2]", "tonumber(redis.call('GET', 'now'))")


def how_it_ended(resume: UnderWay) -> str:
    """In a word or two, for the statistics."""
    if resume.dead:
        return "killed"
    if resume.error is not None:
        return " ".join(filter(None, (resume.error.code, resume.error.metadata.get("resume_state"))))
    return "left" if resume.reply is None else "replayed" if REPLAYED in resume.reply.headers else "answered"


def run(machine: type[OneProcess], examples: int, least: int) -> None:
    """Few examples, always the same; or many."""
    assert TIMED != PRELUDE
    machine.steps.clear()
    machine.ends.clear()
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            database=None,
            phases=PHASES,
            derandomize=os.environ.get("AP_TEST_MODEL") != "random",
            suppress_health_check=list(HealthCheck),
        ),
    )
    steps = machine.steps[machine.__name__]
    print(f"{machine.__name__}: {steps} steps; {machine.ends.total()} resumes: {dict(machine.ends.most_common())}")
    assert steps >= least


def test_a_resume_is_executed_exactly_once_in_one_process() -> None:
    run(OneProcess, 400 if FULL else 60, 5000 if FULL else 1000)


@contextmanager
def a_store() -> Iterator[None]:
    with redis_server() as server, Redis.from_url(server.url) as store:
        Replicas.store, Replicas.url = store, server.url
        yield


@pytest.mark.filterwarnings("default")
def test_a_resume_is_executed_exactly_once_over_replicas() -> None:
    with a_store():
        run(Replicas, 400 if FULL else 50, 5000 if FULL else 500)


@pytest.mark.filterwarnings("default")
def test_a_store_that_forgets_locks_no_thread_and_makes_nobody_lie() -> None:
    with a_store():
        run(Forgetting, 400 if FULL else 50, 5000 if FULL else 500)
