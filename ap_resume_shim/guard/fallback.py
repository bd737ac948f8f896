"""A guard that continues within one process while the shared store is unavailable."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from ap_resume_shim.core.errors import GuardUnavailable
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import Contention, KeyRecord, UncommittedResume
from ap_resume_shim.guard.base import Guard, GuardSession, Moment, ResumeKey
from ap_resume_shim.guard.ledger import FallbackLedger, Ledger

logger = logging.getLogger("ap_resume_shim")

T = TypeVar("T")


class FallbackGuard:
    """Uses `shared`; while that is unavailable, `alone`.

    Resumes accepted meanwhile are stored in `shared` once it is available.

    Two processes without access to the store do not see each other: a thread may then be resumed twice.
    """

    def __init__(self, shared: Guard, alone: Guard) -> None:
        self._shared, self._alone = shared, alone
        self.duplicate_window = shared.duplicate_window
        self.ledger: Ledger = FallbackLedger(shared.ledger, alone.ledger)

    @property
    def on_error(self) -> Callable[[], None]:
        """Called for each call to the shared store that fails."""
        return self._shared.on_error  # type: ignore[attr-defined, no-any-return] # only guards with a store have it

    @on_error.setter
    def on_error(self, call: Callable[[], None]) -> None:
        self._shared.on_error = call  # type: ignore[attr-defined]

    def now(self) -> Moment:
        """Return this moment in the form of both guards."""
        return self._shared.now(), self._alone.now()

    def begin(self, resume_key: ResumeKey, arrived: Moment = None) -> GuardSession:
        """Begin a session at both guards."""
        shared, alone = arrived or (None, None)
        return _FallbackSession(self._shared.begin(resume_key, shared), self._alone.begin(resume_key, alone))

    async def check(self) -> tuple[str, ...]:
        """Check the shared store. Returns warnings, also for an unavailable store."""
        try:
            return await self._shared.check()
        except GuardUnavailable as failure:
            return (f"{failure.message} Until then each process guards its resumes alone.",)

    async def aclose(self) -> None:
        """Close both guards."""
        await self._shared.aclose()
        await self._alone.aclose()


class _FallbackSession:
    """Writes to both sessions; reads from `shared`, until that is unavailable."""

    def __init__(self, shared: GuardSession, alone: GuardSession) -> None:
        self._shared, self._alone = shared, alone
        self._is_alone = self._forwarded = False

    @property
    def run_id(self) -> str | None:
        return self._shared.run_id or self._alone.run_id

    async def recall(self) -> KeyRecord | None:
        return await self._query(lambda session: session.recall()) or await self._alone.recall()

    async def repeated(self) -> bool:
        return await self._query(lambda session: session.repeated()) or await self._alone.repeated()

    async def known_ids(self) -> frozenset[str]:
        return await self._query(lambda session: session.known_ids()) | await self._alone.known_ids()

    async def remember(self, ids: Iterable[str]) -> None:
        new = tuple(ids)
        await self._alone.remember(new)
        await self._shared.remember(new)

    async def rival(self) -> Contention | None:
        return await self._alone.rival() or await self._query(lambda session: session.rival())

    async def had_run_in_flight(self) -> bool:
        return await self._query(lambda session: session.had_run_in_flight())

    async def uncommitted(self) -> UncommittedResume:
        return await self._query(lambda session: session.uncommitted())

    async def claim(self, answered: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> Contention | None:
        if rival := await self._alone.claim(answered, seen):
            return rival
        rival = await self._query(lambda session: session.claim(answered, seen))
        if rival is not None:
            await self._alone.mark_rejected()
        return rival

    async def forward(self) -> None:
        if not self._is_alone:
            await self._shared.forward()
        await self._alone.forward()
        self._forwarded = True

    def still_held(self) -> bool:
        return self._alone.still_held() if self._is_alone else self._shared.still_held()

    async def mark_accepted(self, run_id: str | None = None, *, hold: bool = False) -> None:
        self._forwarded = False
        await self._alone.mark_accepted(run_id, hold=hold)
        await self._shared.mark_accepted(run_id, hold=hold)

    async def mark_committed(self) -> None:
        await self._alone.mark_committed()
        await self._shared.mark_committed()

    async def mark_run_id(self, run_id: str) -> None:
        await self._alone.mark_run_id(run_id)
        await self._shared.mark_run_id(run_id)

    async def mark_rejected(self) -> None:
        self._forwarded = False
        await self._alone.mark_rejected()
        await self._shared.mark_rejected()

    async def keep(self, reply: Reply) -> None:
        await self._alone.keep(reply)
        await self._shared.keep(reply)

    async def mark_idle(self) -> None:
        await self._alone.mark_idle()
        await self._shared.mark_idle()

    async def mark_response_ended(self) -> None:
        await self._alone.mark_response_ended()
        await self._shared.mark_response_ended()

    async def close(self) -> None:
        if self._forwarded:  # perhaps at `alone` only: then `shared` has no record of it
            await self.mark_accepted()
        await self._shared.close()
        await self._alone.close()

    async def _query(self, call: Callable[[GuardSession], Awaitable[T]]) -> T:
        """Query `shared`; after it was unavailable once, query `alone`."""
        if not self._is_alone:
            try:
                return await call(self._shared)
            except GuardUnavailable:
                logger.warning("this resume is guarded by this process alone")
                self._is_alone = True
        return await call(self._alone)
