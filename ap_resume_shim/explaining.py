"""What a resume would send, without sending anything: the flow, played against answers that were recorded.

A rehearsal is a list of answers, as JSON: `{"request": "GET /threads/{thread_id}", "status": 200, "body": …}`, perhaps
with `headers` and the `mode` it is for, and `{"ledger": [{"facts": …, "contents": …}]}` for what the ledger would
know. `{thread_id}` stands for the thread of the request. Of several answers to a request, each is given once, and the
last one from then on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from ap_resume_shim.core.dialect import Dialect, Found
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.exchange import (
    Answer,
    Ask,
    Begin,
    Consult,
    Drain,
    Entry,
    Flow,
    Join,
    KnownIds,
    Peek,
    ReadBody,
    ReadEvents,
    Repeated,
    Request,
    Response,
    Send,
    Settings,
    Step,
    Uncommitted,
    UncommittedResume,
    Unsettled,
)
from ap_resume_shim.core.flow import admit, resume_flow
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.verdict import judge
from ap_resume_shim.describing import MODES

Rehearsal = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that would be sent."""

    what: str
    """`look`, `resume`, or `follow`."""
    request: Request

    def lines(self) -> Iterator[str]:
        """The request, as HTTP writes it; the client's own header fields go with each."""
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


def rehearsal(name: str) -> Rehearsal | None:
    """The recorded answers of a backend of ours; None where there are none."""
    file = files("ap_resume_shim.backends").joinpath("rehearsals", f"{name}.json")
    return None if not file.is_file() else read_rehearsal(file.read_text("utf-8"), file.name)


def read_rehearsal(text: str, source: str) -> Rehearsal:
    """A rehearsal from its file. Raises `ConfigurationError`."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigurationError(f"{source}: a rehearsal is a list of objects.")
    return value


def explain(resume: Resume, dialect: Dialect, answers: Rehearsal | None) -> Iterator[Sent]:
    """The requests that a resume sends to a thread that waits for one answer. Raises `ResumeError`, as it would.

    Without a rehearsal, what the lookups would tell is assumed, under names such as RUN_ID.
    """
    dialect.thread_key(resume.thread_id)
    if answers is None:
        yield from _assumed(resume, dialect)
        return
    stage = _Stage(resume, answers)
    shown: set[Request] = set()
    for sent in _play(resume_flow(resume, dialect, Settings()), stage):
        if sent.request not in shown:
            shown.add(sent.request)
            yield sent


def _assumed(resume: Resume, dialect: Dialect) -> Iterator[Sent]:
    resume = admit(resume, dialect, lenient=False)
    first = next(dialect.lookup(resume))
    if isinstance(first, Ask):
        yield from (Sent("look", request) for request in first.requests)
    found = Found("interrupted", (Interrupt("INTERRUPT_ID"),), agent_id="AGENT_ID", run_id="RUN_ID")
    verdict = judge(resume, found, dialect)
    dialect.check(resume, found, verdict)
    yield Sent("resume", dialect.resume(resume, found, verdict))


def _play(flow: Flow, stage: _Stage) -> Iterator[Sent]:
    """The requests of a flow, up to its answer."""
    step: Step = next(flow)
    what = "look"
    while not isinstance(step, Answer | Begin):
        match step:
            case Ask(requests):
                yield from (Sent(what, request) for request in requests)
            case Peek(request) | Join(request):
                yield Sent(what, request)
            case Send(request):
                yield Sent("resume", request)
                what = "follow"
            case _:
                pass
        step = flow.send(stage.answer(step))
    flow.close()


class _Stage:
    """The backend that is played."""

    def __init__(self, resume: Resume, answers: Rehearsal) -> None:
        mode = MODES[resume.mode]
        self._answers = [answer for answer in answers if answer.get("mode", mode) == mode]
        self._thread = resume.thread_id
        self._body = b""
        self._given: list[dict[str, Any]] = []

    def answer(self, step: Step) -> Any:
        match step:
            case Ask(requests):
                return tuple(self._to(request) for request in requests)
            case Peek(request):
                return self._to(request)
            case Send(request) | Join(request):
                response = self._to(request)
                self._body = response.body
                return Response(response.status, response.headers)
            case ReadBody() | ReadEvents():
                return self._body
            case Drain(reframer):
                reframer.feed(self._body)
                reframer.finish()
                return None
            case Consult():
                kept: list[Any] = next((answer["ledger"] for answer in self._answers if "ledger" in answer), [])
                return [Entry(entry["facts"], entry.get("contents")) for entry in self._named(kept)]
            case Unsettled() | Repeated():
                return False
            case KnownIds():
                return frozenset()
            case Uncommitted():
                return UncommittedResume()
            case _:
                return None

    def _to(self, request: Request) -> Response:
        line = f"{request.method} {request.target}"
        for exact in (True, False):
            fitting = [
                answer
                for answer in self._answers
                if _same(self._named(answer.get("request", ""), in_path=True), line, exact=exact)
            ]
            if fitting:
                answer = next((answer for answer in fitting if answer not in self._given), fitting[-1])
                self._given.append(answer)
                body = self._named(answer.get("body"))
                raw = body if isinstance(body, str) else json.dumps(body)
                headers = tuple((name.lower(), value) for name, value in answer.get("headers", {}).items())
                return Response(answer.get("status", 200), headers, raw.encode())
        raise ConfigurationError(
            f"The rehearsal has no answer to {line}: give the answers of your server with --answers FILE."
        )

    def _named(self, value: Any, *, in_path: bool = False) -> Any:
        """A value with this thread's name in it."""
        thread = quote(self._thread, safe="") if in_path else self._thread
        if isinstance(value, str):
            return value.replace("{thread_id}", thread)
        if isinstance(value, list):
            return [self._named(item) for item in value]
        if isinstance(value, dict):
            return {self._named(key): self._named(item) for key, item in value.items()}
        return value


def _same(wanted: str, line: str, *, exact: bool) -> bool:
    """Whether a request is the one that was recorded; if need be, with another query."""
    return wanted == line if exact else wanted.partition("?")[0] == line.partition("?")[0]
