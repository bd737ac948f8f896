"""A dialect: how one kind of backend is asked about a thread and given an answer.

The flow (`ap_resume_shim.core.flow`) is the same for every backend; a dialect supplies its requests and reads its
responses. Pure: no await, clock, random number or environment.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.exchange import Reframer, Request, Response, Step
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Resume, RunStatus

ThreadStatus = Literal["idle", "busy", "interrupted", "error"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a lookup learned about a thread."""

    status: ThreadStatus
    interrupts: tuple[Interrupt, ...] = ()
    """Questions that are pending: asked, and not answered yet. On a busy thread: those that show, stale ones too."""
    answered: tuple[Interrupt, ...] = ()
    """Questions whose answer was taken by a step that failed afterwards."""
    breakpoint: bool = False
    """Stopped between two steps without a question."""
    agent_id: str | None = None
    values: Any = None
    error: Any = None
    updated_at: str | None = None
    run_id: str | None = None
    """The thread's newest run, where the lookup tells."""
    memory: Any = None
    """What the dialect itself wants to remember until it builds its request."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """No answer: continue a breakpoint, or retry a failed step with the answer it already has."""


@dataclass(frozen=True, slots=True)
class Input:
    """Answers, by interrupt: `by_id` for backends that have ids, else the one answer stands under None."""

    by_id: dict[str | None, Any]

    @property
    def values(self) -> tuple[Any, ...]:
        """The answers alone."""
        return tuple(self.by_id.values())


Verdict = GoOn | Input


@dataclass(frozen=True, slots=True)
class Started:
    """The run that a resume started, as far as the acceptance tells."""

    run_id: str
    agent_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    status: RunStatus = "pending"
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, as far as the backend's own answer tells."""

    values: Any = None
    error: Any = None


Lookup = Generator[Step, Any, Found]


class Dialect(Protocol):
    """A backend, as pure functions. Every method may raise a `ResumeError`."""

    name: str
    thread_is: str
    """In one sentence: what the draft's `thread_id` is on this backend."""
    unsupported: frozenset[str]
    """Optional fields of the draft that this backend cannot honour."""
    reserved: frozenset[str]
    """Names in the backend's create-run body that the dialect sets itself."""
    carries_both: bool
    """Whether `input` and `messages` may come together."""
    partial: bool
    """Whether some of several pending interrupts may be answered."""
    forwards_extra: bool
    """Whether the backend's create-run body has the draft's vocabulary, so that unknown fields go on to it."""

    def thread_key(self, thread_id: str) -> str:
        """One spelling for a thread: what holds it. Raises `InvalidRequest` for an id that cannot be one."""

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup:
        """Read the thread's state; with `agent=False`, after a run, no matter who ran and which run it was."""

    def check(self, resume: Resume, found: Found, verdict: Verdict) -> None:
        """Refuse, before anything is sent, what the backend cannot carry."""

    def prepare(self, resume: Resume, found: Found, verdict: Verdict) -> Generator[Step, Any, tuple[Found, Verdict]]:
        """Bring the thread into a state in which the backend takes a resume, where that is needed."""

    def resume(self, resume: Resume, found: Found, verdict: Verdict) -> Request:
        """The request that resumes, in the client's mode."""

    def refusal(self, response: Response) -> ResumeError:
        """What a status of 400 or more, in answer to that request, means."""

    def started(self, response: Response, body: bytes, resume: Resume, found: Found) -> Started | None:
        """The run, from head and (in background mode) body of the answer; None when they do not tell."""

    def cancel(self, resume: Resume, started: Started) -> Request | None:
        """The request that stops the run; None where there is none."""

    def join(self, resume: Resume, started: Started) -> Request | None:
        """The request that opens the stream of a run that goes on already; None where there is none."""

    def location(self, resume: Resume, started: Started) -> str:
        """The run's own address on the backend, for `Content-Location`."""

    def run(self, resume: Resume, started: Started) -> Request:
        """The request that reads the run."""

    def has_ended(self, response: Response) -> bool:
        """Whether that run is over, from the answer to `run`."""

    def ended(self, body: bytes) -> Ended:
        """The result, from the body of the backend's wait."""

    def delete(self, resume: Resume) -> Request | None:
        """The request that deletes the thread; None where the backend has none."""

    def reframer(self) -> Reframer:
        """How the backend's stream becomes the client's."""
