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
from ap_resume_shim.core.steps.guard import Contention, Kept, UncommittedResume
from ap_resume_shim.guard.base import IDS_LIFETIME, ResumeKey
from ap_resume_shim.guard.sealing import seal, unseal

if TYPE_CHECKING:
    from ap_resume_shim.guard.redis import RedisGuard

LAPSED = (
    "This resume was held up for longer than its hold on the thread lasts, and was not sent. "
    "Read the thread before you answer again."
)
"""The message of `HoldLapsed`."""
_DAY = 24 * 3600.0


class RedisSession:
    """Reads the thread's state from the store at the arrival, and waits for the response when a method needs it."""

    def __init__(self, guard: RedisGuard, ticket: ResumeKey) -> None:
        self._guard, self._ticket = guard, ticket
        self._token = secrets.token_hex(8)
        self._here = guard.clock()
        # The store's state as of the arrival.
        self._read_at, self._store_clock = 0.0, 0
        self._version = ""
        self._late = self._unsettled = self._repeated = self._to_settle = False
        self._uncommitted = UncommittedResume()
        self._known_ids: frozenset[str] = frozenset()
        self._kept: Kept | None = None
        self._reading = guard.in_background(self._read())
        # The progress of this resume since.
        self._answered: tuple[str, ...] = ()
        self._safe_until = 0.0
        self._renewing: asyncio.Task[Any] | None = None
        self._held = self._forwarded = self._accepted = self._holds_on = self._kept_reply = self._left = False
        self._away = False
        self.run_id: str | None = None

    async def recall(self) -> Kept | None:
        await self._have_read()
        self.run_id = None if self._kept is None else self._kept.run_id
        return self._kept

    async def repeated(self) -> bool:
        await self._have_read()
        return self._repeated

    async def known_ids(self) -> frozenset[str]:
        await self._have_read()
        return self._known_ids

    async def remember(self, ids: Iterable[str]) -> None:
        if new := tuple(ids):
            self._guard.in_background(self._call("remember", _list(new), _milli(IDS_LIFETIME)))

    async def had_run_in_flight(self) -> bool:
        await self._have_read()
        return self._unsettled

    async def uncommitted(self) -> UncommittedResume:
        await self._have_read()
        return self._uncommitted

    async def rival(self) -> Contention | None:
        await self._have_read()
        if self._late:
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
        await self._have_read()
        if self._late:
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
            _milli(guard.duplicate_window) if self._ticket.repeat is not None else 0,
            _milli(IDS_LIFETIME),
        )
        self._held = outcome in (
            b"held",
            b"late",
        )  # after "late", an earlier attempt whose response was lost may hold it
        match outcome:
            case b"accepted":
                return "accepted"
            case b"holding":
                return "holding"
            case b"late":
                raise GuardUnavailable(
                    "The store that keeps resumes apart was too slow, so that nothing was sent: try again."
                )
        self._safe_until = before + guard.lease
        self._renewing = guard.in_background(self._renew_for_ever())
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
        self._held, self._forwarded, self._accepted, self._holds_on = False, False, True, hold
        self._late = False
        self.run_id = run_id
        self._version = f"{self._token} accepted"
        self._to_settle = True
        moment, guard = self._guard.clock(), self._guard
        told = run_id or "", _micro(guard.lease), int(hold), _list(self._answered), *self._key()
        await self._tell(lambda: self._call("accepted", self._version, _micro(guard.clock() - moment), *told))
        self._stop_renewing_unless_needed()

    async def mark_committed(self) -> None:
        self._holds_on = False
        await self._tell(lambda: self._call("committed", self._version))
        self._stop_renewing_unless_needed()

    async def mark_run_id(self, run_id: str) -> None:
        self.run_id = run_id
        if self._ticket.key is not None:
            await self._tell(lambda: self._call("known", run_id))

    async def mark_rejected(self) -> None:
        self._held = self._forwarded = False
        self._stop_renewing()
        await self._tell(lambda: self._call("untaken"))

    async def keep(self, reply: Reply) -> None:
        if self._ticket.key is not None:
            self._kept_reply = True
            fits = len(reply.body) <= self._guard.keep_bytes
            written = seal(_write(reply), self._ticket.secret) if fits else b""
            if len(written) > self._guard.keep_bytes or not self._guard.outbox.has_room_for(len(written)):
                written = b""
            await self._tell(lambda: self._call("keep", written), len(written))

    async def mark_idle(self) -> None:
        """Stored in the background: no method waits for it, and the response to the client is not delayed."""
        if self._to_settle:
            self._to_settle = False
            self._guard.in_background(self._call("settled", self._version))

    async def close(self) -> None:
        if self._left:
            return
        self._left = True
        if self._forwarded:
            await self.mark_accepted()
        elif self._held:
            await self.mark_rejected()
        elif self._holds_on:
            await self._tell(lambda: self._call("committed", ""))  # releases the thread, which stays uncommitted
        self._stop_renewing()
        if self._accepted and self._ticket.key is not None and not self._kept_reply:
            await self._tell(lambda: self._call("keep", b""))

    async def _read(self) -> None:
        told = await self._call("arrive")
        self._read_at = self._guard.clock()
        now, version, accepted, rested, unsettled, answered, committed, repeated, ids, *kept = told
        # The store received the query after the arrival, at most this much later: an event in that time counts as
        # later than the arrival.
        took = _micro(self._read_at - self._here)
        self._store_clock, self._version = int(now), version.decode()
        self._late = _within(accepted, took)
        self._to_settle = bool(unsettled) and not self._late  # if late, an idle thread is one from before that run
        self._unsettled = bool(unsettled) or _within(rested, took)
        self._repeated = bool(repeated)
        self._known_ids = frozenset(each.decode() for each in ids)
        names = frozenset(json.loads(answered))
        if names and (not committed or _within(committed, took)):
            self._uncommitted = UncommittedResume(names, max(0, int(accepted)) / 1_000_000)
        fingerprint, live, taken, run_id, reply = kept
        if fingerprint:
            self._kept = Kept(
                fingerprint.decode(), bool(live), taken == b"1", run_id.decode() or None, self._opened(reply)
            )

    def _opened(self, sealed: bytes) -> Reply | None:
        plain = unseal(sealed, self._ticket.secret)
        return None if plain is None else _read_reply(plain)

    async def _have_read(self) -> None:
        await asyncio.wait({self._reading})
        self._reading.result()

    async def _renew_for_ever(self) -> None:
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
        if self._ticket.key is None and not self._holds_on:
            self._stop_renewing()

    def _stop_renewing(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            self._guard.renewing.discard(self._renewing)

    async def _tell(self, deliver: Callable[[], Awaitable[object]], size: int = 0) -> None:
        """Store a change: now, or as soon as the store is available again."""
        if not (self._away or self in self._guard.outbox):
            try:
                await deliver()
                return
            except GuardUnavailable:
                pass
        self._guard.outbox.put(self, deliver, size)

    async def _call(self, script: str, *arguments: Any) -> Any:
        try:
            told = await self._guard.call(script, self._ticket, self._token, *arguments)
        except GuardUnavailable:
            self._away = True
            raise
        self._away = False
        return told

    def _key(self) -> tuple[str, int]:
        """Return the fingerprint, and for how many milliseconds the key is stored; 0 if there is no key."""
        return self._ticket.fingerprint, 0 if self._ticket.key is None else _milli(self._guard.keep)


def _within(ago: bytes, took: int) -> bool:
    """True if an event was at most `took` microseconds ago.

    It may also lie ahead by as much, since the store's clock may be set back a little.
    """
    return ago != b"" and abs(int(ago)) <= took


def _micro(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _milli(seconds: float) -> int:
    return int(seconds * 1000)


def _list(texts: Iterable[str]) -> bytes:
    return strictjson.dumps(list(texts))


def _write(reply: Reply) -> bytes:
    return b'{"status":%d,"headers":%b,"value":%b}' % (reply.status, strictjson.dumps(reply.headers), reply.body)


def _read_reply(written: bytes) -> Reply:
    value = json.loads(written)
    return Reply(value["status"], value["value"], tuple((name, field) for name, field in value["headers"]))
