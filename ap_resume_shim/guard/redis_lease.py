"""The lease of a hold in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.errors import GuardUnavailable

if TYPE_CHECKING:
    from ap_resume_shim.guard.redis import RedisGuard


class Lease:
    """Renews a hold in the background, three times per lease, and tracks until when it is certain."""

    def __init__(self, guard: RedisGuard, renew: Callable[[], Awaitable[bool]]) -> None:
        """`renew` extends the hold in the store by a lease; it returns False if the hold has lapsed."""
        self._guard, self._renew = guard, renew
        self._until = 0.0
        self._renewing: asyncio.Task[Any] | None = None

    @property
    def remaining(self) -> float:
        """Seconds for which the hold is certain; 0 or less if it is not."""
        return self._until - self._guard.clock()

    def start(self, since: float) -> None:
        """Start to renew a hold that was requested at `since`."""
        self._until = since + self._guard.lease
        self._renewing = self._guard.in_background(self._keep_renewing())
        self._guard.renewing.add(self._renewing)

    async def renew(self) -> None:
        """Renew the hold once. Raises `GuardUnavailable`."""
        before = self._guard.clock()
        self._until = before + self._guard.lease if await self._renew() else 0.0

    def stop(self) -> None:
        """Stop renewing."""
        if self._renewing is not None:
            self._renewing.cancel()
            self._guard.renewing.discard(self._renewing)

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._guard.lease / 3)
            try:
                await self.renew()
            except GuardUnavailable:
                pass  # logged by the guard; retried until the lease is over
