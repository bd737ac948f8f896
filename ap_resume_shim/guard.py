"""The guard: one resume of a thread at a time, and none that arrived before another was accepted.

A resume belongs to the moment it arrived. If it had to wait, and another was accepted meanwhile, it is refused even
though the next question may be pending by then: else a double click would answer the next question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ap_resume_shim.core.errors import ResumeInProgress


class Arrival(Protocol):
    """One resume, from its arrival to its end. Each method may raise `GuardUnavailable`."""

    async def overtaken(self) -> bool:
        """Whether another was accepted since this one arrived, or holds the thread now."""

    async def unsettled(self) -> bool:
        """Whether, when this one arrived, another had been accepted whose run had not been seen at rest since."""

    async def claim(self) -> None:
        """Hold the thread. Raises `ResumeInProgress`."""

    async def accepted(self) -> None:
        """The backend took the resume: let the thread go, and let all that arrived before be refused."""

    async def settled(self) -> None:
        """The thread was seen at rest."""

    async def leave(self) -> None:
        """The end, however it came about; lets the thread go if it is still held."""


class Guard(Protocol):
    """Who may resume which thread."""

    def arrive(self, key: str) -> Arrival:
        """Note a resume's arrival. Holds nothing yet: who may not read a thread can never hold it."""


class MemoryGuard:
    """The guard of one process.

    It remembers threads that a resume is under way for, and the last few thousand whose resume may still be running.
    """

    def __init__(self, *, remembered: int = 10_000) -> None:
        """`remembered`: how many threads are kept after their resumes were answered."""
        self._threads: dict[str, _Thread] = {}
        self._resting: dict[str, None] = {}
        self._remembered = remembered

    def arrive(self, key: str) -> Arrival:
        """Note the arrival, with the thread's version at this moment."""
        thread = self._threads.setdefault(key, _Thread())
        thread.arrivals += 1
        self._resting.pop(key, None)
        return _MemoryArrival(self, key, thread)

    def left(self, key: str) -> None:
        """The last arrival at a thread has left."""
        if self._threads[key].unsettled:
            self._resting[key] = None
            if len(self._resting) <= self._remembered:
                return
            key = next(iter(self._resting))
            del self._resting[key]
        del self._threads[key]


@dataclass(slots=True)
class _Thread:
    arrivals: int = 0
    version: int = 0
    holder: object | None = None
    unsettled: bool = False


class _MemoryArrival:
    def __init__(self, guard: MemoryGuard, key: str, thread: _Thread) -> None:
        self._guard, self._key, self._thread = guard, key, thread
        self._version, self._unsettled = thread.version, thread.unsettled
        self._here = True

    async def overtaken(self) -> bool:
        return self._thread.version != self._version or self._thread.holder not in (None, self)

    async def unsettled(self) -> bool:
        return self._unsettled

    async def claim(self) -> None:
        if await self.overtaken():
            raise ResumeInProgress("Another resume of this thread came first. Read the thread before you answer again.")
        self._thread.holder = self

    async def accepted(self) -> None:
        self._thread.version += 1
        self._version = self._thread.version
        self._thread.unsettled = True
        self._let_go()

    async def settled(self) -> None:
        if self._version == self._thread.version:
            self._thread.unsettled = False

    async def leave(self) -> None:
        self._let_go()
        if self._here:
            self._here = False
            self._thread.arrivals -= 1
            if not self._thread.arrivals:
                self._guard.left(self._key)

    def _let_go(self) -> None:
        if self._thread.holder is self:
            self._thread.holder = None
