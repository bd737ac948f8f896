"""The ledger: facts about threads from observed traffic, for backends that cannot report them.

It is part of the guard, since several processes may see a thread. Entries are bounded and expire. A missing entry was
forgotten or never observed; the shim does not guess.
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
"""Maximum number of entries for a thread, by default."""
ENTRY_BYTES = 64 * 1024
"""Maximum size of an entry in bytes, before encryption, by default."""
LIFETIME = 7 * 24 * 3600.0
"""Seconds until a thread's entries expire after the last one, by default."""

logger = logging.getLogger("ap_resume_shim")


class Ledger(Protocol):
    """Entries about threads. `thread` is a digest, as in a `ResumeKey`."""

    async def note(self, thread: str, entry: Any) -> bool:
        """Store a JSON value; one that exists already becomes the newest.

        Returns True if it was stored. Never raises.
        """

    async def recall(self, thread: str) -> list[Any]:
        """Return all entries of a thread, the newest first. Raises `GuardUnavailable`."""


class MemoryLedger:
    """The ledger of one process."""

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
        """Limits of the ledger. The threads without a new entry for longest are removed first.

        - `threads`: maximum number of threads.
        - `entries`: maximum number of entries for each thread; the newest stay.
        - `lifetime`: seconds until a thread is removed after its last entry.
        - `entry_bytes`: maximum size of an entry.
        - `all_bytes`: maximum size of all entries together.
        """
        self._pages: dict[str, _Page] = {}
        self._bytes = 0
        self._threads, self._entries, self._lifetime = threads, entries, lifetime
        self._entry_bytes, self._all_bytes = entry_bytes, all_bytes
        self._clock = clock

    async def note(self, thread: str, entry: Any) -> bool:
        """Store an entry. Its thread becomes the last one to be removed."""
        encoded = write(entry, self._entry_bytes)
        if encoded is None:
            return False
        page = self._pages.pop(thread, None) or _Page()
        self._pages[thread] = page
        self._bytes += page.add(encoded, self._entries)
        page.expires = self._clock() + self._lifetime
        self._forget()
        return True

    async def recall(self, thread: str) -> list[Any]:
        """Return the thread's entries, the newest first."""
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

    def add(self, encoded: bytes, max_entries: int) -> int:
        """Append an entry. Returns the change of the page's size in bytes."""
        before = sum(map(len, self.entries))
        self.entries.pop(encoded, None)
        self.entries[encoded] = None
        if len(self.entries) > max_entries:
            del self.entries[next(iter(self.entries))]
        return sum(map(len, self.entries)) - before


class FallbackLedger:
    """Stores entries in both ledgers, and reads from `shared`; while that is unavailable, from `alone`.

    Entries that `shared` missed are copied to it, thread by thread, once it is available again.
    """

    def __init__(self, shared: Ledger, alone: Ledger, *, threads: int = 10_000) -> None:
        """`threads`: maximum number of threads whose missed entries are remembered."""
        self._shared, self._alone = shared, alone
        self._missed: dict[str, None] = {}
        self._threads = threads

    async def note(self, thread: str, entry: Any) -> bool:
        """Store an entry in at least one ledger. Returns True if it was stored."""
        stored = await self._alone.note(thread, entry)
        if stored and not (await self._catch_up(thread) and await self._shared.note(thread, entry)):
            self._missed[thread] = None
            if len(self._missed) > self._threads:
                del self._missed[next(iter(self._missed))]
        return stored

    async def recall(self, thread: str) -> list[Any]:
        """Return the entries in the shared ledger, or those of this process while it is unavailable."""
        try:
            await self._catch_up(thread)
            return await self._shared.recall(thread)
        except GuardUnavailable:
            return await self._alone.recall(thread)

    async def _catch_up(self, thread: str) -> bool:
        """Copy a thread's missed entries to `shared`.

        Returns False if it is unavailable. The copies are newer than its earlier entries, which were stored before.
        """
        if thread in self._missed:
            for entry in reversed(await self._alone.recall(thread)):
                if not await self._shared.note(thread, entry):
                    return False
            self._missed.pop(thread, None)
        return True


def write(entry: Any, max_bytes: int) -> bytes | None:
    """Return an entry as bytes; None, with a log message, for one that is too large."""
    encoded = strictjson.dumps(entry)
    if len(encoded) <= max_bytes:
        return encoded
    logger.warning("an entry of %d bytes is too large for the ledger, and was not stored", len(encoded))
    return None


def read(entries: list[bytes]) -> list[Any]:
    """Return the stored entries; those that cannot be read are skipped, with a log message."""
    return [value for encoded in entries if (value := _value(encoded)) is not _UNREADABLE]


_UNREADABLE = object()


def _value(encoded: bytes) -> Any:
    try:
        return json.loads(encoded)
    except ValueError:
        logger.warning("an entry of the ledger cannot be read, and is skipped")
        return _UNREADABLE
