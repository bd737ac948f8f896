"""What is seen of AG-UI's runs when they pass, and what a thread looks like by that: there is nobody to ask.

A run is noted when it begins, when one of its events says how it ended, and when its stream is over: only then do the
adapters of Strands and Agent Framework take the next one. A stream that breaks off has ended its run, since the
adapters stop the agent of a client that leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ap_resume_shim.backends.ag_ui_wire import Question, answers_of, asked, error_of, refuses
from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import Note
from ap_resume_shim.core.exchange import Headers

SENT = ("tools", "context", "state", "forwardedProps")
"""What a run is sent beside its messages."""
_SENT_BYTES = 12 * 1024
_HISTORY_BYTES = 24 * 1024
_TELLING = ("RUN_", "on_interrupt", "STEP_FINISHED", "_SNAPSHOT")
"""One of these is in every event that tells something here; the others are not even decoded."""


class Watch:
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
        media = next((value for name, value in headers if name.lower() == "content-type"), "")
        self._streams = bool(self._body) and status == 200 and media.startswith("text/event-stream")
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
            yield self._thread, {"run": self._run, "closed": True}

    def _see(self, event: sse.Event) -> Iterator[Note]:
        told = event.json if isinstance(event.json, dict) else {}
        match told.get("type"):
            case "RUN_STARTED":
                self._named(told.get("threadId"), told.get("runId"))
                yield from self._begin()
                return
            case "RUN_ERROR":
                if self._talked or not refuses(told):  # else all is as it was
                    yield from self._end("failed", error=error_of(told))
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
            yield self._thread, {"run": self._run, "path": self._path, "begun": True}

    def _finish(self, told: dict[str, Any]) -> Iterator[Note]:
        questions = asked(self._customs, told)
        more: dict[str, Any] = {"questions": [question.write() for question in questions]}
        if questions:
            more["sent"] = _bounded(self._sent(), _SENT_BYTES, {})
        if any(not question.keeps_history for question in questions):
            more["history"] = _bounded(self._snapshot("messages") or self._body["messages"], _HISTORY_BYTES, None)
        yield from self._end("finished", **more)

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

    def _end(self, how: str, **more: Any) -> Iterator[Note]:
        if not self._over and self._begun and self._thread is not None:
            resumed, answers = answers_of(self._body)
            about = {"run": self._run, "path": self._path, "resumed": resumed, "answers": answers}
            yield self._thread, {**about, "end": how, **more}
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
    pending: tuple[Question, ...] = ()
    answered: tuple[Question, ...] = ()
    error: Any = None
    sent: dict[str, Any] = field(default_factory=dict)
    history: list[Any] | None = None

    @classmethod
    def of(cls, entries: list[dict[str, Any]]) -> Thread:
        """From the ledger's entries, the newest first."""
        thread = cls()
        for entry in reversed(entries):
            run: str | None = entry["run"]
            if "begun" in entry:
                thread.running.add(run)
                thread.run_id = run
                thread.path = thread.path if thread.ended else entry["path"]
            elif "closed" in entry:
                thread.running.discard(run)
                thread.closing.discard(run)
            else:
                thread.running.discard(run)
                thread.closing.add(run)
                thread._end(entry)
        return thread

    @property
    def busy(self) -> bool:
        """Whether a run goes on."""
        return bool(self.running or self.closing)

    def _end(self, entry: dict[str, Any]) -> None:
        self.ended, self.path, self.run_id, self.error = True, entry["path"], entry["run"], entry.get("error")
        match entry["end"]:
            case "finished":
                self._ask(entry)
            case "failed":
                self._fail(entry)
            case _:
                self._leave(entry)

    def _ask(self, entry: dict[str, Any]) -> None:
        """LangGraph asks again on a run that answers nothing, also what was answered when its step failed."""
        questions = tuple(Question.read(kept) for kept in entry["questions"])
        known = {question.id for question in self.answered}
        if questions and not entry["resumed"] and known & {question.id for question in questions}:
            self.pending = tuple(question for question in questions if question.id not in known)
        else:
            self.pending, self.answered = questions, ()
        self.sent, self.history = entry.get("sent", {}), entry.get("history")

    def _fail(self, entry: dict[str, Any]) -> None:
        """LangGraph keeps an answer whose step failed, and asks for no other; elsewhere the question is gone."""
        self.answered += tuple(q for q in self.pending if _answers(entry, q) and q.way != "entries")
        self.pending = tuple(q for q in self.pending if not _answers(entry, q))

    def _leave(self, entry: dict[str, Any]) -> None:
        """LangGraph forgets an answer whose step was stopped, and asks again; elsewhere the question is gone."""
        if entry["stepped"] or (entry["resumed"] and any(question.way == "entries" for question in self.pending)):
            self.pending = ()
        self.error = {"message": "The stream of the thread's last run broke off."}


def _answers(entry: dict[str, Any], question: Question) -> bool:
    answers = entry["answers"]
    return bool(entry["resumed"]) and (answers is None or question.id in answers)
