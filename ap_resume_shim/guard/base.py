"""The interfaces of guards: which resume may proceed on a thread, and which response a retry receives.

A resume belongs to the moment it arrived. If another one was accepted while it waited, it is refused, even if the next
question is already pending: otherwise a double click would answer the next question.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.steps.guard import Contention, KeyRecord, UncommittedResume
from ap_resume_shim.guard.ledger import Ledger

IDS = 64
"""Maximum number of interrupt ids that are remembered for a thread; the newest stay."""
IDS_LIFETIME = 7 * 24 * 3600.0
"""Seconds for which they are remembered."""

Moment = Any
"""A moment, in a form that only the guard it comes from understands."""


@dataclass(frozen=True, slots=True)
class ResumeKey:
    """The keys of one resume. All are digests: a guard never receives a thread's id or a credential."""

    thread: str
    """The thread and its upstream: the key of the hold, the same for all callers."""
    fingerprint: str = ""
    """The digest of the body."""
    key: str | None = None
    """Caller, route, thread and `Idempotency-Key`: the key under which the response is stored; None without the
    header."""
    repeat: str | None = None
    """Caller, thread and answer; None unless repeated answers are refused."""
    unnamed: str | None = None
    """The `repeat` of the same answer without the name of its question; equal for an answer that names none."""
    window: float = 0.0
    """Seconds for which a resume is refused whose `repeat` is this `repeat` or this `unnamed`."""
    resent: bool = False
    """True if clients may send the resume again when its response is lost or has ended: the `window` of an accepted
    resume then begins anew."""
    secret: str = ""
    """Caller, thread and `Idempotency-Key`, in a digest that no store receives: stored responses are encrypted with
    it."""


class GuardSession(Protocol):
    """One resume at the guard, from its arrival to its end. Flows call it through `core.steps.guard`.

    Each method up to `forward` may raise `GuardUnavailable`. Later methods never raise: if the store is unavailable,
    their changes are stored as soon as it is available again.
    """

    @property
    def run_id(self) -> str | None:
        """The run's id, if `recall`, `mark_accepted` or `mark_run_id` has set it."""

    async def recall(self) -> KeyRecord | None:
        """Return the record under the resume's `Idempotency-Key`, as of the arrival; None if there is none."""

    async def repeated(self) -> bool:
        """Return True if the same body came from the same caller shortly before the arrival."""

    async def known_ids(self) -> frozenset[str]:
        """Return the interrupt ids that were remembered for the thread, as of the arrival."""

    async def remember(self, ids: Iterable[str]) -> None:
        """Remember interrupt ids for the thread: the newest `IDS`, for `IDS_LIFETIME`. Best effort, never raises."""

    async def rival(self) -> Contention | None:
        """Return the state of another resume of the thread; None if there is none.

        "accepted": one was accepted since this one arrived. "holding": one holds the thread.
        """

    async def had_run_in_flight(self) -> bool:
        """Return True if, as of the arrival, an accepted resume's run had not been seen idle since."""

    async def uncommitted(self) -> UncommittedResume:
        """Return the last accepted resume, as of the arrival, if no `mark_idle` or `mark_committed` followed it."""

    async def claim(self, answered: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> Contention | None:
        """Hold the thread, and store a record under the key. Returns None, or the obstacle, as `rival` does.

        `answered` are names of the questions that this resume answers; `seen` are interrupt ids to remember, in the
        same step. After "holding", it may be called again.
        """

    async def forward(self) -> None:
        """The last check before the first byte is sent. Raises `HoldLapsed`.

        From here on the resume counts as accepted, unless it is marked as rejected.
        """

    def still_held(self) -> bool:
        """Return True if the resume may be sent at this moment. Does not wait."""

    async def mark_accepted(self, run_id: str | None = None, *, hold: bool = False) -> None:
        """The backend took the resume, or may have: from now on, all resumes that arrived before are refused.

        The thread is released; with `hold` it stays held until `mark_committed` or `close`.
        """

    async def mark_committed(self) -> None:
        """The thread's state shows the accepted resume: release the thread, which is no longer `uncommitted`."""

    async def mark_run_id(self, run_id: str) -> None:
        """Store the run's id, if it was unknown at the acceptance."""

    async def mark_rejected(self) -> None:
        """The backend certainly did not take the resume: release the thread, and delete the record under the key."""

    async def keep(self, reply: Reply) -> None:
        """Store the response under the resume's `Idempotency-Key`."""

    async def mark_idle(self) -> None:
        """The thread was seen idle."""

    async def mark_response_ended(self) -> None:
        """The client is about to receive the end of the response. If `resent`, the resume's `window` begins anew."""

    async def close(self) -> None:
        """End the session. A resume that was forwarded and not marked as rejected counts as accepted."""


class Guard(Protocol):
    """Decides which resume may proceed on a thread."""

    @property
    def duplicate_window(self) -> float:
        """Seconds in which the same body from the same caller on the same thread is refused; 0 turns this off."""

    @property
    def ledger(self) -> Ledger:
        """The ledger, in the same store as the guard."""

    def now(self) -> Moment:
        """Return this moment: the arrival of a resume whose session begins later."""

    def begin(self, resume_key: ResumeKey, arrived: Moment = None) -> GuardSession:
        """Begin the session of a resume that arrived at a moment of `now`; default: at this moment.

        Holds nothing yet, so a caller who cannot read a thread can never hold it.
        """

    async def check(self) -> tuple[str, ...]:
        """Check the store. Returns warnings. Raises `GuardUnavailable` if resumes would be refused."""

    async def aclose(self) -> None:
        """Release all resources."""
