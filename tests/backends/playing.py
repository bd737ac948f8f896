"""Plays a resume against recorded responses, one of which is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from ap_resume_shim.backends import load_backend
from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.errors import ConfigurationError, InvalidAnswer, ResumeError, UnsupportedInput
from ap_resume_shim.core.flow import resume_flow
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.protocol import Mode, parse
from ap_resume_shim.core.steps import (
    Ask,
    CallGuard,
    Drain,
    Join,
    MarkAccepted,
    Poll,
    ReadBody,
    ReadEvents,
    ReadUntilIdle,
    Reply,
    Send,
    SendChunk,
    SendReply,
    StartStream,
    Step,
    StreamReply,
)
from ap_resume_shim.tools.explain import RecordedAnswers, RecordedBackend, explain, recorded_answers
from tests.recordings import Recording, load_dialect, read_chunks

THREAD = "b0c2f5e6-51a4-4a79-a5f4-1b9a5c5e7f10"
NOW = "2026-11-24T12:00:00+00:00"
ANSWERS = ("yes", True, {"approved": True})
"""Answers of three types: the question of every recorded example accepts one of them."""

Change = Callable[[int, Response], Response]
"""A function of the number of a response, counted from 0, and of the recorded response; returns the changed one."""


@dataclass
class Played:
    """The outcome of a resume."""

    answers: int = 0
    """The number of responses that were read."""
    sent_at: int | None = None
    """The number of the response to the resume."""
    reply: Reply | None = None
    stream: bytes | None = None
    error: Exception | None = None
    taken: bool | None = None
    """True if the flow marked the resume as accepted, False if as rejected, None if neither."""
    steps: list[str] = field(default_factory=list)

    @property
    def refused(self) -> ResumeError:
        """The error in the response to the client."""
        assert isinstance(self.error, ResumeError), repr(self.error)
        return self.error

    @property
    def state(self) -> Any:
        """The error's `metadata.resume_state`."""
        return self.refused.metadata.get("resume_state")


@dataclass(frozen=True)
class Case:
    """A resume, and the recorded responses of its backend."""

    name: str
    dialect: Dialect[Any]
    mode: Mode
    body: bytes
    answers: RecordedAnswers

    def __str__(self) -> str:
        return self.name


@cache
def accepted_answer(backend: str) -> Any:
    """Return the first of `ANSWERS` that the question of a backend's recorded example accepts."""
    return next(answer for answer in ANSWERS if _is_accepted(backend, answer))


def _is_accepted(backend: str, answer: Any) -> bool:
    body = strictjson.dumps({"thread_id": THREAD, "input": answer})
    try:
        tuple(explain(parse(body, Mode.WAIT, now=NOW), load_backend(backend), recorded_answers(backend)))
    except (InvalidAnswer, UnsupportedInput):
        return False
    return True


@cache
def recorded_case(backend: str, mode: Mode) -> Case:
    """Return the recorded example of a backend."""
    answers = recorded_answers(backend)
    assert answers is not None
    body = strictjson.dumps({"thread_id": THREAD, "input": accepted_answer(backend)})
    return Case(f"{backend} {mode.name.lower()}", load_backend(backend), mode, body, answers)


def recorded(recording: Recording) -> Case:
    """Return the case of a recording."""
    answers = [
        {
            "request": f"{exchange['request']['method']} {exchange['request']['target']}",
            **exchange["response"],
            "body": b"".join(read_chunks(exchange["response"])).decode(),
        }
        for step in recording.exchanges
        for exchange in step
    ]
    return Case(str(recording), load_dialect(recording.backend), recording.mode, recording.body, answers)


def play(case: Case, change: Change) -> Played:
    """Run the resume from its first lookup to its end. `change` changes the recorded responses."""
    resume = parse(case.body, case.mode, now=NOW, nonce="n" * 32)
    backend, played = _Changed(RecordedBackend(resume, case.answers), change), Played()
    flow = resume_flow(resume, case.dialect, FlowSettings(settle=0.2))
    result: Any = None
    try:
        for _ in range(500):
            step = flow.throw(result) if isinstance(result, Exception) else flow.send(result)
            played.steps.append(type(step).__name__)
            try:
                result = backend.do(step, played)
            except Exception as failure:
                result = failure
        raise AssertionError("the flow does not end")
    except StopIteration:
        pass
    except Exception as error:
        played.error = error
    return played


class _Changed:
    """The recorded backend, with the changed response."""

    def __init__(self, backend: Any, change: Change) -> None:
        self._backend, self._change = backend, change
        self._body = b""

    def do(self, step: Step, played: Played) -> Any:
        match step:
            case Ask(requests):
                return tuple(self._answer(request, played) for request in requests)
            case ReadUntilIdle(request):
                return self._answer(request, played)
            case Send(request) | Join(request):
                if isinstance(step, Send):
                    played.sent_at = played.answers
                response = self._answer(request, played)
                self._body = response.body
                return replace(response, body=b"") if response.ok else response
            case ReadBody():
                return self._body
            case ReadEvents(_, begun):
                begun(self._body)
                return self._body or None
            case Drain(reframer):
                reframer.feed(self._body)
                reframer.finish()
                return None
            case SendReply(StreamReply(_, reframer)):
                played.stream = reframer.feed(self._body) + reframer.finish()
                return None
            case SendReply(Reply() as reply):
                strictjson.dumps(reply.value)
                played.reply = reply
                return None
            case StartStream():
                played.stream = b""
            case SendChunk(chunk):
                played.stream = (played.stream or b"") + chunk
            case MarkAccepted() | CallGuard("mark_rejected"):
                played.taken = isinstance(step, MarkAccepted)
            case Poll():
                raise _TooLong
        return self._backend.answer(step)

    def _answer(self, request: Request, played: Played) -> Response:
        try:
            response = self._backend.to(request)
        except ConfigurationError:  # a request that follows from a changed response
            response = Response(404, (), b'{"detail": "Not Found"}')
        played.answers += 1
        return self._change(played.answers - 1, response)


class _TooLong(ResumeError):
    """The shell's time limit, for a run that does not end."""

    def __init__(self) -> None:
        super().__init__("The run takes longer than a resume may.", {"resume_state": "consumed"})
