"""The guard of one process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from ap_resume_shim.core.http import Headers
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import Contention, KeyRecord, UncommittedResume
from ap_resume_shim.guard.base import IDS, IDS_LIFETIME, GuardSession, ResumeKey
from ap_resume_shim.guard.clock import boottime
from ap_resume_shim.guard.ledger import Ledger, MemoryLedger

DAY = 24 * 3600.0
"""Seconds for which a response is stored under its `Idempotency-Key`, by default."""


class MemoryGuard:
    """The guard of one process, in bounded memory.

    It remembers threads with a resume in progress, the last few thousand threads with an accepted resume, the interrupt
    ids of the last few thousand threads, and the responses for the last few thousand keys.
    """

    def __init__(
        self,
        *,
        remembered: int = 10_000,
        keep: float = DAY,
        keep_bytes: int = 64 * 1024 * 1024,
        duplicate_window: float = 0.0,
        clock: Callable[[], float] = boottime,
    ) -> None:
        """Limits of the guard.

        - `remembered`: maximum number of threads after their resumes have ended, of threads with interrupt ids, and of
          keys.
        - `keep`: seconds for which a response is stored under its `Idempotency-Key`.
        - `keep_bytes`: maximum size of all responses together; the oldest are removed first.
        - `duplicate_window`: seconds in which the same body from the same caller on the same thread is refused.
        """
        self.clock = clock
        self.ledger: Ledger = MemoryLedger(clock=clock)
        self.keep, self.duplicate_window = keep, duplicate_window
        self.records = _Records(remembered, keep_bytes)
        self.ids = _Ids(remembered)
        self.repeats: dict[str, float] = {}
        self._threads: dict[str, _Thread] = {}
        self._without_sessions: dict[str, None] = {}
        self._remembered = remembered
        self._events = 0

    def now(self) -> int:
        """Return the number of the last event: an acceptance, or the end of a run."""
        return self._events

    def next_event(self) -> int:
        """Return the number of a new event."""
        self._events += 1
        return self._events

    def begin(self, resume_key: ResumeKey, arrived: int | None = None) -> GuardSession:
        """Begin a session, with the thread's version at the arrival."""
        self._forget_what_expired()
        thread = self._threads.setdefault(resume_key.thread, _Thread())
        thread.arrivals += 1
        self._without_sessions.pop(resume_key.thread, None)
        return _MemorySession(self, resume_key, thread, self._events if arrived is None else arrived)

    async def check(self) -> tuple[str, ...]:
        """Return no warnings: there is no store that could be unavailable."""
        return ()

    async def aclose(self) -> None:
        """Does nothing: there are no open resources."""

    def last_session_closed(self, key: str) -> None:
        """Forget a thread without sessions, unless a resume that arrived before its last acceptance may still begin."""
        if self._threads[key].version:
            self._without_sessions[key] = None
            if len(self._without_sessions) <= self._remembered:
                return
            key = next(iter(self._without_sessions))
            del self._without_sessions[key]
        del self._threads[key]

    def _forget_what_expired(self) -> None:
        now = self.clock()
        self.records.expire(now)
        self.ids.expire(now)
        while self.repeats and (oldest := next(iter(self.repeats))) and self.repeats[oldest] <= now:
            del self.repeats[oldest]
        while len(self.repeats) > self._remembered:
            del self.repeats[next(iter(self.repeats))]


@dataclass(slots=True)
class _Thread:
    arrivals: int = 0
    version: int = 0
    """The number of its last acceptance; 0 if there was none."""
    holder: object | None = None
    run_in_flight: bool = False
    idle: int = 0
    """The number of the event at which it was last seen idle."""
    uncommitted: frozenset[str] = frozenset()
    accepted_at: float = 0.0


@dataclass(slots=True)
class _ThreadIds:
    ids: dict[str, None] = field(default_factory=dict)
    expires: float = 0.0


class _Ids:
    """Interrupt ids by thread. The threads without a new id for longest are removed first."""

    def __init__(self, max_entries: int) -> None:
        self._threads: dict[str, _ThreadIds] = {}
        self._max_entries = max_entries

    def __len__(self) -> int:
        return len(self._threads)

    def get(self, thread: str) -> frozenset[str]:
        known = self._threads.get(thread)
        return frozenset() if known is None else frozenset(known.ids)

    def add(self, thread: str, ids: Iterable[str], now: float) -> None:
        known = self._threads.pop(thread, None) or _ThreadIds()
        known.expires = now + IDS_LIFETIME
        for interrupt_id in ids:
            known.ids.pop(interrupt_id, None)
            known.ids[interrupt_id] = None
        while len(known.ids) > IDS:
            del known.ids[next(iter(known.ids))]
        self._threads[thread] = known
        self.expire(now)

    def expire(self, now: float) -> None:
        while self._threads and (oldest := next(iter(self._threads))):
            if len(self._threads) <= self._max_entries and self._threads[oldest].expires > now:
                return
            del self._threads[oldest]


@dataclass(slots=True)
class _Entry:
    owner: object
    record: KeyRecord
    """Without the reply, whose value would take several times the memory of its body."""
    expires: float
    reply: tuple[int, bytes, Headers] | None = None
    """Status, body and headers."""

    @property
    def size(self) -> int:
        """The size of the reply's body in bytes."""
        return 0 if self.reply is None else len(self.reply[1])


class _Records:
    """Records by `Idempotency-Key`. If there are too many, the oldest is removed, except for resumes in progress."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._entries: dict[str, _Entry] = {}
        self._max_entries, self._max_bytes, self._bytes = max_entries, max_bytes, 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> KeyRecord | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.reply is None:
            return entry.record
        status, body, headers = entry.reply
        return replace(entry.record, reply=Reply(status, json.loads(body), headers))

    def put(self, key: str, owner: object, record: KeyRecord, expires: float) -> None:
        """Store a record, which only the same owner may change; the entry keeps a reference to the owner."""
        old = self._entries.get(key)
        if old is not None and old.owner is not owner:
            return
        self.drop(key, owner)
        entry = _Entry(owner, replace(record, reply=None), expires)
        if record.reply is not None and len(record.reply.body) <= self._max_bytes:
            entry.reply = record.reply.status, record.reply.body, record.reply.headers
        self._entries[key] = entry
        self._bytes += entry.size
        self._shrink()

    def drop(self, key: str, owner: object) -> None:
        entry = self._entries.get(key)
        if entry is not None and entry.owner is owner:
            self._bytes -= self._entries.pop(key).size

    def expire(self, now: float) -> None:
        while self._entries and (key := next(iter(self._entries))) and self._entries[key].expires <= now:
            self._bytes -= self._entries.pop(key).size

    def _shrink(self) -> None:
        while self._is_too_much():
            oldest = next((key for key, entry in self._entries.items() if not entry.record.live), None)
            if oldest is None:
                return
            self._bytes -= self._entries.pop(oldest).size

    def _is_too_much(self) -> bool:
        return len(self._entries) > self._max_entries or self._bytes > self._max_bytes


class _MemorySession:
    def __init__(self, guard: MemoryGuard, resume_key: ResumeKey, thread: _Thread, arrived: int) -> None:
        """`arrived` is the number of the last event before the arrival."""
        self._guard, self._resume_key, self._thread = guard, resume_key, thread
        self._version = min(thread.version, arrived)  # no later acceptance has this number
        self._run_in_flight = thread.run_in_flight or thread.idle > arrived
        self._uncommitted = UncommittedResume()
        if thread.uncommitted:
            self._uncommitted = UncommittedResume(thread.uncommitted, guard.clock() - thread.accepted_at)
        self._record = None if resume_key.key is None else guard.records.get(resume_key.key)
        self._known_ids = guard.ids.get(resume_key.thread)
        self._repeated = resume_key.repeat in guard.repeats
        self._open, self._forwarded, self._accepted, self._reply_stored = True, False, False, False
        self._owner = object()  # the owner of the record; the session itself would keep its whole state in memory
        self.run_id: str | None = None
        self._answered: tuple[str, ...] = ()

    async def recall(self) -> KeyRecord | None:
        self.run_id = None if self._record is None else self._record.run_id
        return self._record

    async def repeated(self) -> bool:
        return self._repeated

    async def known_ids(self) -> frozenset[str]:
        return self._known_ids

    async def remember(self, ids: Iterable[str]) -> None:
        self._guard.ids.add(self._resume_key.thread, ids, self._guard.clock())

    async def rival(self) -> Contention | None:
        if self._thread.version != self._version:
            return "accepted"
        return None if self._thread.holder in (None, self) else "holding"

    async def had_run_in_flight(self) -> bool:
        return self._run_in_flight

    async def uncommitted(self) -> UncommittedResume:
        return self._uncommitted

    async def claim(self, answered: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> Contention | None:
        if rival := await self.rival():
            return rival
        self._thread.holder, self._answered = self, answered
        self._put(live=True)
        if seen:
            await self.remember(seen)
        self._begin_window()
        return None

    async def forward(self) -> None:
        self._forwarded = True

    def still_held(self) -> bool:
        return self._forwarded

    async def mark_accepted(self, run_id: str | None = None, *, hold: bool = False) -> None:
        thread = self._thread
        thread.version = self._version = self._guard.next_event()
        thread.run_in_flight, thread.uncommitted = True, frozenset(self._answered)
        thread.accepted_at = self._guard.clock()
        self._forwarded, self._accepted, self.run_id = False, True, run_id
        if not hold:
            self._release()
        self._put(live=True, accepted=True)

    async def mark_committed(self) -> None:
        if self._version == self._thread.version:
            self._thread.uncommitted = frozenset()
        self._release()

    async def mark_run_id(self, run_id: str) -> None:
        self.run_id = run_id
        self._put(live=True, accepted=True)

    async def mark_rejected(self) -> None:
        self._forwarded = False
        if self._thread.holder is self:
            for repeat in self._repeats():
                self._guard.repeats.pop(repeat, None)
        self._release()
        if self._resume_key.key is not None:
            self._guard.records.drop(self._resume_key.key, self._owner)

    async def keep(self, reply: Reply) -> None:
        self._reply_stored = True
        self._put(live=False, accepted=True, reply=reply)

    async def mark_idle(self) -> None:
        if self._version == self._thread.version:
            if self._thread.run_in_flight:
                self._thread.idle = self._guard.next_event()
            self._thread.run_in_flight, self._thread.uncommitted = False, frozenset()

    async def mark_response_ended(self) -> None:
        if self._accepted and self._resume_key.resent:
            self._begin_window()

    async def close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._forwarded:
            await self.mark_accepted()
        elif self._thread.holder is self and not self._accepted:
            await self.mark_rejected()
        await self.mark_response_ended()
        self._release()
        if self._resume_key.key is not None and not self._reply_stored:
            record = self._guard.records.get(self._resume_key.key)
            if record is not None:
                self._put(live=False, accepted=record.accepted)
        self._thread.arrivals -= 1
        if not self._thread.arrivals:
            self._guard.last_session_closed(self._resume_key.thread)

    def _release(self) -> None:
        if self._thread.holder is self:
            self._thread.holder = None

    def _begin_window(self) -> None:
        for repeat in self._repeats():
            self._guard.repeats.pop(repeat, None)  # the dict is in the order of expiry
            self._guard.repeats[repeat] = self._guard.clock() + self._resume_key.window

    def _repeats(self) -> list[str]:
        """Return the answers that are refused after this one."""
        return [repeat for repeat in (self._resume_key.repeat, self._resume_key.unnamed) if repeat is not None]

    def _put(self, *, live: bool, accepted: bool = False, reply: Reply | None = None) -> None:
        if self._resume_key.key is not None:
            record = KeyRecord(self._resume_key.fingerprint, live, accepted, self.run_id, reply)
            self._guard.records.put(self._resume_key.key, self._owner, record, self._guard.clock() + self._guard.keep)
