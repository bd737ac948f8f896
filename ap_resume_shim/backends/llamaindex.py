"""LlamaIndex's workflow server: an answer is an event that is posted to the run.

The server has no status for a run that waits, takes an event at any time, and answers 200 before anything has become
of it. So everything is read from the run's log of events: `WorkflowIdleEvent` is its last entry when the run waits,
and a step that starts after that was woken up by an event from outside.

The log stays open while the run goes on. What has been logged comes at once: it is read until nothing more comes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Dialect, Found, Input, Lookup, Started, Tells, ThreadStatus, Verdict
from ap_resume_shim.core.errors import (
    AgentNotFound,
    AmbiguousInterrupt,
    ConfigurationError,
    InvalidRequest,
    MultipleInterrupts,
    ResumeError,
    ResumeInProgress,
    UnsupportedInput,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.events import Emitter
from ap_resume_shim.core.exchange import Ask, Ended, Peek, Request, Response, Step, segment
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reading import Rule, read_lookup, read_refusal

_STATUS: dict[str, ThreadStatus] = {"completed": "idle", "failed": "error", "cancelled": "error"}
_RULES = (
    Rule(409, "thread_not_interrupted"),
    Rule(422, "upstream_error"),  # "Stored handler result cannot be decoded"
)
_QUIET = 0.15
"""Seconds without a byte after which the log is taken to be read."""
_RESPONSE = "response"
"""Where the framework's own answer has its value, by its documentation: it declares no field."""


class LlamaIndex(Dialect):
    """`POST /events/{handler_id}`."""

    name = "llamaindex"
    family = "an event to the run that waits"
    thread_is = "The handler's id: any string, case-sensitive."
    tells: dict[Mode, Tells] = {mode: "run" for mode in Mode}
    options = {
        "event": "the class of the event that is the answer; or one for each question, as `Question:Answer, ...`; "
        "by default the only one that the workflow takes from outside",
        "field": "the field of that event for the answer; `*`: the answer is an object of all its fields; by default "
        "its only field, `response` where it declares none, and `*` where it declares several",
        "echo": "fields that the answer repeats from its question, as `name, ...`",
    }
    limits = (
        "Of several questions that wait, one is answered at a time, and only if no other waits for the same event.",
        "An answer is refused while any step of the run still works, though a question is pending.",
        "A client that asks again for the stream of a run gets what comes from then on.",
        "Streams have no `messages`: what a workflow writes is told as `custom`.",
    )
    unsupported = frozenset({"webhook", "config"})
    shows_late = True

    def __init__(self, event: str = "", field: str = "", echo: str = "") -> None:
        """See `options`."""
        self._events = _Events(event)
        self._field, self._echo = field, [name.strip() for name in echo.split(",") if name.strip()]

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup:
        """The handler; its run's log while it runs; and when it waits, which events the workflow takes."""
        wanted = resume.body.agent_id if agent else None
        handler = yield from self._handler(resume)
        if wanted not in (None, handler["workflow_name"]):
            yield from _refuse_agent(wanted, handler["workflow_name"])
        if handler["status"] != "running":
            return _over(handler)
        log = yield from self._log(resume)
        if log.over:
            return _over((yield from self._handler(resume)))
        kinds = []
        if agent and log.waits:
            paths = [f"/workflows/{segment(handler['workflow_name'])}/{name}" for name in ("representation", "events")]
            graph, events = (read_lookup(answer) for answer in (yield Ask(tuple(map(Request.get, paths)))))
            kinds = _taken(graph["graph"], events["events"], {question.kind for question in log.open})
        run_id = handler["run_id"]
        return Found(
            "interrupted" if log.waits else "busy",
            tuple(question.interrupt(run_id) for question in log.asked),
            agent_id=handler["workflow_name"],
            updated_at=handler["updated_at"],
            run_id=run_id,
            memory=_Memory(handler, log, kinds),
        )

    def _handler(self, resume: Resume) -> Generator[Step, Any, dict[str, Any]]:
        """500 is what it answers for a run that failed or was cancelled."""
        (answer,) = yield Ask((Request.get(_path(resume)),))
        handler = answer.json
        if isinstance(handler, dict) and handler.get("status") in ("running", *_STATUS):
            return handler
        raise read_refusal(answer, _RULES)

    def _log(self, resume: Resume) -> Generator[Step, Any, _Log]:
        answer: Response = yield Peek(_events(resume, -1), _QUIET, lambda _: False)
        if not answer.ok:
            raise read_refusal(answer, _RULES)
        log = _Log(self._events)
        for sequence, event in _read(sse.Decoder(), answer.body):
            log.read(sequence, event)
        return log

    def check(self, resume: Resume, found: Found, verdict: Verdict) -> None:
        """One answer, of a kind that is known, to a question that waits for it alone."""
        answered = _answered(found, verdict)
        self._event(found, verdict)
        names = {question.id: self._name(found, question) for question in found.interrupts}
        if list(names.values()).count(names[answered.id]) > 1:
            raise AmbiguousInterrupt(
                f"Several questions wait for the same event, {names[answered.id]!r}, and the server gives it to all of "
                "them: once it has put a run away, it has forgotten what else they asked of it. Let each wait for an "
                "event of its own.",
                found.interrupts,
            )

    def prepare(self, resume: Resume, found: Found, verdict: Verdict) -> Generator[Step, Any, tuple[Found, Verdict]]:
        """See that nothing was logged since; from here on it is about the one question."""
        answer: Response = yield Peek(_events(resume, found.memory.log.last), _QUIET, _anything)
        if answer.status != 200 or _anything(answer.body):
            raise ResumeInProgress(
                "The run went on while this resume was looked at. Read the question before you answer it."
            )
        return replace(found, interrupts=(_answered(found, verdict),)), verdict

    def resume(self, resume: Resume, found: Found, verdict: Verdict) -> Request:
        """The event, by its class and its fields."""
        return Request.post(f"/events/{segment(resume.thread_id)}", {"event": self._event(found, verdict)})

    def refusal(self, response: Response) -> ResumeError:
        """409 "Workflow already completed"; 400 for an event that its class refuses."""
        return read_refusal(response, _RULES)

    def started(self, response: Response, body: bytes, resume: Resume, found: Found) -> Started | None:
        """The run that waited goes on under its own name."""
        handler: dict[str, Any] = found.memory.handler
        return Started(handler["run_id"], handler["workflow_name"], handler["started_at"], memory=found.memory)

    def cancel(self, resume: Resume, started: Started) -> Request | None:
        """Ends the run; its handler stays."""
        return Request.post(_path(resume) + "/cancel")

    def join(self, resume: Resume, started: Started) -> Request | None:
        """What was logged after the question; without knowledge of that, what is logged from now on."""
        return _events(resume, "now" if started.memory is None else started.memory.log.last)

    def location(self, resume: Resume, started: Started) -> str | None:
        """The handler."""
        return _path(resume)

    def run(self, resume: Resume, started: Started) -> Request | None:
        """The handler."""
        return Request.get(_path(resume))

    def has_ended(self, response: Response) -> bool:
        """It does not tell whether the run waits."""
        handler = response.json
        return not isinstance(handler, dict) or handler.get("status") != "running"

    def delete(self, resume: Resume) -> Request | None:
        """The handler is a thread's only record."""
        return Request.post(_path(resume) + "/cancel?purge=true")

    def reframer(self, resume: Resume, started: Started) -> Events:
        """The log's new entries, until the run waits again or is over."""
        return Events(Emitter(resume.body.stream_modes), _Log(self._events), started.run_id)

    def _event(self, found: Found, verdict: Verdict) -> dict[str, Any]:
        assert isinstance(verdict, Input), "there are neither breakpoints nor steps that are retried"
        (value,) = verdict.values
        question = _answered(found, verdict)
        kind = _kind(found, self._name(found, question))
        repeated = {name: item for name, item in question.value["value"].items() if name in self._echo}
        return {"type": kind.name, "value": {**repeated, **kind.fields(value, self._field, repeated)}}

    def _name(self, found: Found, question: Interrupt) -> str:
        """The class of the event that answers a question."""
        named = self._events.of(question.value["type"])
        if named is not None:
            return named
        known: list[_Kind] = found.memory.kinds
        if len(known) == 1:
            return known[0].name
        if known:
            several = ", ".join(kind.name for kind in known)
            why = f"takes several ({several}): name the one that answers in the option `event` of the backend"
        else:
            why = "declares none: name its class in `add_workflow(..., additional_events=[...])`"
        raise UpstreamUnrecognised(
            f"It cannot be told which event answers the question. The workflow {found.agent_id!r} {why}.",
            {"resume_state": "not_sent"},
        )


class _Events:
    """The option `event`: a class for all questions, or `Question:Answer` for those that are named."""

    def __init__(self, option: str) -> None:
        self._default: str | None = None
        self._by_question: dict[str, str] = {}
        for item in option.split(",") if option.strip() else ():
            question, colon, answer = (part.strip() for part in item.partition(":"))
            if not question or (colon and not answer) or (not colon and self._default):
                raise ConfigurationError(
                    "The option `event` of the backend 'llamaindex' is the name of a class, or `Question:Answer, ...`, "
                    f"not {option!r}."
                )
            if colon:
                self._by_question[question] = answer
            else:
                self._default = question

    def of(self, question: str) -> str | None:
        """The class that answers questions of this class, where that was told."""
        return self._by_question.get(question, self._default)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A class of events that a workflow takes from outside."""

    name: str
    schema: dict[str, Any]

    def fields(self, answer: Any, field: str, repeated: Iterable[str]) -> dict[str, Any]:
        """The event's value: the answer in its field, or the answer itself where it is all fields."""
        declared: dict[str, Any] = self.schema.get("properties") or {}
        open_ = [name for name in declared if name not in repeated]
        field = field or (_RESPONSE if not declared else open_[0] if len(open_) == 1 else "*")
        fields = {field: answer} if field != "*" else answer
        if not isinstance(fields, dict):
            raise UnsupportedInput(f"The event {self.name!r} takes an object of its fields: {', '.join(declared)}.")
        missing = set(self.schema.get("required") or ()) - set(fields) - set(repeated)
        if missing:
            raise UnsupportedInput(f"The event {self.name!r} needs {', '.join(sorted(missing))} as well.")
        for name, value in fields.items():
            if name.startswith("_"):
                raise UnsupportedInput(f"A field {name!r} would not arrive: the framework has its own use for it.")
            if not _fits(value, declared.get(name, {})):
                raise UnsupportedInput(
                    f"The field {name!r} of the event {self.name!r} is of type {declared[name]['type']}: the server "
                    "would change the value, or refuse it."
                )
        return fields


_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value is of the declared type: the server would make true of "yes", and 5 of "5"."""
    kind = schema.get("type")
    if kind not in _TYPES:
        return any(_fits(value, one) for one in schema["anyOf"]) if "anyOf" in schema else True
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return False
    return kind != "array" or all(_fits(item, schema.get("items") or {}) for item in value)


@dataclass(frozen=True, slots=True)
class _Question:
    """An event that asks, or (of kind "") the silence of a run that waits and has asked nothing."""

    sequence: int
    kind: str
    value: dict[str, Any]
    step: str | None
    """The step that asked, where the log tells."""

    def interrupt(self, run_id: str) -> Interrupt:
        """A handler's next run counts from 0 again: the run belongs to the id."""
        return Interrupt(f"{run_id}:{self.sequence}", {"type": self.kind, "value": self.value})


class _Log:
    """What the events of a run tell, read in order."""

    def __init__(self, answers: _Events) -> None:
        self.last = -1
        """The sequence number of the newest entry."""
        self.over = False
        self.open: list[_Question] = []
        """Questions that were asked and not answered."""
        self._answers = answers
        self._idle: int | None = None
        self._running: dict[tuple[str, str], int] = {}
        self._stopped: str | None = None

    @property
    def waits(self) -> bool:
        """Whether nothing goes on before an event comes from outside."""
        return self._idle is not None and not self.over

    @property
    def asked(self) -> list[_Question]:
        """The open questions; of a run that waits without any, its silence."""
        return self.open or ([_Question(self._idle, "", {}, None)] if self._idle is not None else [])

    def read(self, sequence: int, event: dict[str, Any]) -> None:
        """Take the next entry."""
        self.last = sequence
        if _is(event, "StopEvent"):
            self.over = True
        elif _is(event, "InputRequiredEvent"):
            self._ask(sequence, event)
            return
        elif event["type"] == "WorkflowIdleEvent":
            self._idle = sequence if self._idle is None else self._idle
        elif event["type"] == "StepStateChanged":
            self._step(sequence, event["value"])
            return
        self._stopped = None

    def _step(self, sequence: int, change: dict[str, Any]) -> None:
        step, worker = change["name"], (change["name"], change["worker_id"])
        if change["step_state"] == "not_running":
            self._running.pop(worker, None)
            self._stopped = step
            return
        if self._idle is not None:
            self._answer(step, change["input_event_name"])
        self._idle = self._stopped = None
        self._running.setdefault(worker, sequence)

    def _ask(self, sequence: int, event: dict[str, Any]) -> None:
        """A step that stops with a question logs that it stopped first. One that writes it goes on.

        And a step that wrote a question runs again from its beginning with the answer, and may write it again: of
        what it writes in one go, it waits for the answer to the last.
        """
        step = self._stopped
        if step is None and len(self._running) == 1:
            (((step, _), since),) = self._running.items()
            self.open = [asked for asked in self.open if asked.step != step or asked.sequence < since]
        self.open.append(_Question(sequence, event["type"], _fields(event), step))

    def _answer(self, step: str, event: str) -> None:
        """An event from outside woke a step up: one that waited in its middle, or one that takes the event."""
        own = [asked for asked in self.open if asked.step == step]
        if not own:
            own = [asked for asked in self.open if self._answers.of(asked.kind) in (None, event)]
        if len(own) == 1:
            self.open.remove(own[0])


@dataclass(frozen=True, slots=True)
class _Memory:
    """What a lookup saw of a run that goes on."""

    handler: dict[str, Any]
    log: _Log
    kinds: list[_Kind]


class Events:
    """The log's entries as the draft's events."""

    def __init__(self, emitter: Emitter, log: _Log, run_id: str) -> None:
        self._decoder, self._emitter, self._log, self._run_id = sse.Decoder(), emitter, log, run_id
        self._ended = Ended()

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; give the events that they complete."""
        told = b""
        for sequence, event in _read(self._decoder, chunk):
            self._log.read(sequence, event)
            told += self._told(event)
            if self.over:
                break
        return told

    def finish(self) -> bytes:
        """Nothing is held back."""
        return b""

    @property
    def between_events(self) -> bool:
        """Events are written whole."""
        return True

    @property
    def over(self) -> bool:
        """Whether the run waits again, or is over."""
        return self._log.over or self._log.waits

    def ended(self) -> Ended:
        """By the last event."""
        return self._ended

    def _told(self, event: dict[str, Any]) -> bytes:
        if self._log.over:
            return self._stopped(event)
        if event["type"] == "WorkflowIdleEvent":
            return self._emitter.interrupted(question.interrupt(self._run_id) for question in self._log.asked)
        if event["type"] == "StepStateChanged":
            return self._step(event["value"])
        if _is(event, "InternalDispatchEvent") or _is(event, "InputRequiredEvent"):
            return b""
        return self._emitter.custom({"type": event["type"], "value": _fields(event)})

    def _step(self, change: dict[str, Any]) -> bytes:
        """A step that has ended names the class of what it gave; the event itself is not in the log."""
        if change["step_state"] != "not_running":
            return b""
        gave = str(change["output_event_name"] or "").rstrip("'>").rpartition(".")[2]
        return self._emitter.update(change["name"], {"event": gave or None})

    def _stopped(self, event: dict[str, Any]) -> bytes:
        error = _error(event)
        if error is not None:
            self._ended = Ended(error=error)
            return self._emitter.error(error)
        self._ended = Ended(_values(event))
        return self._emitter.values(self._ended.values)


def _path(resume: Resume) -> str:
    return f"/handlers/{segment(resume.thread_id)}"


def _events(resume: Resume, after: int | str) -> Request:
    """The log behind an entry. As SSE, since only there the entries are numbered."""
    query = f"after_sequence={after}&include_internal=true&include_qualified_name=false"
    return Request("GET", f"/events/{segment(resume.thread_id)}?{query}", accept="text/event-stream")


def _read(decoder: sse.Decoder, chunk: bytes) -> Generator[tuple[int, dict[str, Any]], None, None]:
    for block in decoder.feed(chunk):
        if block.data is None:  # ": heartbeat"
            continue
        event = block.json
        number = next((line[3:].strip() for line in block.raw.splitlines() if line.startswith(b"id:")), b"")
        if not isinstance(event, dict) or not number.isdigit() or not isinstance(event.get("value"), dict):
            raise UpstreamUnrecognised("The run's log holds something that the shim does not know.")
        yield int(number), event


def _anything(read: bytes) -> bool:
    return sse.first_event(read) is not None


def _is(event: dict[str, Any], kind: str) -> bool:
    """By its class, or one that it descends from."""
    return kind == event["type"] or kind in (event.get("types") or ())


def _fields(event: dict[str, Any]) -> dict[str, Any]:
    """An event's fields; those that its class does not declare stand apart."""
    value: dict[str, Any] = event["value"]
    return {name: item for name, item in value.items() if name != "_data"} | (value.get("_data") or {})


def _over(handler: dict[str, Any]) -> Found:
    error = handler["error"] or ("The run was cancelled." if handler["status"] == "cancelled" else None)
    result = handler["result"]
    return Found(
        _STATUS[handler["status"]],
        agent_id=handler["workflow_name"],
        values=None if result is None else _values(result),
        error=error,
        updated_at=handler["updated_at"],
        run_id=handler["run_id"],
    )


def _values(event: dict[str, Any]) -> dict[str, Any]:
    """A result is the framework's own event around any value, or an event of the workflow's own."""
    fields = _fields(event)
    if event["type"] != "StopEvent":
        return fields
    result = fields.get("result")
    return result if isinstance(result, dict) else {"result": result}


def _error(event: dict[str, Any]) -> str | None:
    """In the words that the handler has for it."""
    match event["type"]:
        case "WorkflowFailedEvent":
            return str(event["value"]["exception"]["exception_message"])
        case "WorkflowTimedOutEvent":
            return f"Workflow timed out after {event['value']['timeout']}s"
        case "WorkflowCancelledEvent":
            return "The run was cancelled."
    return None


def _taken(graph: dict[str, Any], schemas: list[dict[str, Any]], asked: set[str]) -> list[_Kind]:
    """The events that a workflow takes from outside.

    Those that only a waiting step takes are not in its graph: they were named when it was added. Those in its graph
    are taken by a step and given by none; people's answers before others, since a step may send events of any class.
    """
    nodes = {node["id"]: node for node in graph["nodes"] if node["node_type"] == "event"}
    steps = {node["id"] for node in graph["nodes"] if node["node_type"] == "step"}
    taken = {edge["source"] for edge in graph["edges"] if edge["target"] in steps} & set(nodes)
    given = {name for name, node in nodes.items() if node.get("produced_by") or "StartEvent" in node["event_types"]}
    human = {name for name in taken - given if "HumanResponseEvent" in nodes[name]["event_types"]}
    named = {schema.get("title") for schema in schemas} - set(nodes) - asked - {"InputRequiredEvent"}
    names = (human | named) or (taken - given)
    return [_Kind(schema["title"], schema) for schema in schemas if schema.get("title") in names]


def _kind(found: Found, name: str) -> _Kind:
    """A class that the option names is known by its name alone where the workflow does not declare it."""
    known: list[_Kind] = found.memory.kinds
    return next((kind for kind in known if kind.name == name), _Kind(name, {}))


def _answered(found: Found, verdict: Verdict) -> Interrupt:
    assert isinstance(verdict, Input), "there are neither breakpoints nor steps that are retried"
    if len(verdict.by_id) > 1:
        raise MultipleInterrupts("An event answers one question: answer one of them at a time.", found.interrupts)
    (asked,) = verdict.by_id
    return next(interrupt for interrupt in found.interrupts if interrupt.id == asked)


def _refuse_agent(wanted: str | None, workflow: str) -> Generator[Step, Any, None]:
    (answer,) = yield Ask((Request.get("/workflows"),))
    if wanted not in read_lookup(answer)["workflows"]:
        raise AgentNotFound(f"The backend knows no workflow {wanted!r}: leave `agent_id` out to use the run's own.")
    raise InvalidRequest(
        f"The run is one of the workflow {workflow!r}, not of {wanted!r}. Leave `agent_id` out.",
        {"field": "agent_id"},
    )
