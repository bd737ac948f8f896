"""Steps that call the guard, and their results.

Each function here corresponds to a method of `GuardSession` with the same name and signature; a test compares them.
Flows import this module as a whole: `stored = yield from guard.recall()`.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ap_resume_shim.core.http import Headers
from ap_resume_shim.core.steps.client import Reply
from ap_resume_shim.core.steps.step import Returns

if TYPE_CHECKING:
    from ap_resume_shim.core.steps import Flow

T = TypeVar("T")

Contention = Literal["holding", "accepted"]
"""The state of another resume of the same thread: it holds the thread now, or was accepted since this one arrived."""


@dataclass(frozen=True, slots=True)
class UncommittedResume:
    """The last accepted resume of a thread, until its commit or the end of its run is seen."""

    names: frozenset[str] = frozenset()
    """`Interrupt.name` of each question that it answered; empty if there is no such resume."""
    age: float = 0.0
    """Seconds since its acceptance."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """The record stored under an `Idempotency-Key`, from the moment its thread is held."""

    fingerprint: str
    """The digest of the body that was sent with the key."""
    live: bool
    """True if the resume is still in progress."""
    accepted: bool = False
    """True if the backend took it, or may have. A resume that was certainly rejected has no record."""
    run_id: str | None = None
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the ledger: facts about a thread at one moment, as JSON values."""

    facts: dict[str, Any]
    """Facts for every caller: ids, which questions were answered, whether a run is in progress."""
    contents: Any = None
    """Contents from the traffic of one caller, for that caller's resumes only; None for other callers, and if there are
    none."""


@dataclass(frozen=True, slots=True)
class CallGuard(Returns[T]):
    """Call a method of the resume's `GuardSession`. Result: its return value."""

    method: str
    arguments: tuple[Any, ...] = ()

    def on(self, session: object) -> Coroutine[Any, Any, T]:
        """Return the coroutine of the call on a session."""
        call: Coroutine[Any, Any, T] = getattr(session, self.method)(*self.arguments)
        return call


def recall() -> CallGuard[KeyRecord | None]:
    """Result: the record under the resume's `Idempotency-Key`; None if there is none."""
    return CallGuard("recall")


def repeated() -> CallGuard[bool]:
    """Result: True if the same caller sent the same body shortly before."""
    return CallGuard("repeated")


def known_ids() -> CallGuard[frozenset[str]]:
    """Result: the interrupt ids that are remembered for the thread."""
    return CallGuard("known_ids")


def remember(ids: Iterable[str]) -> CallGuard[None]:
    """Remember interrupt ids for the thread."""
    return CallGuard("remember", (ids,))


def rival() -> CallGuard[Contention | None]:
    """Result: the state of another resume of the thread; None if there is none."""
    return CallGuard("rival")


def had_run_in_flight() -> CallGuard[bool]:
    """Result: True if, at the arrival, the run of an earlier resume was not known to have ended."""
    return CallGuard("had_run_in_flight")


def uncommitted() -> CallGuard[UncommittedResume]:
    """Result: the last accepted resume that is not committed."""
    return CallGuard("uncommitted")


def claim(answered: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> CallGuard[Contention | None]:
    """Hold the thread. Result: None, or the state of the resume that prevents it."""
    return CallGuard("claim", (answered, seen))


def mark_run_id(run_id: str) -> CallGuard[None]:
    """Store the id of the run, if it was unknown at the acceptance."""
    return CallGuard("mark_run_id", (run_id,))


def mark_rejected() -> CallGuard[None]:
    """Release the thread: the backend certainly did not take the resume."""
    return CallGuard("mark_rejected")


@dataclass(frozen=True, slots=True)
class RepeatClaim(Returns[tuple[Contention | None, float]]):
    """Repeat a claim while another resume holds the thread, for at most `seconds`.

    The resumes that wait for a thread take turns: only the one that has waited longest repeats its claim. Result: that
    of the last attempt, and the seconds that have passed. Raises what the claim raises, and `ClientGone`.
    """

    claim: CallGuard[Contention | None]
    seconds: float


@dataclass(frozen=True, slots=True)
class MarkAccepted(Returns[None]):
    """The backend took the resume, or may have: resumes that arrived before are refused.

    `run_id` is the run's id, if it is already known. `headers` are those of the client's response, in case its head
    must be sent before the response is ready. The thread is released at once, unless there is a `commit`: lookups
    (`Ask`, `ReadUntilIdle`, `ReadLedger`, `Pause`) that end when the thread's state shows the resume. The driver runs
    them concurrently with the flow, and releases the thread when they end, when the flow yields `MarkIdle`, or after
    `commit_timeout`.
    """

    run_id: str | None = None
    headers: Headers = ()
    commit: Flow | None = None


@dataclass(frozen=True, slots=True)
class AwaitCommit(Returns[None]):
    """Wait for the lookups of `MarkAccepted.commit`, if there are any; they end at `commit_timeout`."""


@dataclass(frozen=True, slots=True)
class MarkIdle(Returns[None]):
    """The thread was seen idle, which also ends the lookups of `MarkAccepted.commit`."""


@dataclass(frozen=True, slots=True)
class ReadLedger(Returns[list[Entry]]):
    """Result: the ledger's entries for the thread, the newest first."""

    thread_id: str | None = None
    """None: the resume's own thread."""
