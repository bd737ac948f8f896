"""What a guard is: who may resume which thread, and what is kept for those who ask twice.

A resume belongs to the moment it arrived. If it had to wait, and another was accepted meanwhile, it is refused even
though the next question may be pending by then: else a double click would answer the next question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ap_resume_shim.core.exchange import Kept, Reply
from ap_resume_shim.guard.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a guard has to know of a resume. Names are digests: no guard ever sees an id or a credential."""

    thread: str
    """The thread, with the upstream that it is on: what is held, whoever asks."""
    fingerprint: str = ""
    """Of the body."""
    key: str | None = None
    """Caller, route, thread and `Idempotency-Key`: what the answer is kept under."""
    repeat: str | None = None
    """Caller, thread and body, where the operator wants repeats to be refused."""


class Arrival(Protocol):
    """One resume, from its arrival to its end. Each method up to `forward` may raise `GuardUnavailable`.

    After `forward`, nothing is lost because the guard's store is: later methods never raise.
    """

    async def recall(self) -> Kept | None:
        """What was kept under the ticket's key at the arrival."""

    async def repeated(self) -> bool:
        """Whether the ticket's `repeat` had come shortly before the arrival."""

    async def overtaken(self) -> bool:
        """Whether another was accepted since this one arrived, or holds the thread now."""

    async def unsettled(self) -> bool:
        """Whether, when this one arrived, another had been accepted whose run had not been seen at rest since."""

    async def claim(self) -> None:
        """Hold the thread, and keep the key from here on. Raises `ResumeInProgress`."""

    async def forward(self) -> None:
        """The last look before the first byte is sent. Raises `HoldLapsed`.

        From here on the resume counts as taken, until the contrary is known.
        """

    def still_held(self) -> bool:
        """Whether what was forwarded may go out at this very moment; without waiting."""

    async def accepted(self, run_id: str | None = None) -> None:
        """The backend took the resume, or may have: let the thread go, and all that arrived before be refused."""

    async def known(self, run_id: str) -> None:
        """The name of the run, where it was not known yet at the acceptance."""

    async def untaken(self) -> None:
        """The backend has certainly not taken it: let the thread go, and forget the key."""

    async def keep(self, reply: Reply) -> None:
        """Keep the answer under the ticket's key."""

    async def settled(self) -> None:
        """The thread was seen at rest."""

    async def leave(self) -> None:
        """The end, however it came about. What was forwarded and not said to be untaken counts as accepted."""


class Guard(Protocol):
    """Who may resume which thread."""

    @property
    def ledger(self) -> Ledger:
        """What was seen of the threads, kept where the guard keeps what it knows."""

    def arrive(self, ticket: Ticket) -> Arrival:
        """Note a resume's arrival. Holds nothing yet: who may not read a thread can never hold it."""

    async def aclose(self) -> None:
        """Give back what the guard holds open."""
