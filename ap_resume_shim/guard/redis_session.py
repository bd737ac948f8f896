"""The session of one resume at the guard in Redis."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import GuardUnavailable, HoldLapsed
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import Contention, KeyRecord, UncommittedResume
from ap_resume_shim.guard.base import IDS_LIFETIME, ResumeKey
from ap_resume_shim.guard.redis_lease import Lease
from ap_resume_shim.guard.redis_state import ThreadState, micro, read_state, sealed_reply

if TYPE_CHECKING:
    from ap_resume_shim.guard.redis import RedisGuard

LAPSED = (
    "This resume was delayed for longer than its hold on the thread lasts, and was not sent. "
    "Read the thread before you answer again."
)
"""The message of `HoldLapsed`."""


class RedisSession:
    """A `GuardSession` in Redis: reads the thread's state from the store at the arrival.

    A method that needs the state waits for the store's response.
    """

    def __init__(self, guard: RedisGuard, resume_key: ResumeKey, arrived_at: float) -> None:
        """`arrived_at` is a time of the guard's clock."""
        self._guard, self._resume_key = guard, resume_key
        self._token = secrets.token_hex(8)
        self._arrived_at = arrived_at
        self._state = ThreadState()
        self._reading = guard.in_background(self._read())
        self._lease = Lease(guard, self._renew)
        self._answered: tuple[str, ...] = ()
        self._held = self._forwarded = self._accepted = self._held_until_commit = self._reply_stored = self._closed = (
            False
        )
        self._unavailable = False
        self.run_id: str | None = None

    async def recall(self) -> KeyRecord | None:
        await self._wait_for_state()
        self.run_id = None if self._state.record is None else self._state.record.run_id
        return self._state.record

    async def repeated(self) -> bool:
        await self._wait_for_state()
        return self._state.repeated

    async def known_ids(self) -> frozenset[str]:
        await self._wait_for_state()
        return self._state.known_ids

    async def remember(self, ids: Iterable[str]) -> None:
        if new := tuple(ids):
            self._guard.in_background(self._call("remember", _list(new), _milli(IDS_LIFETIME)))

    async def had_run_in_flight(self) -> bool:
        await self._wait_for_state()
        return self._state.had_run_in_flight

    async def uncommitted(self) -> UncommittedResume:
        await self._wait_for_state()
        return self._state.uncommitted

    async def rival(self) -> Contention | None:
        await self._wait_for_state()
        if self._state.superseded:
            return "accepted"
        try:
            version, held = await self._call("rival")
        except GuardUnavailable:
            if self._forwarded or self._accepted:
                return "accepted"  # unknown: this resume was sent, and another may have been accepted since
            raise
        if version.decode() != self._state.version:
            return "accepted"
        return "holding" if held else None

    async def claim(self, answered: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> Contention | None:
        await self._wait_for_state()
        if self._state.superseded:
            return "accepted"
        guard, before = self._guard, self._guard.clock()
        self._held, self._answered = True, answered  # a call that fails now may still have reached the store
        outcome = await self._call(
            "claim",
            self._state.version,
            # The deadline: a late claim must not hold the thread, since nothing would renew or release it.
            self._state.store_clock + micro(before - self._state.read_at + guard.timeout),
            micro(guard.lease),
            _list(answered),
            _list(seen),
            *self._key(),
            _milli(self._resume_key.window) if self._resume_key.repeat is not None else 0,
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
        self._lease.start(before)
        return None

    async def forward(self) -> None:
        if 0 < self._lease.remaining < self._guard.lease / 2:
            try:
                await self._lease.renew()
            except GuardUnavailable:
                pass  # the rest of the lease may be long enough
        if self._lease.remaining <= 0:
            raise HoldLapsed(LAPSED)
        self._forwarded = True

    def still_held(self) -> bool:
        return self._forwarded and self._lease.remaining > 0

    async def mark_accepted(self, run_id: str | None = None, *, hold: bool = False) -> None:
        self._held, self._forwarded, self._accepted, self._held_until_commit = False, False, True, hold
        self.run_id = run_id
        self._state = replace(self._state, version=f"{self._token} accepted", superseded=False, run_in_flight=True)
        moment, guard = self._guard.clock(), self._guard
        arguments = run_id or "", micro(guard.lease), int(hold), _list(self._answered), *self._key()
        await self._store(
            lambda: self._call("mark_accepted", self._state.version, micro(guard.clock() - moment), *arguments)
        )
        self._stop_renewing_unless_needed()

    async def mark_committed(self) -> None:
        self._held_until_commit = False
        await self._store(lambda: self._call("mark_committed", self._state.version))
        self._stop_renewing_unless_needed()

    async def mark_run_id(self, run_id: str) -> None:
        self.run_id = run_id
        if self._resume_key.key is not None:
            await self._store(lambda: self._call("mark_run_id", run_id))

    async def mark_rejected(self) -> None:
        self._held = self._forwarded = False
        self._lease.stop()
        await self._store(lambda: self._call("mark_rejected"))

    async def keep(self, reply: Reply) -> None:
        if self._resume_key.key is not None:
            self._reply_stored = True
            fits = len(reply.body) <= self._guard.keep_bytes
            encoded = sealed_reply(reply, self._resume_key.secret) if fits else b""
            if len(encoded) > self._guard.keep_bytes or not self._guard.outbox.has_room_for(len(encoded)):
                encoded = b""
            await self._store(lambda: self._call("keep", encoded), len(encoded))

    async def mark_idle(self) -> None:
        """Store it in the background, so that the response to the client is not delayed."""
        if self._state.run_in_flight:
            self._state = replace(self._state, run_in_flight=False)
            self._guard.in_background(self._call("mark_idle", self._state.version))

    async def mark_response_ended(self) -> None:
        if self._accepted and self._resume_key.resent and self._resume_key.repeat is not None:
            await self._store(lambda: self._call("begin_window", _milli(self._resume_key.window)))

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
        self._lease.stop()
        await self.mark_response_ended()
        if self._accepted and self._resume_key.key is not None and not self._reply_stored:
            await self._store(lambda: self._call("keep", b""))

    async def _read(self) -> None:
        response = await self._call("begin")
        self._state = read_state(response, self._arrived_at, self._guard.clock(), self._resume_key.secret)

    async def _wait_for_state(self) -> None:
        await asyncio.wait({self._reading})
        self._reading.result()

    async def _renew(self) -> bool:
        return bool(await self._call("renew", micro(self._guard.lease)))

    def _stop_renewing_unless_needed(self) -> None:
        """Besides the hold, a key is renewed while its response is outstanding."""
        if self._resume_key.key is None and not self._held_until_commit:
            self._lease.stop()

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


def _milli(seconds: float) -> int:
    return int(seconds * 1000)


def _list(texts: Iterable[str]) -> bytes:
    return strictjson.dumps(list(texts))
