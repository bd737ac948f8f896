"""A guard for those who would rather go on guarded by one process than stop when the shared store is away."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ap_resume_shim.core.errors import GuardUnavailable, ResumeInProgress
from ap_resume_shim.core.exchange import Kept, Reply
from ap_resume_shim.guard.arrival import Arrival, Guard, Ticket
from ap_resume_shim.guard.ledger import FallbackLedger, Ledger

logger = logging.getLogger("ap_resume_shim")

T = TypeVar("T")


class FallbackGuard:
    """Asks `shared`; while that is unavailable, `alone`.

    Two processes that are both cut off from the store do not see each other: a thread may be resumed twice then.
    """

    def __init__(self, shared: Guard, alone: Guard) -> None:
        self._shared, self._alone = shared, alone
        self.ledger: Ledger = FallbackLedger(shared.ledger, alone.ledger)

    def arrive(self, ticket: Ticket) -> Arrival:
        """Arrive at both."""
        return _FallbackArrival(self._shared.arrive(ticket), self._alone.arrive(ticket))

    async def aclose(self) -> None:
        """Close both."""
        await self._shared.aclose()
        await self._alone.aclose()


class _FallbackArrival:
    def __init__(self, shared: Arrival, alone: Arrival) -> None:
        self._now, self._shared, self._alone = shared, shared, alone

    async def recall(self) -> Kept | None:
        return await self._try(lambda arrival: arrival.recall())

    async def repeated(self) -> bool:
        return await self._try(lambda arrival: arrival.repeated())

    async def overtaken(self) -> bool:
        return await self._try(lambda arrival: arrival.overtaken())

    async def unsettled(self) -> bool:
        return await self._try(lambda arrival: arrival.unsettled())

    async def claim(self) -> None:
        await self._alone.claim()  # also: the store may go away while the next one is on its way
        try:
            await self._try(lambda arrival: arrival.claim())
        except ResumeInProgress:
            await self._alone.untaken()
            raise

    async def forward(self) -> None:
        await self._alone.forward()
        await self._now.forward()

    def still_held(self) -> bool:
        return self._now.still_held()

    async def accepted(self, run_id: str | None = None) -> None:
        await self._alone.accepted(run_id)
        if self._now is not self._alone:
            await self._now.accepted(run_id)

    async def known(self, run_id: str) -> None:
        await self._alone.known(run_id)
        if self._now is not self._alone:
            await self._now.known(run_id)

    async def untaken(self) -> None:
        await self._alone.untaken()
        await self._now.untaken()

    async def keep(self, reply: Reply) -> None:
        await self._alone.keep(reply)
        await self._now.keep(reply)

    async def settled(self) -> None:
        await self._alone.settled()
        await self._now.settled()

    async def leave(self) -> None:
        await self._shared.leave()
        await self._alone.leave()

    async def _try(self, ask: Callable[[Arrival], Awaitable[T]]) -> T:
        try:
            return await ask(self._now)
        except GuardUnavailable:
            if self._now is self._alone:
                raise
            logger.warning("this resume is guarded by this process alone")
            self._now = self._alone
            return await ask(self._now)
