"""Shows the requests of a resume without sending it: a dry run of the flow against recorded, assumed or live responses.

Recorded answers are a list of responses, as JSON: `{"request": "GET /threads/{thread_id}", "status": 200, "body": …}`,
optionally with `headers` and the `mode` it applies to, and `{"ledger": [{"facts": …, "contents": …}]}` for the ledger's
entries. `{thread_id}` stands for the thread of the request. If a request has several responses, each is used once, and
the last one from then on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import quote

from ap_resume_shim.backends import recorded_example
from ap_resume_shim.core.dialect import Dialect, Lookup
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.flow import resume_flow
from ap_resume_shim.core.flow_settings import FlowSettings
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import (
    Ask,
    AwaitCommit,
    Drain,
    Entry,
    Flow,
    Join,
    MarkAccepted,
    MarkIdle,
    Pause,
    Poll,
    ReadBody,
    ReadEvents,
    ReadLedger,
    ReadUntilIdle,
    Send,
    Step,
)
from ap_resume_shim.tools.assumed_answers import Assumed
from ap_resume_shim.tools.describe import MODES
from ap_resume_shim.tools.uncontested import Uncontested

RecordedAnswers = Sequence[dict[str, Any]]
"""The recorded answers, as parsed from JSON."""

_POLLS = 20
"""Maximum number of pauses that a flow may make."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that the resume would send."""

    what: str
    """`look`, `resume`, or `follow`."""
    request: Request
    round_trip: int
    """The number of its round trip, from 1. Requests with the same number are sent in parallel."""

    def lines(self) -> Iterator[str]:
        """Yield the lines of the request in HTTP's format; the client's own header fields are added to each request."""
        request = self.request
        yield f"# {self.what}"
        yield f"{request.method} {request.target}"
        yield f"accept: {request.accept}"
        yield from (f"{name}: {value}" for name, value in request.headers)
        if request.body is not None:
            yield f"content-type: {request.media_type}"
            yield ""
            yield request.body.decode("utf-8", "replace")
        yield ""


def recorded_answers(name: str) -> RecordedAnswers | None:
    """Return the recorded answers of a built-in backend; None if there are none."""
    file = recorded_example(name)
    return None if file is None else read_answers(file.read_text("utf-8"), file.name)


def read_answers(text: str, source: str) -> RecordedAnswers:
    """Parse recorded answers. `source` names its file in errors. Raises `ConfigurationError`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{source}: {error}") from None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigurationError(f"{source}: recorded answers are a list of objects.")
    return value


class Stage(Protocol):
    """The counterpart of a flow in a dry run: returns a result for each step."""

    assumes: bool
    """True if responses to requests after the resume were assumed."""

    def answer(self, step: Step) -> Any:
        """Return the result of a step."""

    def lookup(self, flow: Lookup[Any]) -> Lookup[Any]:
        """Run a lookup of the dialect on the stage."""


def explain(resume: Resume, dialect: Dialect[Any], answers: RecordedAnswers | Stage | None) -> Iterator[Sent]:
    """Yield every request of a resume, in order. Without answers, assume a thread with one pending question.

    Raises `ResumeError` if the resume would be refused.
    """
    dialect.thread_key(resume.thread_id)
    stage = _stage(resume, dialect, answers)
    played = copy(dialect)
    for name in ("inspect_thread", "refresh_thread"):
        setattr(played, name, _staged(stage, getattr(dialect, name)))
    yield from _dry_run(resume_flow(resume, played, FlowSettings()), stage, "look")


def _stage(resume: Resume, dialect: Dialect[Any], answers: RecordedAnswers | Stage | None) -> Stage:
    if answers is None:
        return Assumed(resume, dialect)
    return RecordedBackend(resume, answers) if isinstance(answers, Sequence) else answers


def _staged(stage: Stage, lookup: Callable[..., Lookup[Any]]) -> Callable[..., Lookup[Any]]:
    return lambda *args, **kwargs: stage.lookup(lookup(*args, **kwargs))


def _dry_run(flow: Flow, stage: Stage, kind: str, trips: int = 0) -> Iterator[Sent]:
    """Yield the requests of a flow, after so many round `trips`. Polling stops after `_POLLS` pauses."""
    step: Step = next(flow)
    pauses_left, committed = _POLLS, trips
    while pauses_left:
        match step:
            case Ask(requests):
                trips += 1
                yield from (Sent(kind, request, trips) for request in requests)
            case ReadUntilIdle(request) | Join(request):
                trips += 1
                yield Sent(kind, request, trips)
            case Send(request):
                trips += 1
                yield Sent("resume", request, trips)
                kind = "follow"
            case Pause() | Poll():
                pauses_left -= 1
            case MarkAccepted(commit=commit) if commit is not None:
                for sent in _dry_run(_first_lookups(commit), stage, kind, trips):
                    committed = sent.round_trip
                    yield sent
            case MarkIdle():
                committed = trips
            case AwaitCommit():
                trips = max(trips, committed)
            case _:
                pass
        result = stage.answer(step)
        try:
            step = flow.send(result)
        except StopIteration:
            return
        except Exception:
            if stage.assumes:  # only a real server's response could continue the flow
                return
            raise
    flow.close()


def _first_lookups(commit: Flow) -> Flow:
    """Yield the steps of `commit`, the lookups until the state shows the resume, up to the first pause."""
    result = None
    with suppress(StopIteration):
        while not isinstance(step := commit.send(result), Pause):
            result = yield step
    commit.close()


class RecordedBackend:
    """A backend that responds with recorded answers.

    A request after the resume that has no recorded answer is assumed to succeed.
    """

    assumes = False

    def __init__(self, resume: Resume, answers: RecordedAnswers) -> None:
        mode = MODES[resume.mode]
        self._answers = [answer for answer in answers if answer.get("mode", mode) == mode]
        self._thread = resume.thread_id
        self._body = b""
        self._uncontested = Uncontested()
        self._sent = False
        self._pending: tuple[Interrupt, ...] = ()
        self._used: set[int] = set()
        """Positions of the answers that were returned: two of them may be equal."""

    def lookup(self, flow: Lookup[Any]) -> Lookup[Any]:
        """Run a lookup on the recording. A thread without responses for the time after the resume becomes idle."""
        found = yield from flow
        if not self._sent:
            self._pending = found.interrupts
        elif found.interrupts == self._pending:
            return replace(found, status="idle", interrupts=(), answered=(), breakpoint=False)
        return found

    def answer(self, step: Step) -> Any:
        """Return the recorded result of a step."""
        match step:
            case Ask(requests):
                return tuple(self.to(request) for request in requests)
            case ReadUntilIdle(request):
                return self.to(request)
            case Send(request) | Join(request):
                response = self.to(request)
                self._sent = True
                self._body = response.body
                return Response(response.status, response.headers)
            case ReadBody() | ReadEvents():
                return self._body
            case Drain(reframer):
                reframer.feed(self._body)
                reframer.finish()
                return None
            case ReadLedger():
                entries: list[Any] = next((answer["ledger"] for answer in self._answers if "ledger" in answer), [])
                return [Entry(entry["facts"], entry.get("contents")) for entry in self._filled(entries)]
            case _:
                return self._uncontested.answer(step)

    def to(self, request: Request) -> Response:
        """Return the response to a request. Raises `ConfigurationError` if there is none."""
        line = f"{request.method} {request.target}"
        for exact in (True, False):
            matching = [
                number
                for number, answer in enumerate(self._answers)
                if _matches(self._filled(answer.get("request", ""), in_path=True), line, exact=exact)
            ]
            if matching:
                number = next((number for number in matching if number not in self._used), matching[-1])
                self._used.add(number)
                answer = self._answers[number]
                body = self._filled(answer.get("body"))
                raw = body if isinstance(body, str) else json.dumps(body)
                headers = tuple((name.lower(), value) for name, value in answer.get("headers", {}).items())
                return Response(answer.get("status", 200), headers, raw.encode())
        if self._sent:
            self.assumes = True
            return Response(200, (), b"{}")
        raise ConfigurationError(
            f"The recording has no response to {line}: pass the responses of your server with --answers FILE."
        )

    def _filled(self, value: Any, *, in_path: bool = False) -> Any:
        """Return a value with `{thread_id}` replaced by this thread's id."""
        thread = quote(self._thread, safe="") if in_path else self._thread
        if isinstance(value, str):
            return value.replace("{thread_id}", thread)
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, dict):
            return {self._filled(key): self._filled(item) for key, item in value.items()}
        return value


def _matches(recorded: str, line: str, *, exact: bool) -> bool:
    """True if a request line equals the recorded one; without `exact`, the query may differ."""
    return recorded == line if exact else recorded.partition("?")[0] == line.partition("?")[0]
