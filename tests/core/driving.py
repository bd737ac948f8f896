"""Drives a flow step by step: a configurable dialect, and a readable transcript of the steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import DEFAULT_KINDS, Decision, Dialect, Found, Lookup, ResponseKind, Started
from ap_resume_shim.core.dialect_helpers import read_refusal
from ap_resume_shim.core.errors import InvalidRequest, ResumeError
from ap_resume_shim.core.flow import resume_flow
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, Resume, parse
from ap_resume_shim.core.reframer import Ended
from ap_resume_shim.core.steps import (
    Ask,
    CallGuard,
    ClientGone,
    Flow,
    Join,
    MarkAccepted,
    OriginalResponse,
    Pause,
    Poll,
    ReadEvents,
    ReadUntilIdle,
    RepeatClaim,
    Reply,
    Send,
    SendChunk,
    SendReply,
    Step,
    Steps,
    StreamReply,
)
from ap_resume_shim.core.steps.guard import UncommittedResume

NOW = "2026-11-24T12:00:00+00:00"
ASKS: Found[None] = Found("interrupted", (Interrupt("q1", "sure?"),), agent_id="agent")
ASKS_NEXT: Found[None] = Found("interrupted", (Interrupt("q2", "really?"),), agent_id="agent", run_id="r1")
BUSY: Found[None] = Found("busy", run_id="r1")
DONE: Found[None] = Found("idle", values={"done": True}, updated_at="later", run_id="r1")
NAMED = Response(200, (("content-location", "r1"),))
NAMELESS = Response(200)
RUN_ENDED, RUN_GOES_ON = Response(200, (), b'{"over": true}'), Response(200, (), b"{}")
GONE = ClientGone()


@dataclass
class Plain(Dialect[None]):
    """A minimal dialect: the result of a lookup's request is a `Found`; the fields of the class configure the rest."""

    unsupported: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset({"agent"})
    carries_both: bool = False
    partial: bool = True
    can_cancel: bool = True
    can_delete: bool = True
    can_join: bool = True
    refuses: ResumeError | None = None
    armed: bool = True
    forwards_extra: bool = True
    vocabulary: frozenset[str] = frozenset()
    response_kinds: Mapping[Mode, ResponseKind] = field(default_factory=lambda: DEFAULT_KINDS)
    accepts_at_head: bool = True
    commit: Literal["late", "with_answer"] = "with_answer"
    acceptance_unproven: bool = False
    interrupt_id_form: re.Pattern[str] | None = None
    accept_after_silent_grace: bool = True
    lost: ResumeError | None = None
    name: str = "plain"
    thread_is: str = "a thread"

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[None]:
        (found,) = yield from Ask((Request.get("thread" if full else "thread again"),))
        assert isinstance(found, Found)
        return found

    def check(self, resume: Resume, found: Found[None], verdict: Decision) -> None:
        if self.refuses is not None:
            raise self.refuses

    def prepare(self, resume: Resume, found: Found[None], verdict: Decision) -> Steps[tuple[Found[None], Decision]]:
        if not self.armed:
            yield from Ask((Request("POST", "arm"),))
        return found, verdict

    def resume(self, resume: Resume, found: Found[None], verdict: Decision) -> Request:
        return Request.post("runs", {"webhook": resume.body.webhook, "verdict": repr(verdict)})

    def refusal(self, response: Response) -> ResumeError:
        return read_refusal(response)

    def explain_unconsumed(self, found: Found[None], now: Found[None]) -> ResumeError | None:
        return self.lost

    def started(self, response: Response, body: bytes, resume: Resume, found: Found[None]) -> Started[None] | None:
        if location := response.header("content-location"):
            return Started(location, found.agent_id)
        first = sse.first_event(body)
        value = first.json if first is not None else Response(200, (), body).json
        run_id = value.get("run_id") if isinstance(value, dict) else None
        return (
            None if run_id is None else Started(run_id, found.agent_id, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z")
        )

    def cancel(self, resume: Resume, started: Started[None]) -> Request | None:
        return Request("POST", f"cancel {started.run_id}") if self.can_cancel else None

    def join(self, resume: Resume, started: Started[None]) -> Request | None:
        return Request.get(f"stream {started.run_id}") if self.can_join else None

    def location(self, resume: Resume, started: Started[None]) -> str:
        return f"/runs/{started.run_id}"

    def run(self, resume: Resume, started: Started[None]) -> Request | None:
        return Request.get(f"run {started.run_id}")

    def has_ended(self, response: Response) -> bool:
        return bool(response.json)

    def ended(self, body: bytes) -> Ended:
        value = Response(200, (), body).json or {}
        interrupts = tuple(Interrupt(each["id"], each["value"]) for each in value.get("interrupts", ()))
        return Ended(value.get("values"), value.get("error"), interrupts)

    def delete(self, resume: Resume) -> Request | None:
        return Request("DELETE", "thread") if self.can_delete else None


USUAL: dict[str, Any] = {
    "DELETE thread": Response(204),
    "GET thread": ASKS,
    "GET thread again": DONE,
    "rival": None,
    "known ids": frozenset(),
    "uncommitted": UncommittedResume(),
    "had run in flight": False,
    "send": NAMED,
    "join": NAMED,
    "read body": b'{"run_id": "r1"}',
    "read events": b'event: metadata\ndata: {"run_id": "r1"}\n\n',
    "GET run r1": RUN_ENDED,
    "now": "2026-11-24T12:00:09+00:00",
}
"""The result of each step of a successful resume; the result of other steps is None."""


QUIET = ("recall", "repeated", "known ids", "uncommitted", "remember")
"""Steps that the transcript omits, unless they have a result."""


@dataclass
class Transcript:
    """The steps of a flow, and how it ended. `once` are the requests that are not retried."""

    steps: list[str] = field(default_factory=list)
    once: list[str] = field(default_factory=list)
    reply: Reply | StreamReply | OriginalResponse | None = None
    error: Exception | None = None
    request: Request | None = None
    run_id: str | None = None
    fingerprint: str = ""
    grace: float | None = None
    commit: Flow | None = None

    @property
    def after_send(self) -> list[str]:
        """The steps after `send`."""
        return self.steps[self.steps.index("send") + 1 :] if "send" in self.steps else []

    @property
    def value(self) -> Any:
        """The JSON of the response."""
        assert isinstance(self.reply, Reply)
        return self.reply.value

    @property
    def refused(self) -> ResumeError:
        """The error in the response to the client."""
        assert isinstance(self.error, ResumeError), self.steps
        return self.error

    @property
    def code(self) -> str:
        """The error's code."""
        return self.refused.code

    @property
    def resume_state(self) -> Any:
        """The error's `metadata.resume_state`."""
        return self.refused.metadata.get("resume_state")


def drive(
    mode: Mode,
    comes: dict[str, Any] | None = None,
    *,
    dialect: Plain | None = None,
    lenient: bool = False,
    stream_grace: float = 1.0,
    go_on: bool = False,
    typed_answers: bool = True,
    **fields: Any,
) -> Transcript:
    """Run a flow to its end.

    `comes` gives results of steps that differ from `USUAL`. A list gives its items one after the other, and repeats the
    last one; an exception is thrown into the flow. `go_on` omits the input.
    """
    answer = {} if go_on else {"input": "yes"}
    raw = strictjson.dumps({"thread_id": "t", **answer, **fields})
    settings = FlowSettings(lenient=lenient, stream_grace=stream_grace, typed_answers=typed_answers)
    resume = parse(raw, mode, now=NOW)
    transcript = follow(resume_flow(resume, dialect or Plain(), settings), {**USUAL, **(comes or {})})
    transcript.fingerprint = resume.fingerprint
    return transcript


def follow(flow: Flow, comes: dict[str, Any]) -> Transcript:
    """Run a flow with the given result of each step, as for `drive`."""
    transcript, result = Transcript(), None
    comes = {step: list(results) if isinstance(results, list) else [results] for step, results in comes.items()}
    try:
        while True:
            step = flow.throw(result) if isinstance(result, Exception) else flow.send(result)
            name = words(step)
            if isinstance(step, Ask) and step.once:
                transcript.once.append(name)
            if isinstance(step, SendReply):
                transcript.reply = step.reply
            elif isinstance(step, Send | Join):
                transcript.request = step.request
            elif isinstance(step, MarkAccepted):
                transcript.run_id, transcript.commit = step.run_id, step.commit
            elif isinstance(step, CallGuard) and step.method == "mark_run_id":
                (transcript.run_id,) = step.arguments
            elif isinstance(step, ReadEvents):
                transcript.grace = step.grace
            results = comes.get(name, [None])
            result = results.pop(0) if len(results) > 1 else results[0]
            if result or name not in QUIET:
                transcript.steps.append(name)
            if isinstance(step, Ask) and not isinstance(result, Exception):
                result = (result,)
    except StopIteration:
        pass
    except Exception as error:
        transcript.error = error
    return transcript


def words(step: Step) -> str:
    """Return a short description of a step: its name, and its subject."""
    match step:
        case Ask(requests):
            return " + ".join(f"{request.method} {request.target}" for request in requests)
        case CallGuard(method):
            return method.replace("_", " ")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(step).__name__).lower()
    match step:
        case Pause(seconds) | Poll(seconds) | RepeatClaim(_, seconds):
            return f"{name} {seconds:g}"
        case ReadUntilIdle(request):
            return f"{name} {request.target}"
        case SendChunk(chunk):
            return f"{name} {chunk.decode().splitlines()[0]}"
        case _:
            return name


REFUSED = InvalidRequest("The backend cannot carry this.")
