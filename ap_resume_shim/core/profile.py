"""A profile: a backend described by data, in TOML, where data is enough.

`docs/reference/profile.md` documents the language. A profile is validated when it is loaded.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Generator, Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ap_resume_shim.core import sse
from ap_resume_shim.core.dialect import Ended, Found, GoOn, Interrupt, Lookup, Started, ThreadStatus, Verdict
from ap_resume_shim.core.errors import (
    AgentNotFound,
    ConfigurationError,
    InvalidRequest,
    MultipleInterrupts,
    ResumeError,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.exchange import Ask, Reframer, Request, Response, Step
from ap_resume_shim.core.protocol import Mode, Resume
from ap_resume_shim.core.reading import RAISES, Rule, read_lookup, read_refusal
from ap_resume_shim.core.template import MISSING, fill, fill_path, names_in, parts, place, point


def _pointer(text: str) -> str:
    parts(text)
    return text


def _answer_pointer(text: str) -> str:
    if not parts(text):
        raise ValueError("the answer needs a place in the body, such as /input/command/resume")
    return text


def _request_line(*names: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) /\S*", text):
            raise ValueError(
                f"a request is written as a method and a path, such as 'GET /threads/{{thread_id}}': {text!r}"
            )
        return _known(text, names)

    return AfterValidator(check)


def _run_path(text: str) -> str:
    return _known(text, ("thread_id", "run_id"))


def _known(text: str, names: Iterable[str]) -> str:
    if unknown := names_in(text).difference(names):
        known = " and ".join(f"{{{name}}}" for name in names)
        raise ValueError(f"this path knows {known}, not {{{min(unknown)}}}")
    return text


def _known_error(code: str) -> str:
    if code not in RAISES:
        raise ValueError(f"{code!r} is none of {', '.join(sorted(RAISES))}")
    return code


Pointer = Annotated[str, AfterValidator(_pointer)]
ThreadLine = Annotated[str, _request_line("thread_id")]
AgentLine = Annotated[str, _request_line("thread_id", "agent_id")]
RunLine = Annotated[str, _request_line("thread_id", "run_id")]
RunPath = Annotated[str, AfterValidator(_run_path)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LookupTable(_Table):
    """A request on the thread; its answer is known to `[found]` by the table's name."""

    request: ThreadLine
    json_: Annotated[dict[str, Any] | None, Field(alias="json")] = None


class AgentTable(_Table):
    """A request on the agent that a client names."""

    request: AgentLine
    json_: Annotated[dict[str, Any] | None, Field(alias="json")] = None


class FoundTable(_Table):
    """Where the lookups' answers tell what: pointers that begin with a lookup's name."""

    status: Pointer
    interrupts: Pointer | None = None
    values: Pointer | None = None
    messages: Pointer | None = None
    agent_id: Pointer | None = None
    run_id: Pointer | None = None
    error: Pointer | None = None
    updated_at: Pointer | None = None


class StatusTable(_Table):
    """The backend's words for the draft's four states of a thread."""

    idle: list[str] = ["idle"]
    busy: list[str] = ["busy"]
    interrupted: list[str] = ["interrupted"]
    error: list[str] = ["error"]


class ResumeTable(_Table):
    """The create-run request that resumes, and where in its body the answer goes."""

    background: AgentLine
    wait: AgentLine
    stream: AgentLine
    answer: Annotated[str, AfterValidator(_answer_pointer)]
    json_: Annotated[dict[str, Any], Field(alias="json")]
    keyed: Literal["never", "several", "always"] = "several"


class RunTable(_Table):
    """The run: where answers tell it, and what can be done with it."""

    id: Pointer = "/run_id"
    status: Pointer = "/status"
    active: list[str] = ["pending", "running"]
    created_at: Pointer = "/created_at"
    updated_at: Pointer = "/updated_at"
    metadata: Pointer = "/metadata"
    read: RunLine
    location: RunPath
    cancel: RunLine | None = None


class WaitTable(_Table):
    """Where the wait's answer tells the result."""

    run: Pointer = "/run"
    values: Pointer = "/values"
    messages: Pointer = "/messages"
    error: Pointer | None = None


class ErrorTable(_Table):
    """A refusal that means something else than its status."""

    status: int
    contains: str = ""
    raises: Annotated[str, AfterValidator(_known_error)]


class Profile(_Table):
    """The whole file."""

    name: str
    thread_is: str
    unsupported: list[Literal["metadata", "config", "webhook", "on_completion"]] = []
    partial: bool = True
    forwards_extra: bool = False
    lookup: Annotated[dict[str, LookupTable], Field(min_length=1)]
    found: FoundTable
    status: StatusTable = StatusTable()
    agent: AgentTable | None = None
    resume: ResumeTable
    run: RunTable
    wait: WaitTable = WaitTable()
    delete: ThreadLine | None = None
    error: list[ErrorTable] = []

    @model_validator(mode="after")
    def _pointers_begin_with_a_lookup(self) -> Profile:
        for field, pointer in self.found:
            if pointer is not None and (not parts(pointer) or parts(pointer)[0] not in self.lookup):
                raise ValueError(f"[found] {field} begins with none of the lookups: /{', /'.join(self.lookup)}")
        return self


def load_profile(text: str, *, source: str = "profile") -> Profile:
    """Read a profile; raises `ConfigurationError` with the place, and the nearest valid key, of every mistake."""
    try:
        return Profile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    except ValidationError as error:
        lines = [f"{source}: {_explain(item, text)}" for item in error.errors(include_url=False)]
        raise ConfigurationError("\n".join(lines)) from None


def _explain(item: Any, text: str) -> str:
    place = [str(part) for part in item["loc"]]
    key = place[-1] if place else ""
    number = next((n for n, line in enumerate(text.splitlines(), 1) if re.match(rf"\s*{re.escape(key)}\s*=", line)), 0)
    where = f"line {number}: " * bool(key and number) + f"{'.'.join(place)}: " * bool(place)
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, _KEYS, n=1)
        return f"{where}unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    return f"{where}{item['msg'].removeprefix('Value error, ')}"


_KEYS = sorted(
    {
        (field.alias or name)
        for table in (
            Profile,
            LookupTable,
            AgentTable,
            FoundTable,
            StatusTable,
            ResumeTable,
            RunTable,
            WaitTable,
            ErrorTable,
        )
        for name, field in table.model_fields.items()
    }
)


class ProfileDialect:
    """The dialect that a profile describes."""

    carries_both = False

    def __init__(self, profile: Profile, *, resume_at: str | None = None) -> None:
        """`resume_at` moves the answer: a JSON pointer into the create-run body."""
        try:
            self._answer_at = _answer_pointer(profile.resume.answer if resume_at is None else resume_at)
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

    def thread_key(self, thread_id: str) -> str:
        """Ids are opaque: compared byte for byte."""
        return thread_id

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

    def prepare(self, resume: Resume, found: Found, verdict: Verdict) -> Generator[Step, Any, tuple[Found, Verdict]]:
        """A profile needs no preparation."""
        yield from ()
        return found, verdict

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

    def reframer(self) -> Reframer:
        """Profiles are for backends whose events are the Agent Protocol's."""
        return sse.Relay()


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
