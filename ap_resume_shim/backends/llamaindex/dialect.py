"""LlamaIndex's workflow server: the answer is an event that is posted to the run.

The server has no status for a waiting run. It accepts an event at any time, and responds 200 before any step has
received it. An event for a run that does not wait for it is lost, and a second event is received as well. So the shim
reads the run's log before it sends the event, and again afterwards.

The server keeps the log's stream open as long as the run is active, and sends all existing entries at once. The shim
reads until no more bytes arrive.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from ap_resume_shim.backends.llamaindex.answer import AnswerClasses, Kind, accepted_kinds
from ap_resume_shim.backends.llamaindex.conventions import PostedEvent
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
"""Seconds without a byte after which the run counts as not writing (`_GLANCE`), and the log as complete (`_QUIET`)."""


@dataclass(frozen=True, slots=True)
class LlamaIndexContext:
    """The handler, the log and the accepted events of an active run. A run that has ended has no context."""

    handler: dict[str, Any]
    log: Log
    kinds: list[Kind]
    """The classes of events that the workflow accepts from outside."""


class LlamaIndex(Dialect[LlamaIndexContext | None]):
    """`POST /events/{handler_id}`."""

    name = "llamaindex"
    family = "an event to the waiting run"
    thread_is = "The handler's id: any string, case-sensitive."
    response_kinds = dict.fromkeys(Mode, "run")
    options = {
        "event": "class of the event that carries the answer, or one for each class of questions: "
        "`Question:Answer, ...`; default: the only class that the workflow accepts from outside",
        "field": "field of that event for the answer; with `*` the answer is an object of all fields; default: "
        "its only field, `response` if it declares none, and `*` if it declares several",
        "echo": "fields that are copied from the question to the answer: `name, ...`",
    }
    limits = (
        "A resume answers one question, and only if no other question waits for an event of the same class.",
        "While any step of a run works, its questions cannot be answered.",
        "A client that rejoins the stream of a run receives only new events.",
        "Streams have no `messages`: events that a workflow writes are sent as `custom`.",
    )
    unlisted = "This server lists running workflows, whether they wait or work: read a handler by its id."
    unsupported = frozenset({"webhook", "config"})
    acceptance_unproven = True
    interrupt_id_form = QUESTION_ID

    def __init__(self, event: str = "", field: str = "", echo: str = "") -> None:
        """Read the options; `options` describes them. Raises `ConfigurationError` for an invalid `event`."""
        self._answer_classes, self._field = AnswerClasses(event), field.strip()
        self._echo = [name.strip() for name in echo.split(",") if name.strip()]
        self.conventions = (PostedEvent(self._classes),)

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[LlamaIndexContext | None]:
        """Read the handler, the log of an active run, and for a waiting run the events that its workflow accepts."""
        requested = resume.body.agent_id if full else None
        handler = yield from _handler(resume)
        workflow = handler["workflow_name"]
        if requested not in (None, workflow):
            yield from _refuse_agent(requested, workflow)
        if handler["status"] != "running":
            return _found(handler)
        log = yield from self._log(resume)
        if log.over:
            return _found((yield from _handler(resume)))
        kinds: list[Kind] = []
        moving = False
        if full and log.waits:
            kinds, now = yield from _kinds(resume, workflow, log)
            moving = now != handler  # its `updated_at` is the time at which the run started to wait
        return replace(
            _found(handler),
            status="interrupted" if log.waits else "busy",
            moving=moving,
            past_ids=frozenset(id_of(handler["run_id"], number) for number in log.numbers),
            interrupts=tuple(question.interrupt(handler["run_id"]) for question in log.open_questions),
            context=LlamaIndexContext(handler, log, kinds),
        )

    def _log(self, resume: Resume) -> Steps[Log]:
        """Read the whole log, unless the run is writing to it: such a run might write without a pause.

        A busy server may pause in the middle of a log, so the shim repeats the request until it returns nothing new.
        """
        log = Log(self._answer_classes.of)
        yield from _read_log(resume, log, "now", _GLANCE)
        if log.last >= 0 and not log.waits and not log.over:
            return log
        log, previous = Log(self._answer_classes.of), None
        while previous != log.last and not log.over:
            previous = log.last
            yield from _read_log(resume, log, previous, _QUIET)
        return log

    def check(self, resume: Resume, found: Found[LlamaIndexContext | None], verdict: Decision) -> None:
        """Refuse several answers, an unknown class, and a class for which another question waits, too."""
        name = self._event(found, verdict)["type"]
        if [self._class(found, question) for question in _waiting(found).log.open_questions].count(name) > 1:
            raise AmbiguousInterrupt(
                f"Several questions wait for events of the class {name!r}, and the server may deliver one event to all "
                "of them: when it unloads a run, it forgets their other conditions. Let each wait for a class of its "
                "own.",
                found.interrupts,
            )

    def prepare(
        self, resume: Resume, found: Found[LlamaIndexContext | None], verdict: Decision
    ) -> Steps[tuple[Found[LlamaIndexContext | None], Decision]]:
        """Select the question that is answered."""
        yield from ()
        answered = _answered(found, verdict).interrupt(str(found.run_id))
        return replace(found, interrupts=(answered,)), verdict

    def resume(self, resume: Resume, found: Found[LlamaIndexContext | None], verdict: Decision) -> Request:
        """Build the request that posts the event, with its class and its fields."""
        return Request.post(f"/events/{segment(resume.thread_id)}", {"event": self._event(found, verdict)})

    def refusal(self, response: Response) -> ResumeError:
        """Read an error status, such as 400 for an event that its class rejects."""
        return read_refusal(response, _RULES)

    def explain_unconsumed(
        self, found: Found[LlamaIndexContext | None], now: Found[LlamaIndexContext | None]
    ) -> ResumeError | None:
        """Explain a lost event: the log reports that no step accepted it, or the run itself may be lost.

        Python's garbage collector may remove a waiting run from the server's memory. The server still responds 200 to
        an event for such a run, and for a released run whose stored state it cannot read.
        """
        if _waiting(now).log.unhandled > _waiting(found).log.last:
            return ResumeNotConsumed(
                "No step of the run accepts this answer: it waits for another class of events, or for other contents "
                "of the event. The question is still pending: send an answer that it accepts.",
                {"resume_state": "not_sent"},
            )
        return ResumeNotConsumed(
            "The server accepted the answer, but the run does not continue: the server may have lost it, see its log. "
            "Read the run before you answer again.",
            {"resume_state": "unknown"},
        )

    def started(
        self, response: Response, body: bytes, resume: Resume, found: Found[LlamaIndexContext | None]
    ) -> Started[LlamaIndexContext | None] | None:
        """Return the run that waited; its id does not change."""
        handler = _waiting(found).handler
        return Started(handler["run_id"], handler["workflow_name"], handler["started_at"], context=found.context)

    def cancel(self, resume: Resume, started: Started[LlamaIndexContext | None]) -> Request | None:
        """Cancel the run; the server keeps its handler."""
        return Request.post(_path(resume) + "/cancel")

    def join(self, resume: Resume, started: Started[LlamaIndexContext | None]) -> Request | None:
        """Stream the log after the question; if the log was not read, only new entries."""
        return _events(resume, "now" if started.context is None else started.context.log.last)

    def location(self, resume: Resume, started: Started[LlamaIndexContext | None]) -> str | None:
        """`/handlers/{handler_id}`."""
        return _path(resume)

    def run(self, resume: Resume, started: Started[LlamaIndexContext | None]) -> Request | None:
        """Read the handler."""
        return Request.get(_path(resume))

    def has_ended(self, response: Response) -> bool:
        """True unless `status` is `running`. A run that waits for input also reports `running`."""
        handler = response.json
        return not isinstance(handler, dict) or handler.get("status") != "running"

    def delete(self, resume: Resume) -> Request | None:
        """Delete the handler, which is everything that the server stores of a thread."""
        return Request.post(_path(resume) + "/cancel?purge=true")

    def reframer(self, resume: Resume, started: Started[LlamaIndexContext | None]) -> Reframer:
        """Return a reframer that continues the log from the last entry that was read."""
        log = Log(self._answer_classes.of) if started.context is None else deepcopy(started.context.log)
        return LlamaIndexStream(Emitter(resume.body.stream_modes), log, started.run_id)

    def _event(self, found: Found[LlamaIndexContext | None], verdict: Decision) -> dict[str, Any]:
        question = _answered(found, verdict)
        assert isinstance(verdict, Answers)
        (answer,) = verdict.values
        name = self._class(found, question)
        kind = next((kind for kind in _waiting(found).kinds if kind.name == name), Kind(name, {}))
        echo = {field: value for field, value in (question.value or {}).items() if field in self._echo}
        return {"type": name, "value": {**echo, **kind.fields(answer, self._field, echo)}}

    def _classes(self, found: Found[LlamaIndexContext | None], question: LlamaIndexQuestion) -> tuple[str, ...]:
        """Return the classes of events that may answer a question: the one in the option, or those that it accepts."""
        configured = self._answer_classes.of(question.kind)
        return tuple(kind.name for kind in _waiting(found).kinds) if configured is None else (configured,)

    def _class(self, found: Found[LlamaIndexContext | None], question: LlamaIndexQuestion) -> str:
        """Return the class of the event that answers a question.

        Raises `UpstreamUnrecognised` if the option does not name it and the workflow accepts none, or several.
        """
        names = self._classes(found, question)
        if len(names) == 1:
            return names[0]
        takes = f"accepts several: {', '.join(names)}" if names else "declares none that it accepts"
        raise UpstreamUnrecognised(
            f"It is unknown which event answers a question of the workflow {found.agent_id!r}: it {takes}. Set it "
            "in the option `event` of the backend, and in `additional_events` where the app adds the workflow.",
            {"resume_state": "not_sent"},
        )


def _waiting(found: Found[LlamaIndexContext | None]) -> LlamaIndexContext:
    """Return the context of an active run. A waiting run is active."""
    assert found.context is not None, "a waiting run has a context"
    return found.context


def _path(resume: Resume) -> str:
    return f"/handlers/{segment(resume.thread_id)}"


def _events(resume: Resume, after: int | str) -> Request:
    """Return the request for the log after an entry, as SSE, because only SSE includes the numbers of entries."""
    query = f"after_sequence={after}&include_internal=true&include_qualified_name=false"
    return Request("GET", f"/events/{segment(resume.thread_id)}?{query}", accept="text/event-stream")


def _read_log(resume: Resume, log: Log, after: int | str, quiet: float) -> Steps[None]:
    """Add the entries that the server sends until `quiet` seconds pass without a byte.

    With `after="now"`, only the first new entry.
    """
    answer = yield from ReadUntilIdle(_events(resume, after), quiet, lambda read: after == "now" and b"data:" in read)
    if not answer.ok:
        raise read_refusal(answer, _RULES)
    for event in sse.Decoder().feed(answer.body):
        if event.data is not None:  # ": heartbeat"
            log.add(*read(event))


def _handler(resume: Resume) -> Steps[dict[str, Any]]:
    """Read the handler. The server sends it with status 500 if its run failed or was cancelled."""
    (answer,) = yield from Ask((Request.get(_path(resume)),))
    handler = answer.json
    if isinstance(handler, dict) and handler.get("status") in _STATUS:
        return handler
    raise (
        UpstreamUnrecognised("The backend's response is not a handler.") if answer.ok else read_refusal(answer, _RULES)
    )


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
    """Return the classes of events that a workflow accepts, and read the handler again."""
    paths = [f"/workflows/{segment(workflow)}/{name}" for name in ("representation", "events")]
    graph, events, handler = yield from Ask(tuple(Request.get(path) for path in (*paths, _path(resume))))
    return accepted_kinds(read_lookup(graph)["graph"], read_lookup(events)["events"], log.kinds), handler.json


def _answered(found: Found[LlamaIndexContext | None], verdict: Decision) -> LlamaIndexQuestion:
    """Return the question that is answered. Raises `MultipleInterrupts` for several answers."""
    assert isinstance(verdict, Answers), "this server has neither breakpoints nor retries of steps"
    if len(verdict.by_id) > 1:
        raise MultipleInterrupts("An event answers one question: answer one of them at a time.", found.interrupts)
    (answered,) = verdict.by_id
    questions = _waiting(found).log.open_questions
    return next(question for question in questions if question.interrupt(str(found.run_id)).id == answered)


def _refuse_agent(wanted: str | None, workflow: str) -> Steps[None]:
    (answer,) = yield from Ask((Request.get("/workflows"),))
    if wanted not in read_lookup(answer)["workflows"]:
        raise AgentNotFound(f"The backend has no workflow {wanted!r}: leave `agent_id` out to use the run's own.")
    raise InvalidRequest(
        f"The run belongs to the workflow {workflow!r}, not to {wanted!r}. Leave `agent_id` out.",
        {"field": "agent_id"},
    )
