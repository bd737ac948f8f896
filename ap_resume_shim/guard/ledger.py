"""The ledger: what was seen of threads in the traffic that passes, for backends that cannot be asked.

Beside the guard, since both are about threads that several processes may see. Bounded, and with a lifetime: what is
not in it was forgotten or never passed here, and nobody may guess.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import GuardUnavailable

ENTRIES = 32
ENTRY_BYTES = 64 * 1024
LIFETIME = 7 * 24 * 3600.0

logger = logging.getLogger("ap_resume_shim")


class Ledger(Protocol):
    """What was seen of threads. `thread` is a digest, as in a ticket."""

    async def note(self, thread: str, entry: Any) -> bool:
        """Keep a JSON value; one that is there already becomes the newest. Whether it is kept: this never raises."""

    async def recall(self, thread: str) -> list[Any]:
        """All that is kept of a thread, the newest first. Raises `GuardUnavailable`."""


class MemoryLedger:
    """What one process has seen."""

    def __init__(
        self,
        *,
        threads: int = 10_000,
        entries: int = ENTRIES,
        lifetime: float = LIFETIME,
        entry_bytes: int = ENTRY_BYTES,
        all_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bounds of what is kept; the threads of which nothing new was noted for longest go first.

        - `threads`: how many.
        - `entries`: how many of each, the newest.
        - `lifetime`: seconds from a thread's last entry to its end.
        - `entry_bytes`: the largest entry that is kept.
        - `all_bytes`: of all entries together.
        """
        self._pages: dict[str, _Page] = {}
        self._bytes = 0
        self._threads, self._entries, self._lifetime = threads, entries, lifetime
        self._entry_bytes, self._all_bytes = entry_bytes, all_bytes
        self._clock = clock

    async def note(self, thread: str, entry: Any) -> bool:
        """Keep it on the thread's page, which becomes the last one to go."""
        written = write(entry, self._entry_bytes)
        if written is None:
            return False
        page = self._pages.pop(thread, None) or _Page()
        self._pages[thread] = page
        self._bytes += page.add(written, self._entries)
        page.expires = self._clock() + self._lifetime
        self._forget()
        return True

    async def recall(self, thread: str) -> list[Any]:
        """What is on the thread's page."""
        self._forget()
        page = self._pages.get(thread)
        return [] if page is None else read(list(reversed(page.entries)))

    def _forget(self) -> None:
        while self._pages and self._is_too_much(oldest := next(iter(self._pages))):
            self._bytes -= sum(map(len, self._pages.pop(oldest).entries))

    def _is_too_much(self, oldest: str) -> bool:
        over = len(self._pages) > self._threads or self._bytes > self._all_bytes
        return over or self._pages[oldest].expires <= self._clock()


@dataclass(slots=True)
class _Page:
    entries: dict[bytes, None] = field(default_factory=dict)
    expires: float = 0.0

    def add(self, written: bytes, most: int) -> int:
        """Put an entry last; by how many bytes the page has grown."""
        before = sum(map(len, self.entries))
        self.entries.pop(written, None)
        self.entries[written] = None
        if len(self.entries) > most:
            del self.entries[next(iter(self.entries))]
        return sum(map(len, self.entries)) - before


class FallbackLedger:
    """Notes in both, and recalls from `shared`; while that is unavailable, from `alone`.

    What `shared` has missed meanwhile is told to it, thread by thread, when it is there again.
    """

    def __init__(self, shared: Ledger, alone: Ledger, *, threads: int = 10_000) -> None:
        """`threads`: of how many it is remembered that `shared` has missed something."""
        self._shared, self._alone = shared, alone
        self._missed: dict[str, None] = {}
        self._threads = threads

    async def note(self, thread: str, entry: Any) -> bool:
        """Keep it in one of them at least."""
        kept = await self._alone.note(thread, entry)
        if kept and not (await self._catch_up(thread) and await self._shared.note(thread, entry)):
            self._missed[thread] = None
            if len(self._missed) > self._threads:
                del self._missed[next(iter(self._missed))]
        return kept

    async def recall(self, thread: str) -> list[Any]:
        """What is known to all, else what is known here."""
        try:
            await self._catch_up(thread)
            return await self._shared.recall(thread)
        except GuardUnavailable:
            return await self._alone.recall(thread)

    async def _catch_up(self, thread: str) -> bool:
        """Tell `shared` what it missed of a thread. What it knew before becomes older than that: so it was noted."""
        if thread in self._missed:
            for entry in reversed(await self._alone.recall(thread)):
                if not await self._shared.note(thread, entry):
                    return False
            self._missed.pop(thread, None)
        return True


def write(entry: Any, most: int) -> bytes | None:
    """An entry as it is kept; None, with a line in the log, for one that is too large."""
    written = strictjson.dumps(entry)
    if len(written) <= most:
        return written
    logger.warning("an entry of %d bytes is too large for the ledger, and was not noted", len(written))
    return None


def read(entries: list[bytes]) -> list[Any]:
    """Entries that were kept; those that cannot be read are skipped."""
    return [value for written in entries if (value := _value(written)) is not _UNREADABLE]


_UNREADABLE = object()


def _value(written: bytes) -> Any:
    try:
        return json.loads(written)
    except ValueError:
        logger.warning("an entry of the ledger cannot be read, and is skipped")
        return _UNREADABLE
