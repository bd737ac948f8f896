"""Driving a flow by hand: a dialect that says what a test tells it to, and a transcript that reads like a story."""

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
    Answer,
    Ask,
    CallGuard,
    ClientGone,
    Flow,
    Join,
    MarkAccepted,
    Pause,
    Poll,
    ReadEvents,
    ReadUntilIdle,
    Reply,
    Send,
    SendChunk,
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
    """A dialect as plain as can be: lookups are answered with a `Found`, all else with what a test gives it."""

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

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[None]:
        (found,) = yield from Ask((Request.get("thread" if agent else "thread again"),))
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
        told = first.json if first is not None else Response(200, (), body).json
        run_id = told.get("run_id") if isinstance(told, dict) else None
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
        told = Response(200, (), body).json or {}
        return Ended(told.get("values"), told.get("error"))

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
}
"""What comes of each step of a resume that goes well; what is not named here comes to nothing."""


QUIET = ("recall", "repeated", "known ids", "uncommitted", "remember")
"""Steps that are no part of the story, unless something comes of them."""


@dataclass
class Transcript:
    """What a flow did, step by step, and how it ended."""

    steps: list[str] = field(default_factory=list)
    reply: Reply | StreamReply | None = None
    error: Exception | None = None
    request: Request | None = None
    run_id: str | None = None
    fingerprint: str = ""
    grace: float | None = None
    commit: Flow | None = None

    @property
    def after_send(self) -> list[str]:
        """The steps behind the one that resumes."""
        return self.steps[self.steps.index("send") + 1 :] if "send" in self.steps else []

    @property
    def value(self) -> Any:
        """The JSON of the answer."""
        assert isinstance(self.reply, Reply)
        return self.reply.value

    @property
    def refused(self) -> ResumeError:
        """The error that the client is answered with."""
        assert isinstance(self.error, ResumeError), self.steps
        return self.error

    @property
    def code(self) -> str:
        """That error's code."""
        return self.refused.code

    @property
    def resume_state(self) -> Any:
        """What became of the resume, as that error tells."""
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

    `comes` tells what comes of a step, where that is not the usual: a list gives one thing after the other, its last
    for ever; an exception is thrown into the flow. `go_on` leaves the input out.
    """
    answer = {} if go_on else {"input": "yes"}
    raw = strictjson.dumps({"thread_id": "t", **answer, **fields})
    settings = FlowSettings(lenient=lenient, stream_grace=stream_grace, typed_answers=typed_answers)
    resume = parse(raw, mode, now=NOW)
    told = follow(resume_flow(resume, dialect or Plain(), settings), {**USUAL, **(comes or {})})
    told.fingerprint = resume.fingerprint
    return told


def follow(flow: Flow, comes: dict[str, Any]) -> Transcript:
    """Answer each step of a flow with what comes of it."""
    told, result = Transcript(), None
    comes = {step: list(come) if isinstance(come, list) else [come] for step, come in comes.items()}
    try:
        while True:
            step = flow.throw(result) if isinstance(result, Exception) else flow.send(result)
            name = words(step)
            if isinstance(step, Answer):
                told.reply = step.reply
            elif isinstance(step, Send | Join):
                told.request = step.request
            elif isinstance(step, MarkAccepted):
                told.run_id, told.commit = step.run_id, step.commit
            elif isinstance(step, CallGuard) and step.method == "mark_run_id":
                (told.run_id,) = step.arguments
            elif isinstance(step, ReadEvents):
                told.grace = step.grace
            come = comes.get(name, [None])
            result = come.pop(0) if len(come) > 1 else come[0]
            if result or name not in QUIET:
                told.steps.append(name)
            if isinstance(step, Ask) and not isinstance(result, Exception):
                result = (result,)
    except StopIteration:
        pass
    except Exception as error:
        told.error = error
    return told


def words(step: Step) -> str:
    """A step in a few words: its name, and what it is about."""
    match step:
        case Ask(requests):
            return " + ".join(f"{request.method} {request.target}" for request in requests)
        case CallGuard(method):
            return method.replace("_", " ")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(step).__name__).lower()
    match step:
        case Pause(seconds) | Poll(seconds):
            return f"{name} {seconds:g}"
        case ReadUntilIdle(request):
            return f"{name} {request.target}"
        case SendChunk(chunk):
            return f"{name} {chunk.decode().splitlines()[0]}"
        case _:
            return name


REFUSED = InvalidRequest("The backend cannot carry this.")
