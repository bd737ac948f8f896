"""A dialect describes how to read a thread of one kind of backend, and how to resume it.

The flow (`ap_resume_shim.core.flow`) is the same for every backend; a dialect builds its requests and reads its
responses. Pure: no await, clock, random number or environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from ap_resume_shim.core import sse
from ap_resume_shim.core.document_edit import DocumentEdit
from ap_resume_shim.core.errors import ResumeError, UpstreamError
from ap_resume_shim.core.fingerprint import Fingerprint
from ap_resume_shim.core.http import Headers, Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.listing import Candidate, Listing, Page
from ap_resume_shim.core.protocol import Mode, Resume, RunStatus
from ap_resume_shim.core.reframer import Ended, Reframer, Relay
from ap_resume_shim.core.steps import Entry, Steps
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume, read_answer

ThreadStatus = Literal["idle", "busy", "interrupted", "error"]

AT_BREAKPOINT = "stopped at a breakpoint, which has no question"


C = TypeVar("C")
"""The class of a dialect's context; None for a dialect without one."""


@dataclass(frozen=True, slots=True)
class Found(Generic[C]):
    """The state of a thread, as a lookup found it."""

    status: ThreadStatus
    interrupts: tuple[Interrupt, ...] = ()
    """Pending questions. On a busy thread: every question that the backend reports, stale ones too."""
    answered: tuple[Interrupt, ...] = ()
    """Questions whose answer was committed by a step that failed afterwards."""
    breakpoint: bool = False
    """True if the thread stopped without a question that an answer can reach; `stopped` gives the reason."""
    stopped: str = AT_BREAKPOINT
    """With `breakpoint`: the reason, as the predicate of a sentence about the thread."""
    moving: bool = False
    """True if the responses of the lookup disagree about whether the thread is busy: it was busy during a part of the
    lookup."""
    past_ids: frozenset[str] = frozenset()
    """Ids of interrupts in the thread's history, if the lookup reads it."""
    place: Mapping[str, Any] = field(default_factory=dict)
    """Values of names in `Dialect.redirecting` that point to the thread's current place, and are therefore harmless.
    The thread's own id is always harmless."""
    agent_id: str | None = None
    values: Any = None
    error: Any = None
    updated_at: str | None = None
    run_id: str | None = None
    """The thread's newest run, if the lookup reports it."""
    response_kinds: Mapping[Mode, ResponseKind] | None = None
    """Overrides `Dialect.response_kinds`, where the kind depends on the thread's agent."""
    context: C = None  # type: ignore[assignment]  # a dialect whose context is not None always sets it
    """Data of the dialect for its other methods and later lookups, for this resume."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all questions, pending or answered, that have one."""
        return tuple(interrupt.id for interrupt in (*self.interrupts, *self.answered) if interrupt.id is not None)

    def names(self, verdict: Decision) -> tuple[str, ...]:
        """Return `Interrupt.name` of each question that the verdict answers, or retries with its first answer."""
        if isinstance(verdict, Continue):
            return tuple(interrupt.name for interrupt in self.answered)
        return tuple(interrupt.name for interrupt in self.interrupts if interrupt.id in verdict.by_id)


@dataclass(frozen=True, slots=True)
class Continue:
    """No answer: continue from a breakpoint, or retry a failed step with the answer that is already committed."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers by interrupt id. On a backend without ids, the only answer has the key None."""

    by_id: dict[str | None, Any]

    @property
    def values(self) -> tuple[Any, ...]:
        """The answers without their ids."""
        return tuple(self.by_id.values())


Decision = Continue | Answers
"""What a dialect makes of the input of a resume: the run continues without an answer, or answers some questions."""


@dataclass(frozen=True, slots=True)
class Started(Generic[C]):
    """The run that a resume started, as far as the backend's response shows it."""

    run_id: str
    agent_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    status: RunStatus = "pending"
    error: Any = None
    """The reason of the failure, if the response already reports one."""
    context: C = None  # type: ignore[assignment]  # as in `Found`
    """Data of the dialect from the lookup before."""


ResponseKind = Literal["run", "result", "events"]
"""The kind of response to the request that resumes: `run`, a reference to a run in progress; `result`, the outcome of
the finished run; `events`, the run's event stream."""

DEFAULT_KINDS: Mapping[Mode, ResponseKind] = {Mode.BACKGROUND: "run", Mode.WAIT: "result", Mode.STREAM: "events"}
"""The kinds of a backend that supports all three modes. The flow derives modes that a backend lacks."""

ThreadEntry = tuple[str, Entry]
"""A thread's id, and an entry for the ledger."""


class Observer(Protocol):
    """Observes one exchange between a client and the backend. Pure; returns entries for the ledger.

    Entries about a part of the response are stored before the client receives that part.
    """

    def request(self, body: bytes) -> None:
        """Called with the whole request body."""

    def head(self, status: int, headers: Headers) -> Iterable[ThreadEntry]:
        """Called with the status and the headers of the response. Returns entries for the ledger."""

    def feed(self, chunk: bytes) -> Iterable[ThreadEntry]:
        """Called with the next bytes of the response body. Returns entries for the ledger."""

    def end(self, *, complete: bool) -> Iterable[ThreadEntry]:
        """Called at the end of the response; not `complete` if it was broken off or the client disconnected.

        Returns entries for the ledger.
        """


Lookup = Steps[Found[C]]
"""A lookup yields the requests that it needs, and returns the thread's state as a `Found`."""


class Dialect(Generic[C]):
    """Base class of dialects. Methods are pure; the defaults describe a server that supports all three modes.

    One instance serves all resumes concurrently, so it does not change after construction. Data of one resume belongs
    in `Found.context` and `Started.context`, which are a `C`; a dialect without a context is a `Dialect[None]`. Every
    method may raise a `ResumeError`.
    """

    name: str
    family: str = ""
    """A few words: how backends of this kind are resumed."""
    thread_is: str
    """One sentence: the meaning of the draft's `thread_id` on this backend."""
    fingerprints: tuple[Fingerprint, ...] = ()
    """The conditions by which `auto` detects such a server; one of them is enough."""
    specificity: int = 0
    """If a server matches several backends, `auto` chooses the one with the highest specificity."""
    response_kinds: Mapping[Mode, ResponseKind] = DEFAULT_KINDS
    """The kind of response to the request that resumes, by the client's mode, unless `Found.response_kinds` is set."""
    options: Mapping[str, str] = {}
    """Arguments of `__init__`, each a string with a default: name and description."""
    limits: tuple[str, ...] = ()
    """Limitations of this backend, each as a sentence."""
    unsupported: frozenset[str] = frozenset()
    """Optional fields of the draft that this backend cannot honour."""
    reserved: frozenset[str] = frozenset()
    """Names in the backend's create-run body that the dialect sets itself."""
    carries_both: bool = False
    """True if a resume may have both `input` and `messages`."""
    partial: bool = True
    """True if a resume may answer only some of several pending interrupts."""
    forwards_extra: bool = False
    """True if the backend's create-run body uses the draft's vocabulary, so that unknown fields are forwarded."""
    vocabulary: frozenset[str] = frozenset()
    """Fields of the backend's own create-run body: they are forwarded, and never reported as misspelt."""
    accepts_at_head: bool = False
    """True if the backend sends the head of a result when the run begins, so that it proves the acceptance."""
    accept_after_silent_grace: bool = True
    """True if a stream without an event within the grace counts as accepted; otherwise only its first event decides."""
    event_types: frozenset[str] = frozenset({"text/event-stream"})
    """Media types of the backend's event stream, or of a refusal in its place."""
    commit: Literal["late", "with_answer"] = "late"
    """`late`: after an accepted resume, a lookup may still show the old interrupt, and the server would accept a second
    answer; the thread stays held until the state shows the resume. `with_answer`: a real server proved that its 2xx
    comes after the commit."""
    acceptance_unproven: bool = False
    """True if a 2xx does not prove that the agent receives the answer: the response to the client waits until the
    thread's state proves it."""
    makes_run_ids: bool = False
    """True if `Resume.nonce` names the run where neither the response nor the thread reports its id. The backend does
    not know that id, so no request may contain it."""
    starts_runs: bool = False
    """True if each resume starts a new run: a response without a run id is never matched to the previous run."""
    interrupt_id_form: re.Pattern[str] | None = None
    """The form of the backend's interrupt ids, if no key of an ordinary answer has that form."""
    redirecting: frozenset[str] = frozenset()
    """Names in `config` and in forwarded fields that could move the resume elsewhere (`core.redirection`); a trailing
    `*` matches any suffix."""
    conventions: tuple[Convention, ...] = ()
    """How clients of this backend answer a question without the shim (`core.vendor_resume`)."""
    document_edits: tuple[DocumentEdit, ...] = ()
    """Changes to documents of the backend that lead clients past the shim."""
    way_out: str = ""
    """One sentence: how a client recovers from a step that fails because of the answer that was committed."""
    unlisted: str = "This kind of server has no request that lists the threads that wait."
    """One sentence: why `list_waiting` finds nothing, if the dialect does not implement it."""

    def thread_key(self, thread_id: str) -> str:
        """Return the canonical spelling of a thread id, under which the guard holds the thread.

        Raises `InvalidRequest` for an id that the backend cannot have.
        """
        return thread_id

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[C]:
        """Read the thread's state. Without `full` (after a run), the agent and the newest run's id may be left out."""
        raise NotImplementedError

    def refresh_thread(self, resume: Resume, before: Found[C], *, full: bool = False) -> Lookup[C]:
        """Read the thread's state again. Facts that cannot have changed since `before` need no new request."""
        return self.inspect_thread(resume, full=full)

    def list_waiting(self, page: Page) -> Steps[Listing]:
        """Search for threads that may have a question, with at most `listing.MOST_REQUESTS` requests for one page.

        That includes the requests of `read_candidate` for each of them.
        """
        yield from ()
        return Listing(listed=False, notes=(self.unlisted,))

    def read_candidate(self, resume: Resume, candidate: Candidate) -> Lookup[C]:
        """Read the state of a thread that the search found. `resume` has only its id; `context` may be left out."""
        return self.inspect_thread(resume)

    def answered_together(self, found: Found[C], interrupt: Interrupt) -> Sequence[Interrupt]:
        """Return the questions that a resume with the answer to this one has to answer, this one among them."""
        return (interrupt,) if self.partial else found.interrupts

    def check(self, resume: Resume, found: Found[C], verdict: Decision) -> None:
        """Refuse an answer that the backend cannot carry, before anything is sent. Raises `ResumeError`."""

    def prepare(self, resume: Resume, found: Found[C], verdict: Decision) -> Steps[tuple[Found[C], Decision]]:
        """Bring the thread into a state in which the backend accepts a resume, where that is needed.

        Returns the thread's state and the verdict, changed or not.
        """
        yield from ()
        return found, verdict

    def resume(self, resume: Resume, found: Found[C], verdict: Decision) -> Request:
        """Return the request that resumes the thread, in the client's mode."""
        raise NotImplementedError

    def forwarded(self, resume: Resume) -> dict[str, Any]:
        """Return the client's fields that the draft does not define and the backend does, or may."""
        extra = resume.body.extra
        return extra if self.forwards_extra else {name: extra[name] for name in extra if name in self.vocabulary}

    def refusal(self, response: Response) -> ResumeError:
        """Return the error for a response to `resume` with a status of 400 or more."""
        raise NotImplementedError

    def begun(self, head: bytes) -> bool:
        """Return True if `head`, the beginning of a stream, is enough to see whether the backend took the resume."""
        return sse.first_event(head) is not None

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """Return the refusal that a 2xx response contains; None if it contains none.

        The body is complete or, for a stream, ends where `begun` returned True.
        """
        first = sse.first_event(response.body) if self.response_kinds[resume.mode] == "events" else None
        if first is None or first.name != "error":
            return None
        return UpstreamError("The backend refused the resume in its stream.", {"upstream": first.json})

    def explain_unconsumed(self, found: Found[C], now: Found[C]) -> ResumeError | None:
        """With `acceptance_unproven`: return the error if the unchanged thread shows that an accepted answer was lost.

        `metadata.resume_state` is `not_sent` if the agent will certainly never receive the answer, else `unknown`.
        """
        return None

    def started(self, response: Response, body: bytes, resume: Resume, found: Found[C]) -> Started[C] | None:
        """Return the run, from the response's head and (in background mode) `body`; None if they do not identify it."""
        raise NotImplementedError

    def cancel(self, resume: Resume, started: Started[C]) -> Request | None:
        """Return the request that stops the run; None if there is none, or if closing its stream stops it."""
        return None

    def join(self, resume: Resume, started: Started[C]) -> Request | None:
        """Return the request that opens the stream of a run in progress; None if there is none."""
        return None

    def location(self, resume: Resume, started: Started[C]) -> str | None:
        """Return the run's path on the backend, for `Content-Location`; None if it has none."""
        return None

    def run(self, resume: Resume, started: Started[C]) -> Request | None:
        """Return the request that reads the run; None if there is none."""
        return None

    def awaited(self, resume: Resume, started: Started[C]) -> Request | None:
        """Return the request whose response is the result of the finished run; None if the run has to be polled."""
        return None

    def has_ended(self, response: Response) -> bool:
        """Return True if the run has ended or is interrupted. `response` is the response to `run`."""
        raise NotImplementedError

    def ended(self, body: bytes) -> Ended:
        """Return the result. `body` is the response of the backend's wait, or the response to `awaited`."""
        raise NotImplementedError

    def delete(self, resume: Resume) -> Request | None:
        """Return the request that deletes the thread; None if the backend has none."""
        return None

    def reframer(self, resume: Resume, started: Started[C]) -> Reframer:
        """Return the reframer that converts the backend's stream to the client's."""
        return Relay()

    def recognise(self, request: ClientRequest) -> VendorResume | None:
        """Return a client's own request as a vendor resume; None if it is not one. Raises `UnreadableAnswer`."""
        return read_answer((each for each in self.conventions if each.matches(request.method, request.path)), request)

    def locate(self, vendor: VendorResume) -> Steps[str]:
        """Return the thread of a vendor resume that names only a run or a task. Raises `NotFound` if there is none."""
        raise NotImplementedError

    def watch(self, method: str, path: str) -> Observer | None:
        """Return an observer of a client's own request, for the ledger; None if the request is not relevant."""
        return None
