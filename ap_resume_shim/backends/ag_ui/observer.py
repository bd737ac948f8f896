"""Observes AG-UI's runs, and derives a thread's state from the ledger, since the protocol cannot read a thread.

Start and end of a run, and the questions that it answered, are facts of the thread. The contents of its request and of
its questions belong to its caller: another caller does not learn that the thread exists.

The ledger stores a run when it starts, when an event reports its end, and when its stream ends. The adapters of Strands
and Agent Framework accept the next run only after the stream has ended. A stream that breaks off ends its run, since
the adapters stop the agent when the client disconnects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeVar

from ap_resume_shim.backends.ag_ui.messages import AgUiQuestion, answers_of, error_of, pending_questions, refuses
from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import ThreadEntry
from ap_resume_shim.core.http import Headers
from ap_resume_shim.core.observers import is_event_stream
from ap_resume_shim.core.steps import Entry

_T = TypeVar("_T")
SENT = ("tools", "context", "state", "forwardedProps")
"""Fields of a run's request, besides its messages, that the next run needs."""
SERVER = ""
"""Key under which the ledger stores the server's endpoints; no thread has an empty id."""
_SENT_BYTES = 12 * 1024
_HISTORY_BYTES = 24 * 1024
_RELEVANT = ("RUN_", "on_interrupt", "STEP_FINISHED", "_SNAPSHOT")
"""Each event that matters here contains one of these texts; other events are not decoded."""


class AgUiObserver:
    """Observes one request to run an agent, and the stream of its response."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._body: dict[str, Any] = {}
        self._thread: str | None = None
        self._run: str | None = None
        self._decoder = sse.Decoder()
        self._streams = self._begun = self._over = self._stepped = self._has_output = False
        self._customs: list[dict[str, Any]] = []
        self._snapshots: dict[str, str] = {}

    def request(self, body: bytes) -> None:
        """Read the request; only a run's request has a list of messages."""
        try:
            value = strictjson.read(body)
        except ValueError:
            return
        if isinstance(value, dict) and isinstance(value.get("messages"), list):
            self._body = value
            self._store_ids(value.get("threadId") or value.get("thread_id"), value.get("runId") or value.get("run_id"))

    def head(self, status: int, headers: Headers) -> Iterable[ThreadEntry]:
        """Return the entry of a resume at once, since the question still looks pending until then."""
        self._streams = bool(self._body) and status == 200 and is_event_stream(headers)
        if self._streams and self._resumes:
            yield from self._begin()

    def feed(self, chunk: bytes) -> Iterable[ThreadEntry]:
        """Return the entries of the run's start and end."""
        if not self._streams:
            return
        for event in self._decoder.feed(chunk):
            if event.data is None:
                continue
            if any(word in event.data for word in _RELEVANT):
                yield from self._read(event)
            else:
                self._has_output = True

    def end(self, *, complete: bool) -> Iterable[ThreadEntry]:
        """Return the entry of the stream's end. If its run had not ended, the client or the server has disconnected."""
        yield from self._end("left", stepped=self._stepped)
        if self._begun and self._thread is not None:
            yield self._thread, Entry({"run": self._run, "closed": True}, {})
            yield SERVER, Entry({"path": self._path})

    def _read(self, event: sse.Event) -> Iterator[ThreadEntry]:
        value = event.json
        payload = value if isinstance(value, dict) else {}
        match payload.get("type"):
            case "RUN_STARTED":
                self._store_ids(payload.get("threadId"), payload.get("runId"))
                yield from self._begin()
                return
            case "RUN_ERROR":
                if self._has_output or not refuses(payload):  # otherwise the thread is unchanged
                    yield from self._end("failed", {"error": error_of(payload)})
                self._over = True
            case "RUN_FINISHED":
                yield from self._finish(payload)
            case "CUSTOM" if payload.get("name") == "on_interrupt":
                self._customs.append(payload)
            case "STEP_FINISHED":
                self._stepped = True
            case "STATE_SNAPSHOT" | "MESSAGES_SNAPSHOT" as kind:
                self._snapshots[kind] = event.data or ""
        self._has_output = True

    def _store_ids(self, thread: Any, run: Any) -> None:
        """Store the ids of thread and run: from the request, or else from the run's first event.

        Only Agent Framework accepts requests without ids.
        """
        if self._thread is None and isinstance(thread, str) and thread:
            self._thread = thread
        if self._run is None and isinstance(run, str) and run:
            self._run = run

    @property
    def _resumes(self) -> bool:
        return answers_of(self._body)[0]

    def _begin(self) -> Iterator[ThreadEntry]:
        if not (self._begun or self._over) and self._thread is not None:
            self._begun = True
            yield self._thread, Entry({"run": self._run, "path": self._path, "begun": True}, {})

    def _finish(self, event: dict[str, Any]) -> Iterator[ThreadEntry]:
        questions = pending_questions(self._customs, event)
        contents: dict[str, Any] = {"values": [question.value for question in questions]}
        if any(question.schema is not None for question in questions):
            contents["schemas"] = [question.schema for question in questions]
        if questions:
            contents["sent"] = _bounded(self._sent(), _SENT_BYTES, {})
        if any(not question.keeps_history for question in questions):
            contents["history"] = _bounded(self._snapshot("messages") or self._body["messages"], _HISTORY_BYTES, None)
        yield from self._end("finished", contents, questions=[question.facts for question in questions])

    def _sent(self) -> dict[str, Any]:
        """Return the fields that the next run has to send, so that the agent keeps its tools, context and state."""
        sent = {name: self._body.get(name) for name in SENT}
        sent["forwardedProps"] = sent["forwardedProps"] or self._body.get("forwarded_props")
        props = sent["forwardedProps"] if isinstance(sent["forwardedProps"], dict) else {}
        sent["forwardedProps"] = {name: value for name, value in props.items() if name != "command"}
        if not self._customs:  # LangGraph stores its state
            sent["state"] = self._snapshot("snapshot") or sent["state"]
        return {name: value for name, value in sent.items() if value}

    def _snapshot(self, name: str) -> Any:
        kind = {"messages": "MESSAGES_SNAPSHOT", "snapshot": "STATE_SNAPSHOT"}[name]
        event = strictjson.read(self._snapshots[kind]) if kind in self._snapshots else {}
        return event.get(name)

    def _end(self, outcome: str, contents: dict[str, Any] | None = None, **more: Any) -> Iterator[ThreadEntry]:
        if not self._over and self._begun and self._thread is not None:
            resumed, answers = answers_of(self._body)
            about = {"run": self._run, "path": self._path, "resumed": resumed, "answers": answers}
            yield self._thread, Entry({**about, "end": outcome, **more}, contents or {})
        self._over = True


def _bounded(value: Any, most: int, otherwise: Any) -> Any:
    return value if len(strictjson.dumps(value)) <= most else otherwise


@dataclass(slots=True)
class Thread:
    """A thread's state, derived from the runs in the ledger."""

    path: str = "/"
    """Path of the agent's endpoint."""
    run_id: str | None = None
    ended: bool = False
    """True if the ledger has the end of a run that the server did not refuse."""
    running: set[str | None] = field(default_factory=set)
    """Runs that started, and whose end is not in the ledger."""
    closing: set[str | None] = field(default_factory=set)
    """Runs that have ended, but whose stream has not."""
    pending: tuple[AgUiQuestion, ...] = ()
    answered: tuple[AgUiQuestion, ...] = ()
    error: Any = None
    sent: dict[str, Any] = field(default_factory=dict)
    history: list[Any] | None = None
    past_ids: set[str] = field(default_factory=set)
    """Ids of all questions in the ledger."""
    of_caller: bool = False
    """True if a run of the thread belongs to this caller."""
    asked_caller: bool = True
    """True if the pending questions, and the contents of their run, belong to this caller."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Thread:
        """Derive the state from the ledger's entries, newest first. Unreadable entries are skipped."""
        thread = cls()
        for entry in reversed(list(entries)):
            thread.of_caller = thread.of_caller or entry.contents is not None
            match entry.facts:
                case {"run": str() | None as run, "path": str(path), "begun": True}:
                    thread.running.add(run)
                    thread.run_id = run
                    thread.path = thread.path if thread.ended else path
                case {"run": str() | None as run, "closed": True}:
                    thread.running.discard(run)
                    thread.closing.discard(run)
                case {"run": str() | None as run, "path": str(path), "resumed": bool(), "end": str()} as facts:
                    questions = _questions(facts, entry.contents)
                    if questions is None:
                        continue  # the run stays in `running`
                    thread._end(facts, questions, entry.contents)
                    thread.ended, thread.path, thread.run_id = True, path, run
                    thread.running.discard(run)
                    thread.closing.add(run)
        return thread

    @property
    def busy(self) -> bool:
        """True if a run, or its stream, has not ended."""
        return bool(self.running or self.closing)

    @property
    def is_known(self) -> bool:
        """True if the shim may show the thread to this caller."""
        asks = bool(self.pending or self.answered) and not self.busy
        return self.of_caller and (self.busy or self.ended) and (self.asked_caller or not asks)

    def _end(self, facts: dict[str, Any], questions: tuple[AgUiQuestion, ...], contents: Any) -> None:
        self.error = None
        self.past_ids |= {question.id for question in questions if question.id is not None}
        match facts["end"]:
            case "finished":
                self._ask(facts, questions)
                self.asked_caller = contents is not None
                self.sent = _content(contents, "sent", dict) or {}
                self.history = _content(contents, "history", list)
            case "failed":
                self._fail(facts)
                self.error = _content(contents, "error", dict) or {"message": "The thread's last run failed."}
            case _:
                self._leave(facts)

    def _ask(self, facts: dict[str, Any], questions: tuple[AgUiQuestion, ...]) -> None:
        """Store the questions of a finished run.

        On a run without an answer, LangGraph repeats its questions, even one whose answer it has from a failed step.
        """
        known = {question.id for question in self.answered}
        if questions and not facts["resumed"] and known & {question.id for question in questions}:
            self.pending = tuple(question for question in questions if question.id not in known)
        else:
            self.pending, self.answered = questions, ()

    def _fail(self, facts: dict[str, Any]) -> None:
        """Update the questions after a failed run.

        LangGraph stores an answer whose step failed, and does not accept another; other servers drop the question.
        """
        self.answered += tuple(q for q in self.pending if _answers(facts, q) and q.way != "entries")
        self.pending = tuple(q for q in self.pending if not _answers(facts, q))

    def _leave(self, facts: dict[str, Any]) -> None:
        """Update the questions after a stream that broke off.

        LangGraph drops the answer of a stopped step, and asks again; other servers drop the question.
        """
        resumed_entries = facts["resumed"] and any(question.way == "entries" for question in self.pending)
        if facts.get("stepped") or resumed_entries:
            self.pending = ()
        self.error = {"message": "The stream of the thread's last run broke off."}


def _answers(facts: dict[str, Any], question: AgUiQuestion) -> bool:
    answers = facts.get("answers")
    return bool(facts["resumed"]) and (not isinstance(answers, list) or question.id in answers)


def _questions(facts: dict[str, Any], contents: Any) -> tuple[AgUiQuestion, ...] | None:
    """Return the questions at which a run ended; None if one of them is unreadable."""
    stored = facts.get("questions", [])
    values, schemas = (_content(contents, name, list) or [] for name in ("values", "schemas"))
    if not isinstance(stored, list):
        return None
    rows = zip_longest(stored, values[: len(stored)], schemas[: len(stored)])
    read = [AgUiQuestion.read(item, value, schema) for item, value, schema in rows]
    questions = tuple(question for question in read if question is not None)
    return questions if len(questions) == len(read) else None


def _content(contents: Any, name: str, kind: type[_T]) -> _T | None:
    """Return a part of an entry's contents; None if it is missing or has another type."""
    value = contents.get(name) if isinstance(contents, dict) else None
    return value if isinstance(value, kind) else None
