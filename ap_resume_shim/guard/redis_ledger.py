"""The ledger that processes share, on the connections of the guard in Redis."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import GuardUnavailable
from ap_resume_shim.guard.contents import sealed
from ap_resume_shim.guard.ledger import ENTRIES, ENTRY_BYTES, LIFETIME, read, write

logger = logging.getLogger("ap_resume_shim")

FORMAT = "ledger:2"
"""Part of each list's key: the version of the entries' format. It changes if a release reads entries differently. New
fields need no change, since readers ignore unknown fields."""


class RedisLedger:
    """The ledger of all processes that share a Redis or Valkey server: one list for each thread, newest first."""

    def __init__(
        self,
        run: Callable[..., Awaitable[Any]],
        *,
        entries: int = ENTRIES,
        lifetime: float = LIFETIME,
        entry_bytes: int = ENTRY_BYTES,
    ) -> None:
        """`run` is the guard's method that runs scripts; the limits are those of `MemoryLedger`."""
        self._run = run
        self._entries, self._lifetime, self._entry_bytes = entries, lifetime, entry_bytes
        self._unavailable = False

    async def note(self, thread: str, entry: Any) -> bool:
        """Put an entry at the head of the list. Returns False if it is too large or the store is unavailable."""
        if write(entry, self._entry_bytes) is None:  # before encryption: `MemoryLedger` stores the same entries
            return False
        encoded = strictjson.dumps(sealed(entry))
        try:
            await self._run_script("note", thread, encoded, self._entries, int(self._lifetime * 1000))
        except GuardUnavailable:
            return False
        return True

    async def recall(self, thread: str) -> list[Any]:
        """Return the whole list. Raises `GuardUnavailable`."""
        return read(await self._run_script("recall", thread))

    async def _run_script(self, script: str, thread: str, *arguments: Any) -> Any:
        """Run a script. An unavailable store is logged once, not for every request."""
        try:
            result = await self._run(script, [f"ap_resume_shim:{{{thread}}}:{FORMAT}"], *arguments)
        except GuardUnavailable as failure:
            if not self._unavailable:
                logger.warning("observed traffic is not recorded in the guard's store: %r", failure.__cause__)
            self._unavailable = True
            raise
        self._unavailable = False
        return result
