"""ACP, the Agent Communication Protocol of IBM and BeeAI: a run that waits is resumed with a message.

Its server checks next to nothing. `await_request` stays on a run that was answered, and a resume of a run that does
not wait is taken: it answers the next question instead, or hangs for ever. So the status alone decides here.

A run belongs to a session, and a session does not tell its runs: they are known from the traffic that passed.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any

from ap_resume_shim.core import sse, strictjson
from ap_resume_shim.core.dialect import Dialect, Found, GoOn, Lookup, Note, Observer, Started, ThreadStatus, Verdict
from ap_resume_shim.core.errors import (
    AgentNotFound,
    ConfigurationError,
    InvalidRequest,
    MultipleInterrupts,
    ResumeError,
    ThreadNotInterrupted,
    UnsupportedInput,
    UpstreamError,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.events import Emitter
from ap_resume_shim.core.exchange import Ask, Consult, Ended, Headers, Request, Response, Step, segment
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reading import error_text, read_lookup, read_refusal

_STATUS: dict[str, ThreadStatus] = {
    "created": "busy",
    "in-progress": "busy",
    "cancelling": "busy",
    "awaiting": "interrupted",
    "completed": "idle",
    "failed": "error",
    "cancelled": "error",
}
_OVER = ("completed", "failed", "cancelled")
_MODES = {Mode.BACKGROUND: "async", Mode.WAIT: "sync", Mode.STREAM: "stream"}
_UUID = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}", re.IGNORECASE)


class Acp(Dialect):
    """`POST /runs/{run_id}` with `await_resume`."""

    name = "acp"
    family = "a message to the run that waits"
    thread_is = 'The session\'s id, a UUID; with the option `thread = "run"`, the id of the run itself.'
    options = {"thread": "what `thread_id` names: `session` (default) or `run`"}
    limits = (
        "A session does not tell its runs: only those that were started through the shim can be resumed by session.",
        "Of several runs of a session that wait, one is answered at a time.",
        "A run that is cancelled is over for the server, but the agent's own code may go on.",
    )
    unsupported = frozenset({"webhook", "config", "on_completion"})

    def __init__(self, thread: str = "session") -> None:
        """`thread`: what `thread_id` names. Not both at once: one run must not be held under two names."""
        if thread not in ("session", "run"):
            raise ConfigurationError(f"The option `thread` of the backend 'acp' is session or run, not {thread!r}.")
        self._by_session = thread == "session"

    def thread_key(self, thread_id: str) -> str:
        """The server takes upper case and missing dashes for the same id."""
        if not _UUID.fullmatch(thread_id):
            raise InvalidRequest("`thread_id` is not a UUID, which sessions and runs are named by.")
        return thread_id.replace("-", "").lower()

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup:
        """The run; or all runs of the session that were seen and not seen to end."""
        wanted = resume.body.agent_id if agent else None
        seen: list[str] = [resume.thread_id]
        if self._by_session:
            entries = yield Consult()
            seen = _still_open(entries)
        requests = [Request.get(_run_path(run_id)) for run_id in seen]
        if not seen:
            requests.append(Request.get(f"/sessions/{segment(resume.thread_id)}"))
        if wanted is not None:
            requests.append(Request.get(f"/agents/{segment(wanted)}"))
        answers = yield Ask(tuple(requests))
        if wanted is not None and answers[-1].status == 404:
            raise AgentNotFound(f"The backend knows no agent {wanted!r}: leave `agent_id` out to use the run's own.")
        told = answers[: max(len(seen), 1)]
        there = [answer for answer in told if answer.status != 404] or told[:1]
        found = [read_lookup(answer) for answer in there]  # the server forgets runs after a while
        if seen:
            return _found(found) if agent else _at_rest(found)
        if agent:
            raise ThreadNotInterrupted(
                f"No run of session {resume.thread_id} that may wait for an answer has passed here, and the backend "
                "does not tell a session's runs. Start them through the shim.",
                {"thread_status": "unknown"},
            )
        return Found("idle")

    def check(self, resume: Resume, found: Found, verdict: Verdict) -> None:
        """One answer, to a run of the agent that was named."""
        if len(_answers(verdict)) > 1:
            raise MultipleInterrupts(
                "Each of these questions is one of another run: answer one of them at a time.", found.interrupts
            )
        run, wanted = _run_of(found, verdict), resume.body.agent_id
        if wanted not in (None, run["agent_name"]):
            raise InvalidRequest(
                f"The question is one of agent {run['agent_name']!r}, not of {wanted!r}. Leave `agent_id` out.",
                {"field": "agent_id"},
            )
        _parts(resume, verdict)

    def prepare(self, resume: Resume, found: Found, verdict: Verdict) -> Generator[Step, Any, tuple[Found, Verdict]]:
        """From here on it is about one run."""
        yield from ()
        run = _run_of(found, verdict)
        return replace(found, run_id=run["run_id"], agent_id=run["agent_name"], memory=run), verdict

    def resume(self, resume: Resume, found: Found, verdict: Verdict) -> Request:
        """The specification wants `run_id` in the body, too; the server of acp-sdk reads only the path's."""
        message = {"role": "user", "parts": _parts(resume, verdict)}
        body = {
            "run_id": found.run_id,
            "await_resume": {"type": "message", "message": message},
            "mode": _MODES[resume.mode],
        }
        accept = "text/event-stream" if resume.mode is Mode.STREAM else "application/json"
        return Request.post(_run_path(str(found.run_id)), body, accept)

    def refusal(self, response: Response) -> ResumeError:
        """403 means that the run never waited, or not for a message: nothing that credentials could change."""
        if response.status == 403 and re.search("await request|expecting resume", error_text(response)):
            return ThreadNotInterrupted(
                f"The backend says that the run does not wait for an answer: {error_text(response)}."
            )
        return read_refusal(response)

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """Events have no names here; `type` is in the data."""
        first = sse.first_event(response.body) if resume.mode is Mode.STREAM else None
        if first is None or not isinstance(first.json, dict) or first.json.get("type") != "error":
            return None
        return UpstreamError("The backend refused the resume in its stream.", {"upstream": first.json.get("error")})

    def started(self, response: Response, body: bytes, resume: Resume, found: Found) -> Started | None:
        """The run that waited goes on under its own name."""
        run = found.memory
        return Started(run["run_id"], run["agent_name"], run.get("created_at"))

    def cancel(self, resume: Resume, started: Started) -> Request | None:
        """Leaving a wait or a stream stops nothing."""
        return Request.post(_run_path(started.run_id) + "/cancel")

    def location(self, resume: Resume, started: Started) -> str | None:
        """`/runs/{run_id}`."""
        return _run_path(started.run_id)

    def run(self, resume: Resume, started: Started) -> Request | None:
        """The run itself."""
        return Request.get(_run_path(started.run_id))

    def has_ended(self, response: Response) -> bool:
        """Over, or waiting again."""
        return _status(response.json) != "busy"

    def ended(self, body: bytes) -> Ended:
        """A sync answer is the run as it stopped."""
        return _ended(Response(200, (), body).json)

    def reframer(self, resume: Resume, started: Started) -> Events:
        """Its events are of its own kind."""
        return Events(Emitter(resume.body.stream_modes), started.agent_id or "agent")

    def watch(self, method: str, path: str) -> Observer | None:
        """Who starts or resumes a run is told its name and its session's."""
        if not self._by_session or method != "POST" or not re.fullmatch("/runs(/[^/]+)?", path):
            return None
        return Seen(resumed=path != "/runs")


def _run_path(run_id: str) -> str:
    return f"/runs/{segment(run_id)}"


def _status(run: Any) -> ThreadStatus:
    status = run.get("status") if isinstance(run, dict) else None
    if status not in _STATUS:
        raise UpstreamUnrecognised(f"The backend knows a run status {status!r}, which the shim does not.")
    return _STATUS[status]


def _found(runs: list[dict[str, Any]]) -> Found:
    """Busy as long as any of the runs is: a late answer must not find another run's question instead of its own."""
    asking = {_question(run).id: run for run in runs if _status(run) == "interrupted"}
    busy = [run for run in runs if _status(run) == "busy"]
    if busy:
        return Found("busy", run_id=busy[0]["run_id"] if len(busy) == 1 else None)
    newest = max(runs, key=lambda run: str(run.get("created_at")))
    return replace(
        _at_rest(runs),
        status="interrupted" if asking else _status(newest),
        agent_id=newest["agent_name"],
        run_id=newest["run_id"],
        memory=asking,
    )


def _at_rest(runs: list[dict[str, Any]]) -> Found:
    """After a run: what the session still asks. What came of the run is told by the run."""
    asking = tuple(_question(run) for run in runs if _status(run) == "interrupted")
    times = [str(run["finished_at"]) for run in runs if run.get("finished_at")]
    return Found("interrupted" if asking else "idle", asking, updated_at=max(times, default=None))


def _question(run: dict[str, Any]) -> Interrupt:
    """A question has no id there: its run and its moment are one."""
    message = (run.get("await_request") or {}).get("message") or {}
    return Interrupt(f"{run['run_id']}@{message.get('created_at')}", message)


def _run_of(found: Found, verdict: Verdict) -> dict[str, Any]:
    (question,) = _answers(verdict)
    run: dict[str, Any] = found.memory[question]
    return run


def _answers(verdict: Verdict) -> dict[str | None, Any]:
    assert not isinstance(verdict, GoOn), "there are neither breakpoints nor steps that are retried"
    return verdict.by_id


def _parts(resume: Resume, verdict: Verdict) -> list[dict[str, Any]]:
    """The answer as parts of a message, whose contents are strings: `content_type` says what they are."""
    body = resume.body
    if body.messages is not None and not body.has_input:
        return [_text(text) for text in _texts(body.messages)]
    (value,) = _answers(verdict).values()
    if isinstance(value, str):
        return [_text(value)]
    return [{"content_type": "application/json", "content": strictjson.dumps(value).decode()}]


def _text(content: str) -> dict[str, Any]:
    return {"content_type": "text/plain", "content": content}


def _texts(messages: list[Any]) -> Iterator[str]:
    """A resume takes one message, which is the user's."""
    dumped = [message.model_dump(exclude_unset=True) for message in messages]
    if len(dumped) != 1 or dumped[0]["role"] not in ("user", "human") or set(dumped[0]) != {"role", "content"}:
        raise UnsupportedInput("This backend takes one message of role `user`, with a content and nothing else.")
    content = dumped[0]["content"]
    for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        if block.get("type") != "text" or set(block) != {"type", "text"}:
            raise UnsupportedInput(
                "Of the contents of a message this backend takes text alone. Send others as `input`."
            )
        yield block["text"]


def _ended(run: Any) -> Ended:
    """What a run has said; its error where it failed."""
    status = _status(run)
    if status != "error":
        return Ended(_values(run))
    return Ended(_values(run), run.get("error") or {"code": run["status"], "message": f"The run was {run['status']}."})


def _values(run: dict[str, Any]) -> dict[str, Any]:
    output = run.get("output") or []
    return {"output": output, "messages": [_message(message) for message in output]}


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message in the draft's words."""
    return {"role": message.get("role", "agent"), "content": _content(message.get("parts") or [])}


def _content(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Text as a string, as the SDK itself joins it; anything else as blocks."""
    if all(part.get("content_type") == "text/plain" and part.get("content") is not None for part in parts):
        return "".join(part["content"] for part in parts)
    return [{"type": part.get("content_type") or "text/plain", **part} for part in parts]


class Events:
    """ACP's events as the draft's."""

    def __init__(self, emitter: Emitter, agent: str) -> None:
        self._decoder, self._emitter, self._agent = sse.Decoder(), emitter, agent
        self._ended, self._over = Ended(), False

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; give the events that they complete."""
        return b"".join(self._told(event.json) for event in self._decoder.feed(chunk) if event.data is not None)

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
        return self._over

    def ended(self) -> Ended:
        """By the last event."""
        return self._ended

    def _told(self, event: Any) -> bytes:
        if not isinstance(event, dict):
            return b""
        match event.get("type"):
            case "message.part":
                return self._emitter.message(f"agent/{self._agent}", _content([event["part"]]))
            case "message.completed":
                return self._emitter.update(self._agent, {"messages": [_message(event["message"])]})
            case "generic":
                return self._emitter.custom(event.get("generic"))
            case "run.awaiting" | "run.completed" | "run.failed" | "run.cancelled":
                return self._stopped(event["run"])
            case "error":
                self._ended = Ended(error=event.get("error"))
                return self._emitter.error(event.get("error"))
        return b""

    def _stopped(self, run: dict[str, Any]) -> bytes:
        self._over, self._ended = True, _ended(run)
        told = self._emitter.values(self._ended.values)
        if self._ended.error is not None:
            return told + self._emitter.error(self._ended.error)
        return told + self._emitter.interrupted([_question(run)]) if _status(run) == "interrupted" else told


class Seen:
    """Looks on at a run that is started or resumed, for its name and its session's."""

    LARGEST = 4 * 1024 * 1024

    def __init__(self, *, resumed: bool) -> None:
        self._noted = resumed
        """Whether the ledger has the run already."""
        self._events: sse.Decoder | None = None
        self._body: bytes = b""

    def request(self, body: bytes) -> None:
        """What counts is what the server makes of it."""

    def head(self, status: int, headers: Headers) -> Iterable[Note]:
        """Whether it is a stream."""
        kind = next((value for name, value in headers if name.lower() == "content-type"), "")
        self._events = sse.Decoder() if kind.startswith("text/event-stream") else None
        return ()

    def feed(self, chunk: bytes) -> Iterable[Note]:
        """Most events of a stream tell the run."""
        if self._events is None:
            self._body += chunk if len(self._body) < self.LARGEST else b""
            return
        for event in self._events.feed(chunk):
            if isinstance(event.json, dict):
                yield from self._note(event.json.get("run"))

    def end(self, *, complete: bool) -> Iterable[Note]:
        """Other answers are the run."""
        return self._note(Response(200, (), self._body).json) if self._body else ()

    def _note(self, run: Any) -> Iterator[Note]:
        """Note a run that may wait one day; and that it is over, where it was noted before."""
        if not isinstance(run, dict) or not run.get("run_id") or not run.get("session_id"):
            return
        over = run.get("status") in _OVER
        if over and self._noted:
            yield run["session_id"], {"run_id": run["run_id"], "over": True}
        elif not over and not self._noted:
            yield run["session_id"], {"run_id": run["run_id"]}
            self._noted = True


def _still_open(entries: list[Any]) -> list[str]:
    """The runs that were not seen to end."""
    over: dict[str, bool] = {}
    for entry in entries:
        over.setdefault(entry["run_id"], entry.get("over", False))
    return [run_id for run_id, is_over in over.items() if not is_over]
