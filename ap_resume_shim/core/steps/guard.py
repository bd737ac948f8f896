"""Steps at the guard, and what it answers.

A function here is a method of the resume's `GuardSession` by the same name; both have one signature, which a test
compares. Flows import this module as a whole: `kept = yield from guard.recall()`.
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
"""What another resume of the same thread does: it holds the thread now, or was accepted since this one arrived."""


@dataclass(frozen=True, slots=True)
class UncommittedResume:
    """The last accepted resume of a thread, while neither its commit nor the end of its run was seen."""

    names: frozenset[str] = frozenset()
    """`Interrupt.name` of each question that it answered; none where there is no such resume."""
    age: float = 0.0
    """Seconds since its acceptance."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept under an `Idempotency-Key`, from the moment its thread is held."""

    fingerprint: str
    """Of the body that came with the key."""
    live: bool
    """Whether the resume is still under way."""
    accepted: bool = False
    """Whether the backend took it, or may have; one that was certainly rejected is not kept."""
    run_id: str | None = None
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger keeps of a moment of a thread, as JSON values."""

    facts: dict[str, Any]
    """What is true of the thread, whoever asks: ids, what was answered, what goes on."""
    contents: Any = None
    """What was said in the traffic of one caller, for that caller's resumes alone; None for others, and where there is
    nothing."""


@dataclass(frozen=True, slots=True)
class CallGuard(Returns[T]):
    """Call a method of the resume's `GuardSession`. Result: what it returns."""

    method: str
    arguments: tuple[Any, ...] = ()

    def on(self, session: object) -> Coroutine[Any, Any, T]:
        """The call, made on a session."""
        call: Coroutine[Any, Any, T] = getattr(session, self.method)(*self.arguments)
        return call


def recall() -> CallGuard[Kept | None]:
    return CallGuard("recall")


def repeated() -> CallGuard[bool]:
    return CallGuard("repeated")


def known_ids() -> CallGuard[frozenset[str]]:
    return CallGuard("known_ids")


def remember(ids: Iterable[str]) -> CallGuard[None]:
    return CallGuard("remember", (ids,))


def rival() -> CallGuard[Contention | None]:
    return CallGuard("rival")


def had_run_in_flight() -> CallGuard[bool]:
    return CallGuard("had_run_in_flight")


def uncommitted() -> CallGuard[UncommittedResume]:
    return CallGuard("uncommitted")


def claim(answered: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> CallGuard[Contention | None]:
    return CallGuard("claim", (answered, seen))


def mark_run_id(run_id: str) -> CallGuard[None]:
    return CallGuard("mark_run_id", (run_id,))


def mark_rejected() -> CallGuard[None]:
    return CallGuard("mark_rejected")


@dataclass(frozen=True, slots=True)
class MarkAccepted(Returns[None]):
    """The backend took the resume, or may have: those that arrived before are refused.

    `run_id` is the run's, where it is known by now. `headers` are those of the client's answer, should its head have to
    be sent before the answer is there. The thread is released at once, unless there is a `commit`: lookups (`Ask`,
    `ReadUntilIdle`, `ReadLedger`, `Pause`) that end when the thread's state shows the resume. The driver runs them
    beside the flow, and releases the thread when they end, when the flow yields `MarkIdle`, or after `commit_timeout`.
    """

    run_id: str | None = None
    headers: Headers = ()
    commit: Flow | None = None


@dataclass(frozen=True, slots=True)
class AwaitCommit(Returns[None]):
    """Wait for the lookups of `MarkAccepted.commit`, if there are any, which end at `commit_timeout`."""


@dataclass(frozen=True, slots=True)
class MarkIdle(Returns[None]):
    """The thread was seen at rest, which ends the lookups of `MarkAccepted.commit`, too."""


@dataclass(frozen=True, slots=True)
class ReadLedger(Returns[list[Entry]]):
    """Result: what the ledger has of the thread, the newest first."""

    thread_id: str | None = None
    """None: the thread of the resume."""
