"""What a guard is: who may resume which thread, and what is kept for those who ask twice.

A resume belongs to the moment it arrived. If it had to wait, and another was accepted meanwhile, it is refused even
though the next question may be pending by then: else a double click would answer the next question.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import Contention, Kept, UncommittedResume
from ap_resume_shim.guard.ledger import Ledger

IDS = 64
"""How many interrupt ids are remembered for a thread, the newest."""
IDS_LIFETIME = 7 * 24 * 3600.0
"""Seconds for which they are remembered."""


@dataclass(frozen=True, slots=True)
class ResumeKey:
    """What a guard has to know of a resume. Names are digests: no guard ever sees a thread's id or a credential."""

    thread: str
    """The thread, with the upstream that it is on: what is held, whoever asks."""
    fingerprint: str = ""
    """Of the body."""
    key: str | None = None
    """Caller, route, thread and `Idempotency-Key`: what the answer is kept under."""
    repeat: str | None = None
    """Caller, thread and body, where the operator wants repeats to be refused."""
    secret: str = ""
    """Caller, thread and `Idempotency-Key`, in a digest that no store gets: answers in one are sealed under it."""


class GuardSession(Protocol):
    """One resume, from its arrival to its end. Each method up to `forward` may raise `GuardUnavailable`.

    After `forward`, nothing is lost because the guard's store is: later methods never raise, and what they could not
    store is stored as soon as the store is back. Flows call it through `core.steps.guard`.
    """

    @property
    def run_id(self) -> str | None:
        """The run's id, where `recall`, `mark_accepted` or `mark_run_id` made it known."""

    async def recall(self) -> Kept | None:
        """What was kept under the ticket's key at the arrival."""

    async def repeated(self) -> bool:
        """Whether the ticket's `repeat` had come shortly before the arrival."""

    async def known_ids(self) -> frozenset[str]:
        """The interrupt ids that were remembered for the thread at the arrival."""

    async def remember(self, ids: Iterable[str]) -> None:
        """Remember interrupt ids for the thread: the newest `IDS`, for `IDS_LIFETIME`. Best effort, never raises."""

    async def rival(self) -> Contention | None:
        """Whether another resume was accepted since this one arrived ("accepted"), or holds the thread ("holding")."""

    async def had_run_in_flight(self) -> bool:
        """Whether, when this one arrived, another had been accepted whose run had not been seen at rest since."""

    async def uncommitted(self) -> UncommittedResume:
        """The last accepted resume, as of the arrival, if neither `mark_idle` nor `mark_committed` followed it."""

    async def claim(self, answered: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> Contention | None:
        """Hold the thread, and keep the key from here on. Returns None, or what stands in the way, as `rival` does.

        `answered` are names of the questions that this resume answers; `seen` are interrupt ids to remember, in the
        same step. After "holding" it may be called again.
        """

    async def forward(self) -> None:
        """The last look before the first byte is sent. Raises `HoldLapsed`.

        From here on the resume counts as taken, until the contrary is known.
        """

    def still_held(self) -> bool:
        """Whether what was forwarded may go out at this very moment; without waiting."""

    async def mark_accepted(self, run_id: str | None = None, *, hold: bool = False) -> None:
        """The backend took the resume, or may have: from here on, all that arrived before are refused.

        The thread is released; with `hold` it stays held until `mark_committed` or `close`.
        """

    async def mark_committed(self) -> None:
        """The thread's state shows the accepted resume: release the thread, which is not `uncommitted` any longer."""

    async def mark_run_id(self, run_id: str) -> None:
        """The name of the run, where it was not known yet at the acceptance."""

    async def mark_rejected(self) -> None:
        """The backend has certainly not taken it: release the thread, and forget the key."""

    async def keep(self, reply: Reply) -> None:
        """Keep the answer under the ticket's key."""

    async def mark_idle(self) -> None:
        """The thread was seen at rest."""

    async def close(self) -> None:
        """The end, however it came about. What was forwarded and not said to be untaken counts as accepted."""


class Guard(Protocol):
    """Who may resume which thread."""

    @property
    def duplicate_window(self) -> float:
        """Seconds in which the same body from the same caller on the same thread is refused; 0: off."""

    @property
    def ledger(self) -> Ledger:
        """What was seen of the threads, kept where the guard keeps what it knows."""

    def begin(self, ticket: ResumeKey) -> GuardSession:
        """Note a resume's arrival. Holds nothing yet: who may not read a thread can never hold it."""

    async def check(self) -> tuple[str, ...]:
        """Warnings about the store. Raises `GuardUnavailable` where resumes would be refused."""

    async def aclose(self) -> None:
        """Give back what the guard holds open."""
