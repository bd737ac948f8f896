"""The dialect that a profile describes: its tables, filled in and read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import (
    Continue,
    Decision,
    Dialect,
    Fingerprint,
    Found,
    Lookup,
    ResponseKind,
    Started,
    ThreadStatus,
    plain_path,
)
from ap_resume_shim.core.dialect_helpers import Rule, read_lookup, read_refusal
from ap_resume_shim.core.errors import (
    AgentNotFound,
    AmbiguousInterrupt,
    ConfigurationError,
    InvalidRequest,
    MultipleInterrupts,
    ResumeError,
    UnsupportedInput,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.interrupt import Interrupt
from ap_resume_shim.core.protocol import Mode, Resume, as_values
from ap_resume_shim.core.steps import Ask, Ended, Reframer, Request, Response
from ap_resume_shim.profiles.schema import (
    AgentTable,
    LookupTable,
    PickTable,
    Profile,
    Scalar,
    Type,
    answer_pointer,
    every,
)
from ap_resume_shim.profiles.stream import ProfileStream
from ap_resume_shim.profiles.template import MISSING, equal, fill, fill_path, names_in, parts, place, point

_INSTEAD: dict[Mode, tuple[Mode, ...]] = {
    Mode.BACKGROUND: (Mode.STREAM, Mode.WAIT),
    Mode.WAIT: (Mode.BACKGROUND, Mode.STREAM),
    Mode.STREAM: (Mode.BACKGROUND, Mode.WAIT),
}
"""What a mode that a profile leaves out is made from, the better first."""
_KINDS: dict[Mode, ResponseKind] = {Mode.BACKGROUND: "run", Mode.WAIT: "result", Mode.STREAM: "events"}


class ProfileDialect(Dialect):
    """The dialect that a profile describes."""

    accepts_at_head = True
    makes_run_ids = True

    def __init__(self, profile: Profile, *, resume_at: str | None = None) -> None:
        """`resume_at` moves the answer: a JSON pointer into the body; "" is the whole of it."""
        try:
            self._answer_at = answer_pointer(profile.resume.answer if resume_at is None else resume_at)
        except ValueError as error:
            raise ConfigurationError(f"resume_at: {error}") from None
        self.profile = profile
        self._headers = tuple(profile.headers.items())
        self._about = about_the_thread(profile)
        self._rules = tuple(Rule(e.status, e.raises, e.contains) for e in profile.error)
        words = profile.status
        self._words: dict[ThreadStatus, list[Scalar]] = {
            "idle": words.idle,
            "busy": words.busy,
            "interrupted": words.interrupted,
            "error": words.error,
        }
        table = profile.resume
        given = {Mode.BACKGROUND: table.background, Mode.WAIT: table.wait, Mode.STREAM: table.stream}
        sources = {mode: next(m for m in (mode, *_INSTEAD[mode]) if given[m] is not None) for mode in Mode}
        self._lines = {mode: str(given[source]) for mode, source in sources.items()}
        self.response_kinds = {mode: _KINDS[source] for mode, source in sources.items()}
        self.starts_runs = not any("run_id" in names_in(line) for line in self._lines.values())
        self.name, self.family, self.thread_is = profile.name, profile.family, profile.thread_is
        self.limits = tuple(profile.limits)
        self.unsupported: frozenset[str] = frozenset(profile.unsupported)
        answer_in = {parts(self._answer_at)[0]} if self._answer_at else set()
        self.reserved: frozenset[str] = frozenset({*table.json_} | answer_in) - _FIELDS
        self.partial, self.forwards_extra = profile.partial, profile.forwards_extra
        self.commit = profile.resume.commit
        self.redirecting: frozenset[str] = frozenset(profile.resume.redirecting)
        form = profile.interrupt.id_form
        self.interrupt_id_form = None if form is None else re.compile(form)
        self.vocabulary = frozenset(profile.vocabulary)
        if profile.detect is not None:
            openapi = frozenset(map(plain_path, profile.detect.openapi))
            takes = {plain_path(route): frozenset(names) for route, names in profile.detect.takes.items()}
            self.specificity = profile.detect.specificity
            self.fingerprints = (
                Fingerprint(openapi, {**dict.fromkeys(profile.detect.info_has), **profile.detect.info}, takes),
            )

    def lookup(self, resume: Resume, *, agent: bool = True) -> Lookup:
        """The profile's lookups, side by side, and the named agent; after a run, those about the thread."""
        profile, names = self.profile, _names(resume)
        wanted = resume.body.agent_id if agent else None
        told: dict[str, Any] = {}
        left = {name: table for name, table in profile.lookup.items() if agent or name in self._about}
        first = True
        while ready := {
            name: known for name in left if (known := self._names_for(left[name], names, told)) is not None
        }:
            tables: list[tuple[LookupTable | AgentTable, Mapping[str, Any]]] = [
                (left.pop(name), known) for name, known in ready.items()
            ]
            if first and wanted is not None and profile.agent is not None:
                tables.append((profile.agent, names))
            answers = yield Ask(tuple(self.request(table, known) for table, known in tables))
            told |= {name: read_lookup(answer, self._rules) for name, answer in zip(ready, answers, strict=False)}
            for name, pick in profile.pick.items():
                if _root(pick.of) in told:
                    told[name] = self._picked(pick, told)
            if len(answers) > len(ready):
                self._check_agent(answers[-1], str(wanted))
            first = False
        return self._found(told, wanted)

    def _names_for(
        self, table: LookupTable, names: Mapping[str, Any], told: dict[str, Any]
    ) -> Mapping[str, Any] | None:
        """The names for a lookup's request; None as long as one of them is missing."""
        if not table.names and "{agent_id}" not in table.request:
            return names
        found = {name: point(told, pointer) for name, pointer in table.names.items()}
        if any(value is MISSING or value is None for value in found.values()):
            return None
        known = {**names, **found}
        return known if names_in(table.request) <= set(known) else None

    @staticmethod
    def _picked(pick: PickTable, told: dict[str, Any]) -> Any:
        listed = point(told, pick.of)
        items = listed if isinstance(listed, list) else [listed]  # of a pick before
        fitting = [item for item in items if isinstance(item, dict) and _fits(item, pick.where)]
        if pick.which == "only" and len(fitting) > 1:
            raise AmbiguousInterrupt(
                f"{len(fitting)} runs of the thread wait for an answer, and this backend resumes one run at a time, "
                "which the draft's routes cannot name. Answer them by the backend's own API.",
                (),
            )
        return None if not fitting else fitting[-1 if pick.which == "last" else 0]

    def _check_agent(self, answer: Response, wanted: str) -> None:
        if answer.status in (400, 404, 422):
            raise AgentNotFound(f"The backend knows no agent {wanted!r}: leave `agent_id` out to use its own.")
        read_lookup(answer, self._rules)

    def _found(self, told: dict[str, Any], wanted: str | None) -> Found:
        def at(pointers: str | list[str] | None) -> Any:
            values = (point(told, pointer) for pointer in every(pointers))
            return next((value for value in values if value is not MISSING and value is not None), None)

        where = self.profile.found
        words = [word for pointer in every(where.status) if (word := at(pointer)) is not None]
        # Lookups that were made side by side may show the thread before and after a change.
        busy = any(equal(word, known) for word in words for known in self._words["busy"])
        status: ThreadStatus = "busy" if busy else self._status(words[0] if words else None)
        agent = at(where.agent_id)
        if wanted is not None and agent not in (None, wanted) and not self._names_the_agent:
            raise InvalidRequest(
                f"The run that waits is one of {agent!r}, and goes on with that. Leave `agent_id` out.",
                {"field": "agent_id"},
            )
        interrupts = self._interrupts(status, at(where.interrupts), at(where.interrupt))
        return Found(
            status=status,
            interrupts=interrupts,
            breakpoint=status == "interrupted" and not interrupts,
            agent_id=wanted or agent,
            values=_with_messages(at(where.values), at(where.messages)),
            error=at(where.error),
            updated_at=_moment(at(where.updated_at)),
            run_id=at(where.run_id),
        )

    def _status(self, word: Any) -> ThreadStatus:
        unset = self.profile.status.unset
        if word is None and unset is not None:
            return unset
        for status, words in self._words.items():
            if any(equal(word, known) for known in words):
                return status
        raise UpstreamUnrecognised(f"The profile {self.name!r} knows no thread status {word!r}.")

    def _interrupts(self, status: ThreadStatus, listed: Any, asked: Any) -> tuple[Interrupt, ...]:
        if isinstance(listed, list) and (listed or self.profile.breakpoints):
            return tuple(self._interrupt(item) for item in listed)
        if asked is None and status != "interrupted":
            return ()
        return (Interrupt(None, asked),)  # an interrupted thread asks, and may not say what

    def _interrupt(self, item: Any) -> Interrupt:
        where = self.profile.interrupt
        id_, value = point(item, where.id), point(item, where.value)
        if not isinstance(item, dict) and where.value:
            raise UpstreamUnrecognised(f"The profile {self.name!r} knows no interrupts but objects, with id and value.")
        return Interrupt(id_ if isinstance(id_, str) else None, None if value is MISSING else value)

    @property
    def _names_the_agent(self) -> bool:
        return any("agent_id" in names_in(line) for line in self._lines.values()) or "$agent_id" in str(
            self.profile.resume.json_
        )

    def check(self, resume: Resume, found: Found, verdict: Decision) -> None:
        """Whether it can be said what it is the answer to, and whether the value arrives as it is."""
        table = self.profile.resume
        names = {"agent_id": found.agent_id, "run_id": found.run_id}
        for name, what in (("agent_id", "agent"), ("run_id", "run")):
            if names[name] is None and name in names_in(self._lines[resume.mode]):
                raise InvalidRequest(f"The thread does not tell its {what}, which this backend needs{_NAME_IT[name]}.")
        if table.keyed == "never" and len(found.interrupts) > 1:
            raise MultipleInterrupts(
                f"{len(found.interrupts)} interrupts are pending, and this backend cannot be told which one an answer "
                "is for. Let the agent ask one question at a time.",
                found.interrupts,
            )
        if isinstance(verdict, Continue):
            return
        if self._spelled(verdict.by_id, found) is not verdict.by_id:
            self._check_whole(next(iter(verdict.by_id.values())))
        for part in _everything_in(verdict.values):
            self._check_part(part)

    def _check_part(self, part: Any) -> None:
        loses = self.profile.resume.loses
        if "large_integers" in loses and isinstance(part, int) and abs(part) >= 2**53:
            raise UnsupportedInput(
                f"The {self.name} backend does not carry the integer {str(part)[:40]} unchanged: send it as a string."
            )
        if "nul_characters" in loses and isinstance(part, str) and "\0" in part:
            raise UnsupportedInput(
                f"The {self.name} backend does not carry the character U+0000 in a string: leave it out, or encode it."
            )

    def _check_whole(self, value: Any) -> None:
        table = self.profile.resume
        if _type_of(value) not in table.types:
            raise UnsupportedInput(
                f"The {self.name} backend does not carry the {_type_of(value)} of this answer unchanged: "
                f"send {_or(table.types)}."
            )
        if table.reads_maps and isinstance(value, dict) and all(_looks_like_an_id(key) for key in value):
            raise UnsupportedInput(
                f"The {self.name} backend takes an object that is empty, or keyed by interrupt ids, for something "
                "else than an answer: wrap it in an object."
            )

    def resume(self, resume: Resume, found: Found, verdict: Decision) -> Request:
        """The template, with the answer put in its place."""
        table, body = self.profile.resume, resume.body
        names = {
            **_names(resume),
            "metadata": body.metadata,
            "config": None if body.config is None else body.config.model_dump(exclude_unset=True),
            "webhook": body.webhook,
            "agent_id": found.agent_id,
            "run_id": found.run_id,
            "on_disconnect": None if resume.mode is Mode.BACKGROUND else body.on_disconnect,
            "stream_mode": list(body.stream_modes) if self.response_kinds[resume.mode] == "events" else None,
        }
        value: Any = fill(table.json_, {name: item for name, item in names.items() if item is not None})
        if forwarded := self.forwarded(resume):
            value = {**forwarded, **value}
        if not isinstance(verdict, Continue):
            spelled = self._spelled(verdict.by_id, found)
            value = place(value, self._answer_at, spelled) if self._answer_at else spelled
        method, _, path = self._lines[resume.mode].partition(" ")
        accept = "text/event-stream" if self.response_kinds[resume.mode] == "events" else "application/json"
        sent = b"null" if value is None else Request.post("", value).body
        return self._with_headers(Request(method, fill_path(path, names), sent, accept))

    def _spelled(self, by_id: dict[str | None, Any], found: Found) -> Any:
        keyed = self.profile.resume.keyed
        several = len(found.interrupts) > 1
        if None not in by_id and (keyed == "always" or (keyed == "several" and several)):
            return by_id
        return next(iter(by_id.values()))

    def refusal(self, response: Response) -> ResumeError:
        """By the profile's rules, then by status."""
        return read_refusal(response, self._rules)

    def refused(self, resume: Resume, response: Response) -> ResumeError | None:
        """Its stream's first event; or that the run is one of another thread."""
        return super().refused(resume, response) or self._elsewhere(resume, response.body)

    def started(self, response: Response, body: bytes, resume: Resume, found: Found) -> Started | None:
        """By `Content-Location`, by the run in the body, or by the stream's first event; else the run that waited."""
        elsewhere = self._elsewhere(resume, body)
        if elsewhere is not None:
            raise elsewhere
        where = self.profile.run
        location = response.header("content-location")
        run = self._run_in(body, self.response_kinds[resume.mode])
        run_id = point(run, where.id)
        if location and run_id is MISSING:
            run_id = location.rstrip("/").rpartition("/")[2]
        if not isinstance(run_id, str):
            goes_on = "run_id" in names_in(self._lines[resume.mode])
            return Started(found.run_id, found.agent_id) if goes_on and found.run_id is not None else None
        created, updated = (
            None if (value := point(run, at)) is MISSING else _moment(value)
            for at in (where.created_at, where.updated_at)
        )
        return Started(run_id, found.agent_id, created, updated)

    def _run_in(self, body: bytes, response_kinds: ResponseKind) -> Any:
        if response_kinds == "events":
            first = sse.first_event(body)
            return first.json if first is not None and first.name == "metadata" else {}
        run = Response(200, (), body).json
        return point(run, self.profile.wait.run) if response_kinds == "result" else run

    def _elsewhere(self, resume: Resume, body: bytes) -> ResumeError | None:
        """The error where an answer names a thread, and another one than the resume does: no agent asked there."""
        thread_id = point(self._run_in(body, self.response_kinds[resume.mode]), "/thread_id")
        if not isinstance(thread_id, str) or _unspelled(thread_id) == _unspelled(resume.thread_id):
            return None
        return UpstreamUnrecognised(
            f"The backend started a run of another thread, {thread_id}: it does not take the thread where the "
            f"{self.name!r} backend names it. Stop that run, and let the operator name the kind of server.",
            {"thread_id": thread_id, "resume_state": "unknown"},
        )

    def cancel(self, resume: Resume, started: Started) -> Request | None:
        """The profile's `cancel`."""
        return self._of_run(self.profile.run.cancel, resume, started)

    def join(self, resume: Resume, started: Started) -> Request | None:
        """The profile's `join`."""
        request = self._of_run(self.profile.run.join, resume, started)
        return None if request is None else replace(request, accept="text/event-stream")

    def location(self, resume: Resume, started: Started) -> str | None:
        """The profile's `location`."""
        path = self.profile.run.location
        names = _names_of_run(resume, started)
        return None if path is None or not names_in(path) <= set(names) else fill_path(path, names)

    def run(self, resume: Resume, started: Started) -> Request | None:
        """The profile's `read`."""
        return self._of_run(self.profile.run.read, resume, started)

    def awaited(self, resume: Resume, started: Started) -> Request | None:
        """The profile's `wait`, of a run."""
        return self._of_run(self.profile.run.wait, resume, started)

    def has_ended(self, response: Response) -> bool:
        """Whether the run's status is none of the active ones."""
        status = point(response.json, self.profile.run.status)
        return not any(equal(status, word) for word in self.profile.run.active)

    def ended(self, body: bytes) -> Ended:
        """By the profile's `[wait]`."""
        answer, where = Response(200, (), body.strip()).json, self.profile.wait
        if where.values and not isinstance(answer, dict):
            raise UpstreamUnrecognised(f"The profile {self.name!r} knows no result but objects.")
        values, messages, error = (
            MISSING if at is None else point(answer, at) for at in (where.values, where.messages, where.error)
        )
        return Ended(
            _with_messages(None if values is MISSING else values, None if messages is MISSING else messages),
            None if error is MISSING else error,
        )

    def reframer(self, resume: Resume, started: Started) -> Reframer:
        """By the profile's `[stream]`; without one, every byte is passed on."""
        table = self.profile.stream
        return sse.Relay() if table is None else ProfileStream(table, resume.body.stream_modes)

    def delete(self, resume: Resume) -> Request | None:
        """The profile's `delete`."""
        return self._of_run(self.profile.delete, resume, None)

    def _of_run(self, line: str | None, resume: Resume, started: Started | None) -> Request | None:
        if line is None:
            return None
        method, _, path = line.partition(" ")
        names = _names_of_run(resume, started)
        return self._with_headers(Request(method, fill_path(path, names))) if names_in(path) <= set(names) else None

    def request(self, table: LookupTable | AgentTable, names: Mapping[str, Any]) -> Request:
        """The request of a lookup."""
        return self._with_headers(_request(table, names))

    def _with_headers(self, request: Request) -> Request:
        return replace(request, headers=self._headers) if self._headers else request


def about_the_thread(profile: Profile) -> set[str]:
    """The lookups that tell how the thread stands, and those that they need."""
    where = profile.found
    about = (where.status, where.interrupts, where.interrupt, where.values, where.messages, where.error)
    needed = {_root(pointer) for pointers in (*about, where.updated_at) for pointer in every(pointers)}
    while True:
        more = {_root(profile.pick[name].of) for name in needed & set(profile.pick)}
        more |= {_root(at) for name in needed & set(profile.lookup) for at in profile.lookup[name].names.values()}
        if more <= needed:
            return needed
        needed |= more


_FIELDS = frozenset({"thread_id", "agent_id", "input", "messages", "metadata", "config", "webhook"}) | {
    "on_completion",
    "on_disconnect",
    "stream_mode",
}
_NAME_IT = {"agent_id": ": name it in `agent_id`", "run_id": ""}


def _names(resume: Resume) -> dict[str, Any]:
    given = {"thread_id": resume.thread_id, "agent_id": resume.body.agent_id}
    return {name: value for name, value in given.items() if value is not None}


def _names_of_run(resume: Resume, started: Started | None) -> dict[str, Any]:
    """The server does not know a run by an id that the shim has made."""
    known = started is not None and started.run_id != resume.nonce
    return {**_names(resume), "run_id": started.run_id} if started is not None and known else _names(resume)


def _request(table: LookupTable | AgentTable, names: Mapping[str, Any]) -> Request:
    method, _, path = table.request.partition(" ")
    body = None if table.json_ is None else Request.post("", fill(table.json_, names)).body
    return Request(method, fill_path(path, names), body)


def _unspelled(thread_id: str) -> str:
    """An id without what the spellings of a UUID differ in."""
    return re.sub(r"^urn:uuid:|[{}-]", "", thread_id.lower())


def _root(pointer: str) -> str:
    return parts(pointer)[0]


def _fits(item: Any, where: Mapping[str, Any]) -> bool:
    """Whether an item has, at each pointer, the value, or one of them."""
    wanted = {at: value if isinstance(value, list) else [value] for at, value in where.items()}
    return all(any(equal(point(item, at), value) for value in values) for at, values in wanted.items())


def _with_messages(values: Any, messages: Any) -> Any:
    """Values as the draft's `RunWaitResponse` is made from them: with the messages in them."""
    if messages is None:
        return values
    return {**as_values(values), "messages": messages}


def _moment(value: Any) -> str | None:
    """A time as RFC 3339 has it, from text that may lack its zone, or seconds since 1970."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC).isoformat()
    if not isinstance(value, str):
        return None
    return value + "Z" if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?", value) else value


def _type_of(value: Any) -> Type:
    """A value's type, as JSON calls it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    kinds: tuple[tuple[type | tuple[type, ...], Type], ...] = (
        ((int, float), "number"),
        (str, "string"),
        (list, "array"),
        (dict, "object"),
    )
    return next(name for kind, name in kinds if isinstance(value, kind))


def _everything_in(value: Any) -> Iterator[Any]:
    """A value and all that is in it, keys too."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for part in value:
            yield from _everything_in(part)
    else:
        yield value


def _or(types: list[Type]) -> str:
    named = [name for name in get_args(Type) if name in types]
    return " or ".join(f"an {name}" if name[0] in "ao" else "null" if name == "null" else f"a {name}" for name in named)


def _looks_like_an_id(key: str) -> bool:
    return len(key) == 32 and all(char in "0123456789abcdef" for char in key)
