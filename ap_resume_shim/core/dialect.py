"""A dialect: how one kind of backend is asked about a thread and given an answer.

The flow (`ap_resume_shim.core.flow`) is the same for every backend; a dialect supplies its requests and reads its
responses. Pure: no await, clock, random number or environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from ap_resume_shim.core import sse
from ap_resume_shim.core.errors import ResumeError, UpstreamError
from ap_resume_shim.core.http import Headers, Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, Resume, RunStatus
from ap_resume_shim.core.reframer import Ended, Reframer, Relay
from ap_resume_shim.core.steps import Entry, Steps

ThreadStatus = Literal["idle", "busy", "interrupted", "error"]

AT_BREAKPOINT = "stopped at a breakpoint, which asks nothing"


C = TypeVar("C")
"""The class of a dialect's context; None for a dialect without one."""


@dataclass(frozen=True, slots=True)
class Found(Generic[C]):
    """What a lookup learned about a thread."""

    status: ThreadStatus
    interrupts: tuple[Interrupt, ...] = ()
    """Questions that are pending: asked, and not answered yet. On a busy thread: those that show, stale ones too."""
    answered: tuple[Interrupt, ...] = ()
    """Questions whose answer was taken by a step that failed afterwards."""
    breakpoint: bool = False
    """Stopped without a question that an answer can reach; `stopped` says why."""
    stopped: str = AT_BREAKPOINT
    """With `breakpoint`: what happened, as the predicate of a sentence about the thread."""
    moving: bool = False
    """The lookup's answers disagree whether the thread is busy: it was at some moment of the lookup."""
    past_ids: frozenset[str] = frozenset()
    """Ids of interrupts in the thread's history, where the lookup has it."""
    place: Mapping[str, Any] = field(default_factory=dict)
    """What names of `Dialect.redirecting` may say, beside the thread's own id: where the thread is anyway."""
    agent_id: str | None = None
    values: Any = None
    error: Any = None
    updated_at: str | None = None
    run_id: str | None = None
    """The thread's newest run, where the lookup tells."""
    response_kinds: Mapping[Mode, ResponseKind] | None = None
    """In place of `Dialect.response_kinds`, where the thread's agent decides what it answers."""
    context: C = None  # type: ignore[assignment]  # a dialect whose context is not None always gives one
    """What the dialect itself needs of this resume in its other methods and later lookups."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all questions, pending or answered, that have one."""
        return tuple(interrupt.id for interrupt in (*self.interrupts, *self.answered) if interrupt.id is not None)

    def names(self, verdict: Decision) -> tuple[str, ...]:
        """`Interrupt.name` of each question that the verdict answers, or retries with its first answer."""
        if isinstance(verdict, Continue):
            return tuple(interrupt.name for interrupt in self.answered)
        return tuple(interrupt.name for interrupt in self.interrupts if interrupt.id in verdict.by_id)


@dataclass(frozen=True, slots=True)
class Continue:
    """No answer: continue a breakpoint, or retry a failed step with the answer it already has."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers, by interrupt: `by_id` for backends that have ids, else the one answer stands under None."""

    by_id: dict[str | None, Any]

    @property
    def values(self) -> tuple[Any, ...]:
        """The answers alone."""
        return tuple(self.by_id.values())


Decision = Continue | Answers


@dataclass(frozen=True, slots=True)
class Started(Generic[C]):
    """The run that a resume started, as far as the acceptance tells."""

    run_id: str
    agent_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    status: RunStatus = "pending"
    error: Any = None
    """Why the run failed, where the acceptance tells that already."""
    context: C = None  # type: ignore[assignment]  # as in `Found`
    """What the dialect itself needs of the lookup that came before."""


ResponseKind = Literal["run", "result", "events"]
"""What the answer to the request that resumes is: the run, which goes on; its result, when it has ended; its events."""

DEFAULT_KINDS: Mapping[Mode, ResponseKind] = {Mode.BACKGROUND: "run", Mode.WAIT: "result", Mode.STREAM: "events"}
"""A backend that has all three modes. What differs is derived by the flow."""

Note = tuple[str, Entry]
"""A thread's id, and what the ledger shall keep of it."""


class Observer(Protocol):
    """One exchange of a client with the backend, looked on at. Pure; what it returns goes into the ledger.

    What is noted of a part of the answer is kept before the client gets that part.
    """

    def request(self, body: bytes) -> None:
        """The whole body of the request."""

    def head(self, status: int, headers: Headers) -> Iterable[Note]:
        """The answer's head."""

    def feed(self, chunk: bytes) -> Iterable[Note]:
        """The next bytes of the answer."""

    def end(self, *, complete: bool) -> Iterable[Note]:
        """The answer's end; not `complete` when it broke off, or the client left."""


def plain_path(path: str) -> str:
    """A path of an OpenAPI document without the names of its parameters: `/runs/{}`."""
    return re.sub(r"\{[^}]*\}", "{}", path)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a server says of itself that others do not: all that is given has to be there."""

    openapi: frozenset[str] = frozenset()
    """Paths of its `/openapi.json`, whatever their parameters are called: `/runs/{}`; or what a route takes, wherever
    it is: `POST <RunAgentInput>`."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """Pointers into its `/info`, and the values there; None is any value."""
    takes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Fields that the body of a route has to know, such as `thread_id` of `POST /runs`; a route whose body is not
    described in `/openapi.json` is given the benefit of the doubt."""
    card: bool = False
    """It has an agent card of A2A."""


Lookup = Steps[Found[C]]
"""A lookup yields the requests that it needs, and returns what they show."""


class Dialect(Generic[C]):
    """Base class of dialects. Methods are pure; the defaults describe a server that has all three modes.

    One instance serves all resumes at once: it does not change after construction. What belongs to one resume travels
    in `Found.context` and `Started.context`, which are a `C`; a dialect without a context is a `Dialect[None]`. Every
    method may raise a `ResumeError`.
    """

    name: str
    family: str = ""
    """In a few words: how the backends of this kind are resumed."""
    thread_is: str
    """In one sentence: what the draft's `thread_id` is on this backend."""
    fingerprints: tuple[Fingerprint, ...] = ()
    """How `auto` tells such a server from others: by any of these."""
    specificity: int = 0
    """Which backend `auto` takes where a server matches several: the one with the highest."""
    response_kinds: Mapping[Mode, ResponseKind] = DEFAULT_KINDS
    """What the answer to the request that resumes is, in each mode of the client, unless `Found` says otherwise."""
    options: Mapping[str, str] = {}
    """What `__init__` takes, all of it text with a default: name, and what it is, for a person."""
    limits: tuple[str, ...] = ()
    """What this backend cannot do, each in a sentence."""
    unsupported: frozenset[str] = frozenset()
    """Optional fields of the draft that this backend cannot honour."""
    reserved: frozenset[str] = frozenset()
    """Names in the backend's create-run body that the dialect sets itself."""
    carries_both: bool = False
    """Whether `input` and `messages` may come together."""
    partial: bool = True
    """Whether some of several pending interrupts may be answered."""
    forwards_extra: bool = False
    """Whether the backend's create-run body has the draft's vocabulary, so that unknown fields go on to it."""
    vocabulary: frozenset[str] = frozenset()
    """Fields of the backend's own create-run body: they are forwarded, and never taken for a misspelt field."""
    accepts_at_head: bool = False
    """Whether the head of a result comes when the run begins, and says that the resume was taken."""
    accept_after_silent_grace: bool = True
    """Whether a stream that begins with silence has taken the resume; else nothing but its first event tells."""
    event_types: frozenset[str] = frozenset({"text/event-stream"})
    """Media types in which the backend's events, or a refusal in their place, may come."""
    commit: Literal["late", "with_answer"] = "late"
    """`late`: after an accepted resume, a lookup may still show the old interrupt, and the server would accept a second
    answer; the thread stays held until the state shows the resume. `with_answer`: a real server proved that its 2xx
    comes after the commit."""
    acceptance_unproven: bool = False
    """A 2xx does not prove that the agent receives the answer: the client's answer waits until the state proves it."""
    makes_run_ids: bool = False
    """Where neither the answer nor the thread tells the run's id, the run is named by `Resume.nonce`: the backend knows
    no such id, and no request may contain it."""
    starts_runs: bool = False
    """Each resume is a run of its own: an answer that does not name it is never taken for one of the run before."""
    interrupt_id_form: re.Pattern[str] | None = None
    """The form of the backend's interrupt ids, where no key of an ordinary answer has it."""
    redirecting: frozenset[str] = frozenset()
    """Names in `config` and in forwarded fields that could move the resume elsewhere (`core.redirection`); a trailing
    `*` stands for any ending."""
    way_out: str = ""
    """In a sentence: how a client gets out of a step that fails because of the answer that was committed."""

    def thread_key(self, thread_id: str) -> str:
        """One spelling for a thread: what holds it. Raises `InvalidRequest` for an id that cannot be one."""
        return thread_id

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[C]:
        """Read the thread's state; with `agent=False`, after a run, no matter who ran and which run it was."""
        raise NotImplementedError

    def look_again(self, resume: Resume, before: Found[C], *, agent: bool = False) -> Lookup[C]:
        """Read the thread's state once more; what cannot have changed since `before` need not be requested again."""
        return self.lookup(resume, agent=agent)

    def check(self, resume: Resume, found: Found[C], verdict: Decision) -> None:
        """Refuse, before anything is sent, what the backend cannot carry."""

    def prepare(self, resume: Resume, found: Found[C], verdict: Decision) -> Steps[tuple[Found[C], Decision]]:
        """Bring the thread into a state in which the backend takes a resume, where that is needed."""
        yield from ()
        return found, verdict

    def resume(self, resume: Resume, found: Found[C], verdict: Decision) -> Request:
        """The request that resumes, in the client's mode."""
        raise NotImplementedError

    def forwarded(self, resume: Resume) -> dict[str, Any]:
        """The client's fields that the draft does not know and the backend does, or may."""
        extra = resume.body.extra
        return extra if self.forwards_extra else {name: extra[name] for name in extra if name in self.vocabulary}

    def refusal(self, response: Response) -> ResumeError:
        """What a status of 400 or more, in answer to that request, means."""
        raise NotImplementedError

    def begun(self, head: bytes) -> bool:
        """Whether the beginning of a stream tells if the backend took the resume."""
        return sse.first_event(head) is not None

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """The refusal that an answer of 2xx holds: its body is whole, or (in a stream) what `begun` waited for."""
        first = sse.first_event(response.body) if self.response_kinds[resume.mode] == "events" else None
        if first is None or first.name != "error":
            return None
        return UpstreamError("The backend refused the resume in its stream.", {"upstream": first.json})

    def explain_unconsumed(self, found: Found[C], now: Found[C]) -> ResumeError | None:
        """Why an accepted answer was lost, with `acceptance_unproven`, from a thread that looks as before.

        `metadata.resume_state` is `not_sent` where the agent will certainly never hear it, else `unknown`.
        """
        return None

    def started(self, response: Response, body: bytes, resume: Resume, found: Found[C]) -> Started[C] | None:
        """The run, from head and (in background mode) body of the answer; None when they do not tell."""
        raise NotImplementedError

    def cancel(self, resume: Resume, started: Started[C]) -> Request | None:
        """The request that stops the run; None where there is none, or where leaving its stream stops it."""
        return None

    def join(self, resume: Resume, started: Started[C]) -> Request | None:
        """The request that opens the stream of a run that goes on already; None where there is none."""
        return None

    def location(self, resume: Resume, started: Started[C]) -> str | None:
        """The run's own address on the backend, for `Content-Location`; None where it has none."""
        return None

    def run(self, resume: Resume, started: Started[C]) -> Request | None:
        """The request that reads the run; None where there is none."""
        return None

    def awaited(self, resume: Resume, started: Started[C]) -> Request | None:
        """The request that is answered with the result when the run has ended; None where it has to be polled."""
        return None

    def has_ended(self, response: Response) -> bool:
        """Whether that run is over, or stopped at a question, from the answer to `run`."""
        raise NotImplementedError

    def ended(self, body: bytes) -> Ended:
        """The result, from the body of the backend's wait, or of what `awaited` asked for."""
        raise NotImplementedError

    def delete(self, resume: Resume) -> Request | None:
        """The request that deletes the thread; None where the backend has none."""
        return None

    def reframer(self, resume: Resume, started: Started[C]) -> Reframer:
        """How the backend's stream becomes the client's."""
        return Relay()

    def watch(self, method: str, path: str) -> Observer | None:
        """Who looks on at a client's own request, for the ledger; None for those that tell nothing."""
        return None
