"""A guard for those who would rather go on guarded by one process than stop when the shared store is away."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from ap_resume_shim.core.errors import GuardUnavailable
from ap_resume_shim.core.steps import Contention, Kept, Reply, UncommittedResume
from ap_resume_shim.guard.base import Guard, GuardSession, ResumeKey
from ap_resume_shim.guard.ledger import FallbackLedger, Ledger

logger = logging.getLogger("ap_resume_shim")

T = TypeVar("T")


class FallbackGuard:
    """Asks `shared`; while that is unavailable, `alone`. What was accepted meanwhile, `shared` stores when it is back.

    Two processes that are both cut off from the store do not see each other: a thread may be resumed twice then.
    """

    def __init__(self, shared: Guard, alone: Guard) -> None:
        self._shared, self._alone = shared, alone
        self.duplicate_window = shared.duplicate_window
        self.ledger: Ledger = FallbackLedger(shared.ledger, alone.ledger)

    def begin(self, ticket: ResumeKey) -> GuardSession:
        """Arrive at both."""
        return _FallbackArrival(self._shared.begin(ticket), self._alone.begin(ticket))

    async def check(self) -> tuple[str, ...]:
        """Warnings; that the store is away is one of them."""
        try:
            return await self._shared.check()
        except GuardUnavailable as failure:
            return (f"{failure.message} Until then each process guards its resumes alone.",)

    async def aclose(self) -> None:
        """Close both."""
        await self._shared.aclose()
        await self._alone.aclose()


class _FallbackArrival:
    """Does everything at both; what it asks, it asks `shared` as long as that answers."""

    def __init__(self, shared: GuardSession, alone: GuardSession) -> None:
        self._shared, self._alone = shared, alone
        self._is_alone = self._forwarded = False

    async def recall(self) -> Kept | None:
        return await self._ask(lambda arrival: arrival.recall()) or await self._alone.recall()

    async def repeated(self) -> bool:
        return await self._ask(lambda arrival: arrival.repeated()) or await self._alone.repeated()

    async def known_ids(self) -> frozenset[str]:
        return await self._ask(lambda arrival: arrival.known_ids()) | await self._alone.known_ids()

    async def remember(self, ids: Iterable[str]) -> None:
        new = tuple(ids)
        await self._alone.remember(new)
        await self._shared.remember(new)

    async def rival(self) -> Contention | None:
        return await self._alone.rival() or await self._ask(lambda arrival: arrival.rival())

    async def unsettled(self) -> bool:
        return await self._ask(lambda arrival: arrival.unsettled())

    async def uncommitted(self) -> UncommittedResume:
        return await self._ask(lambda arrival: arrival.uncommitted())

    async def claim(self, answered: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> Contention | None:
        if rival := await self._alone.claim(answered, seen):
            return rival
        rival = await self._ask(lambda arrival: arrival.claim(answered, seen))
        if rival is not None:
            await self._alone.untaken()
        return rival

    async def forward(self) -> None:
        if not self._is_alone:
            await self._shared.forward()
        await self._alone.forward()
        self._forwarded = True

    def still_held(self) -> bool:
        return self._alone.still_held() if self._is_alone else self._shared.still_held()

    async def accepted(self, run_id: str | None = None, *, hold: bool = False) -> None:
        self._forwarded = False
        await self._alone.accepted(run_id, hold=hold)
        await self._shared.accepted(run_id, hold=hold)

    async def committed(self) -> None:
        await self._alone.committed()
        await self._shared.committed()

    async def known(self, run_id: str) -> None:
        await self._alone.known(run_id)
        await self._shared.known(run_id)

    async def untaken(self) -> None:
        self._forwarded = False
        await self._alone.untaken()
        await self._shared.untaken()

    async def keep(self, reply: Reply) -> None:
        await self._alone.keep(reply)
        await self._shared.keep(reply)

    async def settled(self) -> None:
        await self._alone.settled()
        await self._shared.settled()

    async def leave(self) -> None:
        if self._forwarded:  # alone perhaps, of which `shared` knows nothing yet
            await self.accepted()
        await self._shared.leave()
        await self._alone.leave()

    async def _ask(self, question: Callable[[GuardSession], Awaitable[T]]) -> T:
        """Ask `shared`; from the first time on that it is unavailable, `alone`."""
        if not self._is_alone:
            try:
                return await question(self._shared)
            except GuardUnavailable:
                logger.warning("this resume is guarded by this process alone")
                self._is_alone = True
        return await question(self._alone)
