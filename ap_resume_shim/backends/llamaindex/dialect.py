"""LlamaIndex's workflow server: an answer is an event that is posted to the run.

The server has no status for a run that waits, takes an event at any time, and says 200 before anything has become of
it: to a run that does not wait for it, an event is lost; two of them are taken twice. So the run's log decides, before
the event is sent and after.

The log stays open as long as the run does. What it holds comes at once: it is read until nothing more comes.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from ap_resume_shim.backends.llamaindex.answer import AnswerClasses, Kind, taken
from ap_resume_shim.backends.llamaindex.event_log import QUESTION_ID, LlamaIndexQuestion, Log, id_of, read
from ap_resume_shim.backends.llamaindex.stream import CANCELLED, LlamaIndexStream, values
from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Answers, Decision, Dialect, Found, Lookup, Started, ThreadStatus
from ap_resume_shim.core.dialect_helpers import Rule, read_lookup, read_refusal
from ap_resume_shim.core.errors import (
    AgentNotFound,
    AmbiguousInterrupt,
    InvalidRequest,
    MultipleInterrupts,
    ResumeError,
    ResumeNotConsumed,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.event_emitter import Emitter
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps import Ask, ReadUntilIdle, Steps

_STATUS: dict[str, ThreadStatus] = {"running": "busy", "completed": "idle", "failed": "error", "cancelled": "error"}
_RULES = (
    Rule(409, "thread_not_interrupted"),  # "Workflow already completed"
    Rule(422, "upstream_error"),  # "Stored handler result cannot be decoded"
)
_GLANCE, _QUIET = 0.05, 0.1
"""Seconds without a byte: after which nothing is logged just now, and after which the log is taken to be read."""


@dataclass(frozen=True, slots=True)
class LlamaIndexContext:
    """What a lookup saw of a run that goes on; of others there is none."""

    handler: dict[str, Any]
    log: Log
    kinds: list[Kind]
    """The classes of events that the workflow takes from outside."""


class LlamaIndex(Dialect[LlamaIndexContext | None]):
    """`POST /events/{handler_id}`."""

    name = "llamaindex"
    family = "an event to the run that waits"
    thread_is = "The handler's id: any string, case-sensitive."
    response_kinds = dict.fromkeys(Mode, "run")
    options = {
        "event": "the class of the event that is the answer, or one for each class of questions: "
        "`Question:Answer, ...`; by default the only one that the workflow takes from outside",
        "field": "the field of that event for the answer; with `*` the answer is an object of all fields; by default "
        "its only field, `response` where it declares none, and `*` where it declares several",
        "echo": "fields that the answer takes from its question: `name, ...`",
    }
    limits = (
        "Of several questions, one is answered at a time, and only if no other waits for an event of the same class.",
        "While any step of a run works, its questions cannot be answered.",
        "Who asks again for the stream of a run gets what comes from then on.",
        "Streams have no `messages`: what a workflow writes is told as `custom`.",
    )
    unsupported = frozenset({"webhook", "config"})
    acceptance_unproven = True
    interrupt_id_form = QUESTION_ID

    def __init__(self, event: str = "", field: str = "", echo: str = "") -> None:
        """See `options`."""
        self._named, self._field = AnswerClasses(event), field.strip()
        self._echo = [name.strip() for name in echo.split(",") if name.strip()]

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup[LlamaIndexContext | None]:
        """The handler; its log while it runs; and where it waits, which events its workflow takes."""
        wanted = resume.body.agent_id if agent else None
        handler = yield from _handler(resume)
        workflow = handler["workflow_name"]
        if wanted not in (None, workflow):
            yield from _refuse_agent(wanted, workflow)
        if handler["status"] != "running":
            return _found(handler)
        log = yield from self._log(resume)
        if log.over:
            return _found((yield from _handler(resume)))
        kinds: list[Kind] = []
        moving = False
        if agent and log.waits:
            kinds, now = yield from _kinds(resume, workflow, log)
            moving = now != handler  # its `updated_at` is the moment at which the run began to wait
        return replace(
            _found(handler),
            status="interrupted" if log.waits else "busy",
            moving=moving,
            past_ids=frozenset(id_of(handler["run_id"], number) for number in log.numbers),
            interrupts=tuple(question.interrupt(handler["run_id"]) for question in log.asked),
            context=LlamaIndexContext(handler, log, kinds),
        )

    def _log(self, resume: Resume) -> Steps[Log]:
        """All of it, unless the run writes just now: it might go on without a pause.

        A server that is busy may pause in the midst of a log. So it is read on, until a request brings nothing more.
        """
        log = Log(self._named.of)
        yield from _read_on(resume, log, "now", _GLANCE)
        if log.last >= 0 and not log.waits and not log.over:
            return log
        log, known = Log(self._named.of), None
        while known != log.last and not log.over:
            known = log.last
            yield from _read_on(resume, log, known, _QUIET)
        return log

    def check(self, resume: Resume, found: Found[LlamaIndexContext | None], verdict: Decision) -> None:
        """One answer, of a class that is known, and that no other question waits for."""
        name = self._event(found, verdict)["type"]
        if [self._class(found, question) for question in _waiting(found).log.asked].count(name) > 1:
            raise AmbiguousInterrupt(
                f"Several questions wait for events of the class {name!r}, and the server may give one event to all of "
                "them: when it puts a run away, it forgets what else they require. Let each wait for a class of its "
                "own.",
                found.interrupts,
            )

    def prepare(
        self, resume: Resume, found: Found[LlamaIndexContext | None], verdict: Decision
    ) -> Steps[tuple[Found[LlamaIndexContext | None], Decision]]:
        """From here on it is about one question."""
        yield from ()
        answered = _answered(found, verdict).interrupt(str(found.run_id))
        return replace(found, interrupts=(answered,)), verdict

    def resume(self, resume: Resume, found: Found[LlamaIndexContext | None], verdict: Decision) -> Request:
        """The event, by its class and its fields."""
        return Request.post(f"/events/{segment(resume.thread_id)}", {"event": self._event(found, verdict)})

    def refusal(self, response: Response) -> ResumeError:
        """400 for an event that its class refuses."""
        return read_refusal(response, _RULES)

    def explain_unconsumed(
        self, found: Found[LlamaIndexContext | None], now: Found[LlamaIndexContext | None]
    ) -> ResumeError | None:
        """The log says that nothing took the event; or it says nothing, and the run itself may be lost.

        The server holds a run that waits so weakly that Python's garbage collector may take it, and says 200 to an
        event for it all the same; so it does where it cannot read what it has stored of a run that it put away.
        """
        if _waiting(now).log.unhandled > _waiting(found).log.last:
            return ResumeNotConsumed(
                "No step of the run takes this answer: it waits for another class of events, or for one that has what "
                "the answer lacks. The question is still open: answer it again, with what it requires.",
                {"resume_state": "not_sent"},
            )
        return ResumeNotConsumed(
            "The server took the answer, and the run does not go on: the server may have lost it, see its log. Read "
            "the run before you answer again.",
            {"resume_state": "unknown"},
        )

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[LlamaIndexContext | None]
    ) -> Started[LlamaIndexContext | None] | None:
        """The run that waited goes on."""
        handler = _waiting(found).handler
        return Started(handler["run_id"], handler["workflow_name"], handler["started_at"], context=found.context)

    def cancel(self, resume: Resume, started: Started[LlamaIndexContext | None]) -> Request | None:
        """Ends the run; what is known of it stays."""
        return Request.post(_path(resume) + "/cancel")

    def join(self, resume: Resume, started: Started[LlamaIndexContext | None]) -> Request | None:
        """What is logged behind the question; where that is not known, what is logged from now on."""
        return _events(resume, "now" if started.context is None else started.context.log.last)

    def location(self, resume: Resume, started: Started[LlamaIndexContext | None]) -> str | None:
        """The handler."""
        return _path(resume)

    def run(self, resume: Resume, started: Started[LlamaIndexContext | None]) -> Request | None:
        """The handler."""
        return Request.get(_path(resume))

    def has_ended(self, response: Response) -> bool:
        """Over; that it waits is not told."""
        handler = response.json
        return not isinstance(handler, dict) or handler.get("status") != "running"

    def delete(self, resume: Resume) -> Request | None:
        """The handler is all that is kept of a thread."""
        return Request.post(_path(resume) + "/cancel?purge=true")

    def reframer(self, resume: Resume, started: Started[LlamaIndexContext | None]) -> Reframer:
        """The log goes on from where it was read."""
        log = Log(self._named.of) if started.context is None else deepcopy(started.context.log)
        return LlamaIndexStream(Emitter(resume.body.stream_modes), log, started.run_id)

    def _event(self, found: Found[LlamaIndexContext | None], verdict: Decision) -> dict[str, Any]:
        question = _answered(found, verdict)
        assert isinstance(verdict, Answers)
        (answer,) = verdict.values
        name = self._class(found, question)
        kind = next((kind for kind in _waiting(found).kinds if kind.name == name), Kind(name, {}))
        echo = {field: value for field, value in (question.value or {}).items() if field in self._echo}
        return {"type": name, "value": {**echo, **kind.fields(answer, self._field, echo)}}

    def _class(self, found: Found[LlamaIndexContext | None], question: LlamaIndexQuestion) -> str:
        """The class of the event that answers a question."""
        named = self._named.of(question.kind)
        if named is not None:
            return named
        names = [kind.name for kind in _waiting(found).kinds]
        if len(names) == 1:
            return names[0]
        takes = f"takes several: {', '.join(names)}" if names else "takes none that it declares"
        raise UpstreamUnrecognised(
            f"It cannot be told which event answers a question of the workflow {found.agent_id!r}: it {takes}. Name it "
            "in the option `event` of the backend, and in `additional_events` where the workflow is added.",
            {"resume_state": "not_sent"},
        )


def _waiting(found: Found[LlamaIndexContext | None]) -> LlamaIndexContext:
    """What is known of a run that goes on; one that waits does."""
    assert found.context is not None, "only a run that goes on waits"
    return found.context


def _path(resume: Resume) -> str:
    return f"/handlers/{segment(resume.thread_id)}"


def _events(resume: Resume, after: int | str) -> Request:
    """The log behind an entry. As SSE, since only there the entries have numbers."""
    query = f"after_sequence={after}&include_internal=true&include_qualified_name=false"
    return Request("GET", f"/events/{segment(resume.thread_id)}?{query}", accept="text/event-stream")


def _read_on(resume: Resume, log: Log, after: int | str, quiet: float) -> Steps[None]:
    """Read what the server sends at once; from now on, the first entry alone."""
    answer = yield from ReadUntilIdle(_events(resume, after), quiet, lambda read: after == "now" and b"data:" in read)
    if not answer.ok:
        raise read_refusal(answer, _RULES)
    for event in sse.Decoder().feed(answer.body):
        if event.data is not None:  # ": heartbeat"
            log.take(*read(event))


def _handler(resume: Resume) -> Steps[dict[str, Any]]:
    """The handler, which comes with 500 where its run failed or was cancelled."""
    (answer,) = yield from Ask((Request.get(_path(resume)),))
    handler = answer.json
    if isinstance(handler, dict) and handler.get("status") in _STATUS:
        return handler
    raise UpstreamUnrecognised("The backend's handler is none.") if answer.ok else read_refusal(answer, _RULES)


def _found(handler: dict[str, Any]) -> Found[LlamaIndexContext | None]:
    status, result = handler["status"], handler.get("result")
    return Found(
        _STATUS[status],
        agent_id=handler["workflow_name"],
        values=None if result is None else values(result),
        error=handler.get("error") or (CANCELLED if status == "cancelled" else None),
        updated_at=handler.get("updated_at"),
        run_id=handler["run_id"],
        context=None,
    )


def _kinds(resume: Resume, workflow: str, log: Log) -> Steps[tuple[list[Kind], Any]]:
    """The classes of events that a workflow takes, and the handler once more."""
    paths = [f"/workflows/{segment(workflow)}/{name}" for name in ("representation", "events")]
    graph, events, handler = yield from Ask(tuple(Request.get(path) for path in (*paths, _path(resume))))
    return taken(read_lookup(graph)["graph"], read_lookup(events)["events"], log.kinds), handler.json


def _answered(found: Found[LlamaIndexContext | None], verdict: Decision) -> LlamaIndexQuestion:
    """The one question that is answered."""
    assert isinstance(verdict, Answers), "there are neither breakpoints nor steps that are retried"
    if len(verdict.by_id) > 1:
        raise MultipleInterrupts("An event answers one question: answer one of them at a time.", found.interrupts)
    (answered,) = verdict.by_id
    questions = _waiting(found).log.asked
    return next(question for question in questions if question.interrupt(str(found.run_id)).id == answered)


def _refuse_agent(wanted: str | None, workflow: str) -> Steps[None]:
    (answer,) = yield from Ask((Request.get("/workflows"),))
    if wanted not in read_lookup(answer)["workflows"]:
        raise AgentNotFound(f"The backend knows no workflow {wanted!r}: leave `agent_id` out to use the run's own.")
    raise InvalidRequest(
        f"The run is one of the workflow {workflow!r}, not of {wanted!r}. Leave `agent_id` out.",
        {"field": "agent_id"},
    )
