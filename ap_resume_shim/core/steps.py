"""What a flow yields, and what it is sent: the steps of a resume.

A flow is a generator (as `httpx.Auth.auth_flow` is one): it yields steps, the shell does them and sends back what
came of it. An error of a step is thrown into the flow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import quote, urlencode

from ap_resume_shim.core import strictjson

Headers = tuple[tuple[str, str], ...]


def segment(value: str) -> str:
    """An id as one segment of a path: everything but unreserved characters is escaped."""
    return quote(value, safe="")


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the backend. `target` is path and query, escaped; `body` is what `media_type` says, or None."""

    method: str
    target: str
    body: bytes | None = None
    accept: str = "application/json"
    media_type: str = "application/json"
    headers: Headers = ()
    """Beside the client's own, in whose place they go; such as the version of a protocol."""
    below_prefix: bool = True
    """Whether the option `prefix` stands before the target."""

    @classmethod
    def get(cls, target: str) -> Request:
        """A lookup."""
        return cls("GET", target)

    @classmethod
    def post(cls, target: str, value: Any = None, accept: str = "application/json") -> Request:
        """A POST of a JSON value; None means no body."""
        return cls("POST", target, None if value is None else strictjson.dumps(value), accept)

    @classmethod
    def form(cls, target: str, fields: Mapping[str, str], accept: str = "application/json") -> Request:
        """A POST of a form."""
        return cls("POST", target, urlencode(fields).encode(), accept, "application/x-www-form-urlencoded")

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return None if self.body is None else json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """The backend's answer. For a `Send` that succeeded the body is empty: it is read by a later step."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        """The first field of that name; names are compared without case."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def json(self) -> Any:
        """The body, decoded; None where it is not JSON. Some servers answer errors as plain text."""
        try:
            return strictjson.read(self.body)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        """The body as text, for a person or a comparison of phrases."""
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Ask:
    """Lookups, made side by side. Sent back: a tuple of `Response`, in order."""

    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class ReadUntilIdle:
    """A lookup whose answer does not end: read until it was silent for `quiet` seconds, or until `enough` says so.

    Sent back: the `Response`, with what had come by then.
    """

    request: Request
    quiet: float
    enough: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger keeps of a moment of a thread, as JSON values."""

    facts: dict[str, Any]
    """What is true of the thread, whoever asks: ids, what was answered, what goes on."""
    contents: Any = None
    """What was said in the traffic of one caller, for that caller's resumes alone; None for others, and where there is
    nothing."""


@dataclass(frozen=True, slots=True)
class ReadLedger:
    """What does the ledger know of the thread? Sent back: a list of `Entry`, the newest first."""

    thread_id: str | None = None
    """None: the thread of the resume."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for that many seconds. Sent back: None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Poll:
    """Wait for that many seconds for a run that goes on; a client that waits for it is kept company. Sent back: None.

    Thrown in: `UpstreamTimeout`, when the run has taken longer than a resume may.
    """

    seconds: float


Contention = Literal["holding", "accepted"]
"""What another resume of the same thread does: it holds the thread now, or was accepted since this one arrived."""


@dataclass(frozen=True, slots=True)
class Rival:
    """Does another resume of the thread stand in the way? Sent back: `Contention`, or None."""


@dataclass(frozen=True, slots=True)
class KnownIds:
    """Which interrupt ids does the guard remember for this thread? Sent back: a frozenset of str."""


@dataclass(frozen=True, slots=True)
class Remember:
    """Remember these interrupt ids for this thread. Sent back: None."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UncommittedResume:
    """The last accepted resume of a thread, while neither its commit nor the end of its run was seen."""

    names: frozenset[str] = frozenset()
    """`Interrupt.name` of each question that it answered."""
    age: float = 0.0
    """Seconds since its acceptance."""


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """Which resume was accepted, and not yet seen in the thread's state, when this one arrived?

    Sent back: `UncommittedResume`, with no names where there is none.
    """


@dataclass(frozen=True, slots=True)
class HadRunInFlight:
    """When this resume arrived: was one accepted whose run had not been seen at rest since? Sent back: bool."""


@dataclass(frozen=True, slots=True)
class MarkIdle:
    """The thread was seen at rest."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What was kept under this caller's `Idempotency-Key` when the resume arrived? Sent back: `Kept` or None."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """Did the same caller send the same body within `duplicate_window` before this arrived? Sent back: bool."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Hold the thread. Sent back: None when this resume holds it from here on; else the `Contention` that forbids it.

    `answered` has the `Interrupt.name` of each question that will be answered, `seen` the ids to remember.
    """

    answered: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Send:
    """The one request that resumes: never sent twice, never cancelled on its way by a client that leaves.

    Sent back: the `Response` at its head; with a `grace`, None if there was no answer after that many seconds: then
    `ReadHead` has it. Thrown in, among others: `HoldLapsed`, when it would have come too late.
    """

    request: Request
    grace: float | None = None


@dataclass(frozen=True, slots=True)
class ReadHead:
    """Wait for the answer to a `Send` that was not there after its grace. Sent back: the `Response` at its head."""


@dataclass(frozen=True, slots=True)
class MarkAccepted:
    """The backend took the resume, or may have: whoever arrived before is refused.

    `run_id` is the run's name, as far as it is known by now. `headers` are what the answer's head will have, should
    it have to go out before the answer is there. The thread is released at once, unless there is a `commit`: lookups
    (`Ask`, `ReadUntilIdle`, `ReadLedger`, `Pause`) that end when the thread's state shows the resume. The driver runs them beside
    the flow, and releases the thread when they end, when the flow yields `MarkIdle`, or after `commit_timeout`.
    """

    run_id: str | None = None
    headers: Headers = ()
    commit: Flow | None = None


@dataclass(frozen=True, slots=True)
class AwaitCommit:
    """Wait for the lookups of `MarkAccepted.commit`, if there are any, which end at `commit_timeout`. Sent back: None."""


@dataclass(frozen=True, slots=True)
class MarkRunId:
    """The name of the run, which was not known yet when it was accepted."""

    run_id: str


@dataclass(frozen=True, slots=True)
class MarkRejected:
    """The backend has certainly not taken the resume: the thread is let go as if it had never been held.

    Said after a `Send`, whose resume otherwise counts as taken, however the flow ends.
    """


@dataclass(frozen=True, slots=True)
class Join:
    """Open the stream of a run that goes on already. Sent back: the `Response` at its head."""

    request: Request


@dataclass(frozen=True, slots=True)
class ReadBody:
    """Read the rest of the answer to `Send`. Sent back: bytes."""


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """Read the beginning of the answer's stream, until it tells how it begins, or the grace is over.

    Without a grace it is waited for as long as for any answer. Sent back: the bytes; None where the stream ended
    without any.
    """

    grace: float | None
    begun: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, as far as the backend's own answer tells."""

    values: Any = None
    error: Any = None


class Reframer(Protocol):
    """Turns the backend's stream into the client's. Pure: bytes in, bytes out."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes, in any split; give what is ready for the client."""

    def finish(self) -> bytes:
        """The upstream ended well: give the rest."""

    @property
    def between_events(self) -> bool:
        """Whether a comment may be put here without breaking an event."""

    @property
    def over(self) -> bool:
        """Whether the run is at rest, so that nothing more is waited for, though the backend holds the stream open."""

    def ended(self) -> Ended:
        """How the run ended, as far as the stream has told."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Read the rest of the answer's stream through `reframer`, for what it tells alone. Sent back: None."""

    reframer: Reframer


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer to the client."""

    status: int
    value: Any
    headers: Headers = ()
    body: bytes = field(init=False, repr=False, compare=False)
    """`value` as JSON: written once, whoever needs it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", strictjson.dumps(self.value))


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept under an `Idempotency-Key`, from the moment its thread is held."""

    fingerprint: str
    """Of the body that came with the key."""
    live: bool
    """Whether the resume is still under way."""
    accepted: bool = False
    """Whether the backend took it, or may have; one that was certainly not taken is not kept."""
    run_id: str | None = None
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class StreamReply:
    """The answer as a stream: `head` first, then the rest of the exchange through `reframer`."""

    head: bytes
    reframer: Reframer
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the client. Sent back: None, when a stream has ended; the flow may go on to clean up."""

    reply: Reply | StreamReply


@dataclass(frozen=True, slots=True)
class StartStream:
    """Begin a stream to the client that the flow makes itself. Sent back: None."""

    headers: Headers


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Send these bytes of the stream that the flow makes itself. Sent back: None."""

    chunk: bytes


@dataclass(frozen=True, slots=True)
class EndStream:
    """End the stream that the flow makes itself. Sent back: None."""


class ClientGone(Exception):
    """Thrown into a flow, at any step, when a client that asked for `on_disconnect: cancel` has left."""


Step = (
    Ask
    | ReadUntilIdle
    | ReadLedger
    | Pause
    | Poll
    | Recall
    | Repeated
    | Rival
    | KnownIds
    | Remember
    | Uncommitted
    | HadRunInFlight
    | MarkIdle
    | Claim
    | Send
    | ReadHead
    | MarkAccepted
    | AwaitCommit
    | MarkRunId
    | MarkRejected
    | Join
    | ReadBody
    | ReadEvents
    | Drain
    | Answer
    | StartStream
    | SendChunk
    | EndStream
)
Flow = Generator[Step, Any, None]


@dataclass(slots=True)
class Settings:
    """What the flow is told about its surroundings; seconds."""

    settle: float = 1.0
    """How long a busy thread is polled before 409: real servers announce an interrupt before they record it."""
    settle_step: float = 0.1
    claim_step: float = 0.02
    """How often a claim is tried again that met another resume's hold; no lookup is made for it."""
    stream_grace: float = 1.0
    """How long a stream's first event is waited for before the status line goes out."""
    completion_poll: float = 1.0
    run_poll: float = 0.25
    """How often a run is looked at whose end nothing announces."""
    connect_again: float = 0.2
    """After how long a resume that found no connection is sent once more: of it, no byte was."""
    commit_timeout: float = 30.0
    """How long an accepted resume may stay invisible in the thread's state, at most."""
    typed_answers: bool = True
    """Whether an answer that certainly violates its question's schema is refused."""
    lenient: bool = False
