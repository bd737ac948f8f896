"""The session of one resume at the guard in Redis."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import GuardUnavailable, HoldLapsed
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import Contention, KeyRecord, UncommittedResume
from ap_resume_shim.guard.base import IDS_LIFETIME, ResumeKey
from ap_resume_shim.guard.sealing import seal, unseal

if TYPE_CHECKING:
    from ap_resume_shim.guard.redis import RedisGuard

LAPSED = (
    "This resume was delayed for longer than its hold on the thread lasts, and was not sent. "
    "Read the thread before you answer again."
)
"""The message of `HoldLapsed`."""
_DAY = 24 * 3600.0


class RedisSession:
    """A `GuardSession` in Redis: reads the thread's state from the store at the arrival.

    A method that needs the state waits for the store's response.
    """

    def __init__(self, guard: RedisGuard, resume_key: ResumeKey) -> None:
        self._guard, self._resume_key = guard, resume_key
        self._token = secrets.token_hex(8)
        self._arrived_at = guard.clock()
        # The store's state as of the arrival.
        self._read_at, self._store_clock = 0.0, 0
        self._version = ""
        self._superseded = self._run_in_flight = self._repeated = self._may_mark_idle = False
        self._uncommitted = UncommittedResume()
        self._known_ids: frozenset[str] = frozenset()
        self._record: KeyRecord | None = None
        self._reading = guard.in_background(self._read())
        # The progress of this resume since.
        self._answered: tuple[str, ...] = ()
        self._safe_until = 0.0
        self._renewing: asyncio.Task[Any] | None = None
        self._held = self._forwarded = self._accepted = self._held_until_commit = self._reply_stored = self._closed = (
            False
        )
        self._unavailable = False
        self.run_id: str | None = None

    async def recall(self) -> KeyRecord | None:
        await self._wait_for_state()
        self.run_id = None if self._record is None else self._record.run_id
        return self._record

    async def repeated(self) -> bool:
        await self._wait_for_state()
        return self._repeated

    async def known_ids(self) -> frozenset[str]:
        await self._wait_for_state()
        return self._known_ids

    async def remember(self, ids: Iterable[str]) -> None:
        if new := tuple(ids):
            self._guard.in_background(self._call("remember", _list(new), _milli(IDS_LIFETIME)))

    async def had_run_in_flight(self) -> bool:
        await self._wait_for_state()
        return self._run_in_flight

    async def uncommitted(self) -> UncommittedResume:
        await self._wait_for_state()
        return self._uncommitted

    async def rival(self) -> Contention | None:
        await self._wait_for_state()
        if self._superseded:
            return "accepted"
        try:
            version, held = await self._call("rival")
        except GuardUnavailable:
            if self._forwarded or self._accepted:
                return "accepted"  # unknown: this resume was sent, and another may have been accepted since
            raise
        if version.decode() != self._version:
            return "accepted"
        return "holding" if held else None

    async def claim(self, answered: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> Contention | None:
        await self._wait_for_state()
        if self._superseded:
            return "accepted"
        guard, before = self._guard, self._guard.clock()
        self._held, self._answered = True, answered  # a call that fails now may still have reached the store
        outcome = await self._call(
            "claim",
            self._version,
            # The deadline: a late claim must not hold the thread, since nothing would renew or release it.
            self._store_clock + _micro(before - self._read_at + guard.timeout),
            _micro(guard.lease),
            _list(answered),
            _list(seen),
            *self._key(),
            _milli(guard.duplicate_window) if self._resume_key.repeat is not None else 0,
            _milli(IDS_LIFETIME),
        )
        # After "late", an earlier attempt whose response was lost may hold the thread.
        self._held = outcome in (b"held", b"late")
        match outcome:
            case b"accepted":
                return "accepted"
            case b"holding":
                return "holding"
            case b"late":
                raise GuardUnavailable("The guard's store was too slow, and nothing was sent: try again.")
        self._safe_until = before + guard.lease
        self._renewing = guard.in_background(self._keep_renewing())
        guard.renewing.add(self._renewing)
        return None

    async def forward(self) -> None:
        if 0 < self._safe_until - self._guard.clock() < self._guard.lease / 2:
            try:
                await self._renew()
            except GuardUnavailable:
                pass  # the rest of the lease may be long enough
        if self._guard.clock() >= self._safe_until:
            raise HoldLapsed(LAPSED)
        self._forwarded = True

    def still_held(self) -> bool:
        return self._forwarded and self._guard.clock() < self._safe_until

    async def mark_accepted(self, run_id: str | None = None, *, hold: bool = False) -> None:
        self._held, self._forwarded, self._accepted, self._held_until_commit = False, False, True, hold
        self._superseded = False
        self.run_id = run_id
        self._version = f"{self._token} accepted"
        self._may_mark_idle = True
        moment, guard = self._guard.clock(), self._guard
        arguments = run_id or "", _micro(guard.lease), int(hold), _list(self._answered), *self._key()
        await self._store(
            lambda: self._call("mark_accepted", self._version, _micro(guard.clock() - moment), *arguments)
        )
        self._stop_renewing_unless_needed()

    async def mark_committed(self) -> None:
        self._held_until_commit = False
        await self._store(lambda: self._call("mark_committed", self._version))
        self._stop_renewing_unless_needed()

    async def mark_run_id(self, run_id: str) -> None:
        self.run_id = run_id
        if self._resume_key.key is not None:
            await self._store(lambda: self._call("mark_run_id", run_id))

    async def mark_rejected(self) -> None:
        self._held = self._forwarded = False
        self._stop_renewing()
        await self._store(lambda: self._call("mark_rejected"))

    async def keep(self, reply: Reply) -> None:
        if self._resume_key.key is not None:
            self._reply_stored = True
            fits = len(reply.body) <= self._guard.keep_bytes
            encoded = seal(_write(reply), self._resume_key.secret) if fits else b""
            if len(encoded) > self._guard.keep_bytes or not self._guard.outbox.has_room_for(len(encoded)):
                encoded = b""
            await self._store(lambda: self._call("keep", encoded), len(encoded))

    async def mark_idle(self) -> None:
        """Stored in the background: no method waits for it, and the response to the client is not delayed."""
        if self._may_mark_idle:
            self._may_mark_idle = False
            self._guard.in_background(self._call("mark_idle", self._version))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._forwarded:
            await self.mark_accepted()
        elif self._held:
            await self.mark_rejected()
        elif self._held_until_commit:
            await self._store(lambda: self._call("mark_committed", ""))  # releases the thread, which stays uncommitted
        self._stop_renewing()
        if self._accepted and self._resume_key.key is not None and not self._reply_stored:
            await self._store(lambda: self._call("keep", b""))

    async def _read(self) -> None:
        state = await self._call("begin")
        self._read_at = self._guard.clock()
        now, version, accepted, idle, in_flight, answered, committed, repeated, ids, *record = state
        # The store received the query after the arrival, at most this much later: an event in that time counts as
        # later than the arrival.
        round_trip = _micro(self._read_at - self._arrived_at)
        self._store_clock, self._version = int(now), version.decode()
        self._superseded = _within(accepted, round_trip)
        # If another resume was accepted since the arrival, the thread may have been seen idle before that one's run.
        self._may_mark_idle = bool(in_flight) and not self._superseded
        self._run_in_flight = bool(in_flight) or _within(idle, round_trip)
        self._repeated = bool(repeated)
        self._known_ids = frozenset(interrupt_id.decode() for interrupt_id in ids)
        names = frozenset(json.loads(answered))
        if names and (not committed or _within(committed, round_trip)):
            self._uncommitted = UncommittedResume(names, max(0, int(accepted)) / 1_000_000)
        fingerprint, live, was_accepted, run_id, reply = record
        if fingerprint:
            self._record = KeyRecord(
                fingerprint.decode(), bool(live), was_accepted == b"1", run_id.decode() or None, self._unsealed(reply)
            )

    def _unsealed(self, sealed: bytes) -> Reply | None:
        plain = unseal(sealed, self._resume_key.secret)
        return None if plain is None else _read_reply(plain)

    async def _wait_for_state(self) -> None:
        await asyncio.wait({self._reading})
        self._reading.result()

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._guard.lease / 3)
            try:
                await self._renew()
            except GuardUnavailable:
                pass  # logged by the guard; retried until the lease is over

    async def _renew(self) -> None:
        before = self._guard.clock()
        if await self._call("renew", _micro(self._guard.lease)):
            self._safe_until = before + self._guard.lease
        elif not self._accepted:
            self._safe_until = 0.0

    def _stop_renewing_unless_needed(self) -> None:
        """Besides the hold, a key is renewed while its response is outstanding."""
        if self._resume_key.key is None and not self._held_until_commit:
            self._stop_renewing()

    def _stop_renewing(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            self._guard.renewing.discard(self._renewing)

    async def _store(self, deliver: Callable[[], Awaitable[object]], size: int = 0) -> None:
        """Store a change: now, or as soon as the store is available again."""
        if not (self._unavailable or self in self._guard.outbox):
            try:
                await deliver()
                return
            except GuardUnavailable:
                pass
        self._guard.outbox.put(self, deliver, size)

    async def _call(self, script: str, *arguments: Any) -> Any:
        try:
            result = await self._guard.call(script, self._resume_key, self._token, *arguments)
        except GuardUnavailable:
            self._unavailable = True
            raise
        self._unavailable = False
        return result

    def _key(self) -> tuple[str, int]:
        """Return the fingerprint, and for how many milliseconds the key is stored; 0 if there is no key."""
        return self._resume_key.fingerprint, 0 if self._resume_key.key is None else _milli(self._guard.keep)


def _within(ago: bytes, duration: int) -> bool:
    """True if an event was at most `duration` microseconds ago.

    It may also lie ahead by as much, since the store's clock may be set back a little.
    """
    return ago != b"" and abs(int(ago)) <= duration


def _micro(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _milli(seconds: float) -> int:
    return int(seconds * 1000)


def _list(texts: Iterable[str]) -> bytes:
    return strictjson.dumps(list(texts))


def _write(reply: Reply) -> bytes:
    return b'{"status":%d,"headers":%b,"value":%b}' % (reply.status, strictjson.dumps(reply.headers), reply.body)


def _read_reply(encoded: bytes) -> Reply:
    value = json.loads(encoded)
    return Reply(value["status"], value["value"], tuple((name, field) for name, field in value["headers"]))
