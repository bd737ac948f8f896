"""What is seen of AG-UI's runs when they pass, and what a thread looks like by that: there is nobody to ask.

How runs of a thread began, ended and what they answered are facts of the thread. What a run was sent and what it asked
are its caller's: another one does not even learn that there is such a thread.

A run is noted when it begins, when one of its events says how it ended, and when its stream is over: only then do the
adapters of Strands and Agent Framework take the next one. A stream that breaks off has ended its run, since the
adapters stop the agent of a client that leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeVar

from ap_resume_shim.backends.ag_ui.messages import AgUiQuestion, answers_of, asked, error_of, refuses
from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import Note
from ap_resume_shim.core.http import Headers
from ap_resume_shim.core.observers import is_event_stream
from ap_resume_shim.core.steps import Entry

_T = TypeVar("_T")
SENT = ("tools", "context", "state", "forwardedProps")
"""What a run is sent beside its messages."""
SERVER = ""
"""Where the ledger has the endpoints of the server: no thread has an empty id."""
_SENT_BYTES = 12 * 1024
_HISTORY_BYTES = 24 * 1024
_TELLING = ("RUN_", "on_interrupt", "STEP_FINISHED", "_SNAPSHOT")
"""One of these is in every event that tells something here; the others are not even decoded."""


class AgUiObserver:
    """One request to run an agent, and the stream that answers it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._body: dict[str, Any] = {}
        self._thread: str | None = None
        self._run: str | None = None
        self._decoder = sse.Decoder()
        self._streams = self._begun = self._over = self._stepped = self._talked = False
        self._customs: list[dict[str, Any]] = []
        self._snapshots: dict[str, str] = {}

    def request(self, body: bytes) -> None:
        """Only a run has a list of messages."""
        try:
            value = strictjson.read(body)
        except ValueError:
            return
        if isinstance(value, dict) and isinstance(value.get("messages"), list):
            self._body = value
            self._named(value.get("threadId") or value.get("thread_id"), value.get("runId") or value.get("run_id"))

    def head(self, status: int, headers: Headers) -> Iterable[Note]:
        """A resume is noted at once: until then the thread looks as if the question were pending."""
        self._streams = bool(self._body) and status == 200 and is_event_stream(headers)
        if self._streams and self._resumes:
            yield from self._begin()

    def feed(self, chunk: bytes) -> Iterable[Note]:
        """Note the beginning of a run, and how it ended."""
        if not self._streams:
            return
        for event in self._decoder.feed(chunk):
            if event.data is None:
                continue
            if any(word in event.data for word in _TELLING):
                yield from self._see(event)
            else:
                self._talked = True

    def end(self, *, complete: bool) -> Iterable[Note]:
        """The stream is over. If its run had not ended, whoever read it has left, or the server has."""
        yield from self._end("left", stepped=self._stepped)
        if self._begun and self._thread is not None:
            yield self._thread, Entry({"run": self._run, "closed": True}, {})
            yield SERVER, Entry({"path": self._path})

    def _see(self, event: sse.Event) -> Iterator[Note]:
        value = event.json
        told = value if isinstance(value, dict) else {}
        match told.get("type"):
            case "RUN_STARTED":
                self._named(told.get("threadId"), told.get("runId"))
                yield from self._begin()
                return
            case "RUN_ERROR":
                if self._talked or not refuses(told):  # else all is as it was
                    yield from self._end("failed", {"error": error_of(told)})
                self._over = True
            case "RUN_FINISHED":
                yield from self._finish(told)
            case "CUSTOM" if told.get("name") == "on_interrupt":
                self._customs.append(told)
            case "STEP_FINISHED":
                self._stepped = True
            case "STATE_SNAPSHOT" | "MESSAGES_SNAPSHOT" as kind:
                self._snapshots[kind] = event.data or ""
        self._talked = True

    def _named(self, thread: Any, run: Any) -> None:
        """By the request where it tells, as all but Agent Framework's have to, else by the run's first event."""
        if self._thread is None and isinstance(thread, str) and thread:
            self._thread = thread
        if self._run is None and isinstance(run, str) and run:
            self._run = run

    @property
    def _resumes(self) -> bool:
        return answers_of(self._body)[0]

    def _begin(self) -> Iterator[Note]:
        if not (self._begun or self._over) and self._thread is not None:
            self._begun = True
            yield self._thread, Entry({"run": self._run, "path": self._path, "begun": True}, {})

    def _finish(self, told: dict[str, Any]) -> Iterator[Note]:
        questions = asked(self._customs, told)
        contents: dict[str, Any] = {"values": [question.value for question in questions]}
        if any(question.schema is not None for question in questions):
            contents["schemas"] = [question.schema for question in questions]
        if questions:
            contents["sent"] = _bounded(self._sent(), _SENT_BYTES, {})
        if any(not question.keeps_history for question in questions):
            contents["history"] = _bounded(self._snapshot("messages") or self._body["messages"], _HISTORY_BYTES, None)
        yield from self._end("finished", contents, questions=[question.facts for question in questions])

    def _sent(self) -> dict[str, Any]:
        """What the next run has to be sent, so that the agent goes on with what it had."""
        sent = {name: self._body.get(name) for name in SENT}
        sent["forwardedProps"] = sent["forwardedProps"] or self._body.get("forwarded_props")
        props = sent["forwardedProps"] if isinstance(sent["forwardedProps"], dict) else {}
        sent["forwardedProps"] = {name: value for name, value in props.items() if name != "command"}
        if not self._customs:  # LangGraph keeps its state
            sent["state"] = self._snapshot("snapshot") or sent["state"]
        return {name: value for name, value in sent.items() if value}

    def _snapshot(self, name: str) -> Any:
        kind = {"messages": "MESSAGES_SNAPSHOT", "snapshot": "STATE_SNAPSHOT"}[name]
        told = strictjson.read(self._snapshots[kind]) if kind in self._snapshots else {}
        return told.get(name)

    def _end(self, how: str, contents: dict[str, Any] | None = None, **more: Any) -> Iterator[Note]:
        if not self._over and self._begun and self._thread is not None:
            resumed, answers = answers_of(self._body)
            about = {"run": self._run, "path": self._path, "resumed": resumed, "answers": answers}
            yield self._thread, Entry({**about, "end": how, **more}, contents or {})
        self._over = True


def _bounded(value: Any, most: int, otherwise: Any) -> Any:
    return value if len(strictjson.dumps(value)) <= most else otherwise


@dataclass(slots=True)
class Thread:
    """What a thread looks like, by what was seen of its runs."""

    path: str = "/"
    """Of its agent."""
    run_id: str | None = None
    ended: bool = False
    """Whether a run was seen to its end, but for those that the server refused."""
    running: set[str | None] = field(default_factory=set)
    """Runs of which nothing says that they ended."""
    closing: set[str | None] = field(default_factory=set)
    """Runs that have ended, in streams that have not."""
    pending: tuple[AgUiQuestion, ...] = ()
    answered: tuple[AgUiQuestion, ...] = ()
    error: Any = None
    sent: dict[str, Any] = field(default_factory=dict)
    history: list[Any] | None = None
    past_ids: set[str] = field(default_factory=set)
    """Of all questions that were seen."""
    of_caller: bool = False
    """Whether a run of the thread was this caller's."""
    asked_caller: bool = True
    """Whether the questions, and what their run was sent, are this caller's."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Thread:
        """From the ledger's entries, the newest first; those that cannot be read are skipped."""
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
                        continue  # the run stays one of which nothing says that it ended
                    thread._end(facts, questions, entry.contents)
                    thread.ended, thread.path, thread.run_id = True, path, run
                    thread.running.discard(run)
                    thread.closing.add(run)
        return thread

    @property
    def busy(self) -> bool:
        """Whether a run goes on."""
        return bool(self.running or self.closing)

    @property
    def is_known(self) -> bool:
        """Whether anything of it may be said to this caller."""
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
        """LangGraph asks again on a run that answers nothing, also what was answered when its step failed."""
        known = {question.id for question in self.answered}
        if questions and not facts["resumed"] and known & {question.id for question in questions}:
            self.pending = tuple(question for question in questions if question.id not in known)
        else:
            self.pending, self.answered = questions, ()

    def _fail(self, facts: dict[str, Any]) -> None:
        """LangGraph keeps an answer whose step failed, and asks for no other; elsewhere the question is gone."""
        self.answered += tuple(q for q in self.pending if _answers(facts, q) and q.way != "entries")
        self.pending = tuple(q for q in self.pending if not _answers(facts, q))

    def _leave(self, facts: dict[str, Any]) -> None:
        """LangGraph forgets an answer whose step was stopped, and asks again; elsewhere the question is gone."""
        resumed_entries = facts["resumed"] and any(question.way == "entries" for question in self.pending)
        if facts.get("stepped") or resumed_entries:
            self.pending = ()
        self.error = {"message": "The stream of the thread's last run broke off."}


def _answers(facts: dict[str, Any], question: AgUiQuestion) -> bool:
    answers = facts.get("answers")
    return bool(facts["resumed"]) and (not isinstance(answers, list) or question.id in answers)


def _questions(facts: dict[str, Any], contents: Any) -> tuple[AgUiQuestion, ...] | None:
    """The questions at which a run ended; None where one of them cannot be read."""
    asked = facts.get("questions", [])
    values, schemas = (_content(contents, name, list) or [] for name in ("values", "schemas"))
    if not isinstance(asked, list):
        return None
    told = zip_longest(asked, values[: len(asked)], schemas[: len(asked)])
    read = [AgUiQuestion.read(one, value, schema) for one, value, schema in told]
    questions = tuple(question for question in read if question is not None)
    return questions if len(questions) == len(read) else None


def _content(contents: Any, name: str, kind: type[_T]) -> _T | None:
    """A part of an entry's contents; None where it is not there, or of another type than it should be."""
    value = contents.get(name) if isinstance(contents, dict) else None
    return value if isinstance(value, kind) else None
