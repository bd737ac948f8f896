"""The dialect that a profile describes: its tables, filled in and read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Dialect, Found, GoOn, Lookup, Started, ThreadStatus, Verdict
from ap_resume_shim.core.errors import (
    AgentNotFound,
    ConfigurationError,
    InvalidRequest,
    MultipleInterrupts,
    ResumeError,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.exchange import Ask, Ended, Request, Response
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.profile import AgentTable, LookupTable, Profile, answer_pointer
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reading import Rule, read_lookup, read_refusal
from ap_resume_shim.core.template import MISSING, fill, fill_path, names_in, parts, place, point


class ProfileDialect(Dialect):
    """The dialect that a profile describes."""

    accepts_at_head = True

    def __init__(self, profile: Profile, *, resume_at: str | None = None) -> None:
        """`resume_at` moves the answer: a JSON pointer into the create-run body."""
        try:
            self._answer_at = answer_pointer(profile.resume.answer if resume_at is None else resume_at)
        except ValueError as error:
            raise ConfigurationError(f"resume_at: {error}") from None
        self._profile = profile
        where = profile.found
        pointers = (where.status, where.interrupts, where.values, where.messages, where.error, where.updated_at)
        self._about_the_thread = {parts(pointer)[0] for pointer in pointers if pointer is not None}
        self._rules = tuple(Rule(e.status, e.raises, e.contains) for e in profile.error)
        words = profile.status
        self._words: dict[str, ThreadStatus] = {
            **dict.fromkeys(words.idle, "idle"),
            **dict.fromkeys(words.busy, "busy"),
            **dict.fromkeys(words.interrupted, "interrupted"),
            **dict.fromkeys(words.error, "error"),
        }
        self.name = profile.name
        self.thread_is = profile.thread_is
        self.unsupported: frozenset[str] = frozenset(profile.unsupported)
        self.reserved: frozenset[str] = frozenset({*profile.resume.json_, parts(self._answer_at)[0]}) - _FIELDS
        self.partial = profile.partial
        self.forwards_extra = profile.forwards_extra

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup:
        """The profile's lookups, side by side, and the named agent; after a run, those about the thread."""
        profile, names = self._profile, _names(resume)
        lookups = {name: table for name, table in profile.lookup.items() if agent or name in self._about_the_thread}
        tables: list[LookupTable | AgentTable] = list(lookups.values())
        wanted = resume.body.agent_id if agent else None
        if wanted is not None and profile.agent is not None:
            tables.append(profile.agent)
        answers = yield Ask(tuple(_request(table, names) for table in tables))
        told = {name: read_lookup(answer, self._rules) for name, answer in zip(lookups, answers, strict=False)}
        if len(answers) > len(lookups):
            answer = answers[-1]
            if answer.status in (400, 404, 422):
                raise AgentNotFound(f"The backend knows no agent {wanted!r}: leave `agent_id` out to use its own.")
            read_lookup(answer, self._rules)
        return self._found(told, wanted)

    def _found(self, told: dict[str, Any], wanted: str | None) -> Found:
        def at(pointer: str | None) -> Any:
            value = MISSING if pointer is None else point(told, pointer)
            return None if value is MISSING else value

        where = self._profile.found
        word = at(where.status)
        if not isinstance(word, str) or word not in self._words:
            raise UpstreamUnrecognised(f"The profile {self.name!r} knows no thread status {word!r}.")
        status, pending = self._words[word], at(where.interrupts)
        interrupts: tuple[Interrupt, ...] = ()
        if isinstance(pending, list):
            if not all(isinstance(item, dict) for item in pending):
                raise UpstreamUnrecognised(f"The profile {self.name!r} knows no interrupts but {{id, value}}.")
            interrupts = tuple(Interrupt(item.get("id"), item.get("value")) for item in pending)
        elif status == "interrupted":
            interrupts = (Interrupt(None),)  # the backend asks, and does not say what
        return Found(
            status=status,
            interrupts=interrupts,
            breakpoint=status == "interrupted" and not interrupts,
            agent_id=wanted or at(where.agent_id),
            values=_with_messages(at(where.values), at(where.messages)),
            error=at(where.error),
            updated_at=at(where.updated_at),
            run_id=at(where.run_id),
        )

    def check(self, resume: Resume, found: Found, verdict: Verdict) -> None:
        """A profile carries every JSON value; what is left is whether it can say what it is the answer to."""
        table = self._profile.resume
        lines = (table.background, table.wait, table.stream)
        if found.agent_id is None and any("agent_id" in names_in(line) for line in lines):
            raise InvalidRequest("The thread does not tell its agent, which this backend needs: name it in `agent_id`.")
        if table.keyed == "never" and len(found.interrupts) > 1:
            raise MultipleInterrupts(
                f"{len(found.interrupts)} interrupts are pending, and this backend cannot be told which one an answer "
                "is for. Let the agent ask one question at a time.",
                found.interrupts,
            )

    def resume(self, resume: Resume, found: Found, verdict: Verdict) -> Request:
        """The template, with the answer put in its place."""
        table, body = self._profile.resume, resume.body
        names = {
            **_names(resume),
            "metadata": body.metadata,
            "config": None if body.config is None else body.config.model_dump(exclude_unset=True),
            "webhook": body.webhook,
            "agent_id": found.agent_id,
            "on_disconnect": None if resume.mode is Mode.BACKGROUND else body.on_disconnect,
            "stream_mode": list(body.stream_modes) if resume.mode is Mode.STREAM else None,
        }
        value = fill(table.json_, {name: item for name, item in names.items() if item is not None})
        if self.forwards_extra:
            value = {**body.extra, **value}
        if not isinstance(verdict, GoOn):
            value = place(value, self._answer_at, self._spelled(verdict.by_id, found))
        lines = {Mode.BACKGROUND: table.background, Mode.WAIT: table.wait, Mode.STREAM: table.stream}
        method, _, path = lines[resume.mode].partition(" ")
        accept = "text/event-stream" if resume.mode is Mode.STREAM else "application/json"
        return Request(method, fill_path(path, names), Request.post("", value).body, accept)

    def _spelled(self, by_id: dict[str | None, Any], found: Found) -> Any:
        keyed = self._profile.resume.keyed
        several = len(found.interrupts) > 1
        if None not in by_id and (keyed == "always" or (keyed == "several" and several)):
            return by_id
        return next(iter(by_id.values()))

    def refusal(self, response: Response) -> ResumeError:
        """By the profile's rules, then by status."""
        return read_refusal(response, self._rules)

    def started(self, response: Response, body: bytes, resume: Resume, found: Found) -> Started | None:
        """By `Content-Location`, by the run in the body, or by the stream's first event."""
        where = self._profile.run
        location = response.header("content-location")
        if resume.mode is Mode.STREAM:
            first = sse.first_event(body)
            run = first.json if first is not None and first.name == "metadata" else {}
        else:
            run = Response(200, (), body).json
            if resume.mode is Mode.WAIT:
                run = point(run, self._profile.wait.run)
        run_id = point(run, where.id)
        if location and run_id is MISSING:
            run_id = location.rstrip("/").rpartition("/")[2]
        if not isinstance(run_id, str):
            return None
        created, updated, metadata = (
            None if (value := point(run, at)) is MISSING else value
            for at in (where.created_at, where.updated_at, where.metadata)
        )
        kept = metadata if isinstance(metadata, dict) else None
        return Started(run_id, found.agent_id, created, updated, "pending", kept)

    def cancel(self, resume: Resume, started: Started) -> Request | None:
        """The profile's `cancel`."""
        return _run_request(self._profile.run.cancel, resume, started)

    def join(self, resume: Resume, started: Started) -> Request | None:
        """The profile's `join`."""
        request = _run_request(self._profile.run.join, resume, started)
        return None if request is None else replace(request, accept="text/event-stream")

    def location(self, resume: Resume, started: Started) -> str:
        """The profile's `location`."""
        return fill_path(self._profile.run.location, {**_names(resume), "run_id": started.run_id})

    def run(self, resume: Resume, started: Started) -> Request:
        """The profile's `read`."""
        method, _, path = self._profile.run.read.partition(" ")
        return Request(method, fill_path(path, {**_names(resume), "run_id": started.run_id}))

    def has_ended(self, response: Response) -> bool:
        """Whether the run's status is none of the active ones."""
        return point(response.json, self._profile.run.status) not in self._profile.run.active

    def ended(self, body: bytes) -> Ended:
        """By the profile's `[wait]`."""
        answer, where = Response(200, (), body.strip()).json, self._profile.wait
        values, messages, error = (
            MISSING if at is None else point(answer, at) for at in (where.values, where.messages, where.error)
        )
        return Ended(
            _with_messages(None if values is MISSING else values, None if messages is MISSING else messages),
            None if error is MISSING else error,
        )

    def delete(self, resume: Resume) -> Request | None:
        """The profile's `delete`."""
        return _run_request(self._profile.delete, resume, None)


_FIELDS = frozenset({"thread_id", "agent_id", "input", "messages", "metadata", "config", "webhook"}) | {
    "on_completion",
    "on_disconnect",
    "stream_mode",
}


def _names(resume: Resume) -> dict[str, Any]:
    given = {"thread_id": resume.thread_id, "agent_id": resume.body.agent_id}
    return {name: value for name, value in given.items() if value is not None}


def _request(table: LookupTable | AgentTable, names: dict[str, Any]) -> Request:
    method, _, path = table.request.partition(" ")
    body = None if table.json_ is None else Request.post("", fill(table.json_, names)).body
    return Request(method, fill_path(path, names), body)


def _run_request(line: str | None, resume: Resume, started: Started | None) -> Request | None:
    if line is None:
        return None
    method, _, path = line.partition(" ")
    names = _names(resume) if started is None else {**_names(resume), "run_id": started.run_id}
    return Request(method, fill_path(path, names))


def _with_messages(values: Any, messages: Any) -> Any:
    """Values as the draft's `RunWaitResponse` is made from them: with the messages in them."""
    if messages is None:
        return values
    return {**(values if isinstance(values, dict) else {}), "messages": messages}
