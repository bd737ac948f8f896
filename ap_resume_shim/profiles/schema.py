"""The schema of profiles: a backend described by data, in TOML, where data is enough.

`docs/reference/profile.md` documents the language. A profile is validated when it is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ap_resume_shim.core.dialect_helpers import RAISES
from ap_resume_shim.core.json_pointer import parts
from ap_resume_shim.profiles.template import names_in

ANOTHER_KIND = (
    "A server of another kind is described by a profile, about twenty lines of TOML: "
    'profile="my.toml" for the middleware, --profile my.toml for the sidecar. '
    "How to write one: docs/how-to/write-a-profile.md; its JSON schema: `ap-resume-shim schema profile`."
)
"""Advice for operators whose backend is unknown."""


def _pointer(text: str) -> str:
    parts(text)
    return text


def answer_pointer(text: str) -> str:
    """Return the place of the answer; the empty pointer is the whole body. Raises `ValueError`."""
    return _pointer(text)


def _request_line(*names: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) /\S*", text):
            raise ValueError(
                f"a request is written as a method and a path, such as 'GET /threads/{{thread_id}}': {text!r}"
            )
        return _known(text, names) if names else text

    return AfterValidator(check)


def _run_path(text: str) -> str:
    return _known(text, ("thread_id", "run_id"))


def _known(text: str, names: Iterable[str]) -> str:
    if unknown := names_in(text).difference(names):
        known = " and ".join(f"{{{name}}}" for name in names)
        raise ValueError(f"this path supports {known}, not {{{min(unknown)}}}")
    return text


def _known_error(code: str) -> str:
    if code not in RAISES:
        raise ValueError(f"{code!r} is none of {', '.join(sorted(RAISES))}")
    return code


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


Pointer = Annotated[str, AfterValidator(_pointer)]
Pointers = Pointer | Annotated[list[Pointer], Field(min_length=1)]
"""One pointer, or several: the first that finds a value other than null applies."""
ThreadRequestLine = Annotated[str, _request_line("thread_id")]
AgentRequestLine = Annotated[str, _request_line("thread_id", "agent_id")]
ResumeRequestLine = Annotated[str, _request_line("thread_id", "agent_id", "run_id")]
RunRequestLine = Annotated[str, _request_line("thread_id", "run_id")]
RunPath = Annotated[str, AfterValidator(_run_path)]
Scalar = str | int | float | bool
"""A value that responses are compared with; TOML has no null."""
Type = Literal["null", "boolean", "number", "string", "array", "object"]


class Table(BaseModel):
    """Base of all tables: unknown keys and values of other types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LookupTable(Table):
    """A request about the thread. Pointers in `[found]` begin with the table's name to read its response."""

    request: Annotated[str, _request_line()]
    json_: Annotated[dict[str, Any] | None, Field(alias="json")] = None
    names: Annotated[dict[str, Pointer], Field(alias="with")] = {}
    """Further names for the request, with pointers into the responses of other lookups. If one of them finds nothing,
    the request is not sent."""

    @model_validator(mode="after")
    def _names_are_known(self) -> LookupTable:
        _known(self.request, ("thread_id", "agent_id", *self.names))
        return self


class PickTable(Table):
    """An item of a list in the response of a lookup, or of an earlier pick.

    Pointers in `[found]` begin with the table's name.
    """

    of: Pointer
    where: dict[str, Scalar | list[Scalar]] = {}
    """The conditions for the item: a pointer into it, and the expected value, or several."""
    which: Literal["only", "first", "last"] = "only"
    """Which item to pick if several match; with `only`, several are an error (409 `ambiguous_interrupt`)."""


class AgentTable(Table):
    """A request about the agent that a client names."""

    request: AgentRequestLine
    json_: Annotated[dict[str, Any] | None, Field(alias="json")] = None


class FoundTable(Table):
    """The thread's state: pointers into the lookups' responses, each beginning with the name of a lookup or a pick."""

    status: Pointers
    interrupts: Pointers | None = None
    """The list of questions."""
    interrupt: Pointers | None = None
    """The value of the only question, if there is no list."""
    values: Pointers | None = None
    messages: Pointers | None = None
    agent_id: Pointers | None = None
    run_id: Pointers | None = None
    error: Pointers | None = None
    updated_at: Pointers | None = None


class ListTable(Table):
    """A request that lists threads that may have a question; each of them is read by the lookups."""

    request: Annotated[str, _request_line("limit", "offset", "agent_id")]
    json_: Annotated[dict[str, Any] | None, Field(alias="json")] = None
    """With `$limit`, `$offset` and `$agent_id`. Without an offset here or in the path, there is only one page."""
    threads: Pointer = ""
    """The list in the response."""
    thread_id: Pointer = "/thread_id"
    agent_id: Pointer = "/agent_id"


class InterruptTable(Table):
    """Pointers to the id and the value of an item of `[found] interrupts`; the empty pointer is the item itself."""

    id: Pointer = "/id"
    value: Pointer = "/value"
    id_form: Annotated[str, AfterValidator(_regular_expression)] | None = None
    """A regular expression that matches every whole id, and no key of an ordinary answer."""


class StatusTable(Table):
    """The backend's values for the draft's four states of a thread."""

    idle: list[Scalar] = ["idle"]
    busy: list[Scalar] = ["busy"]
    interrupted: list[Scalar] = ["interrupted"]
    error: list[Scalar] = ["error"]
    unset: Literal["idle", "busy", "interrupted", "error"] | None = None
    """The state of a thread without a status, such as one that never ran."""


class ResumeTable(Table):
    """The request that resumes, and the place of the answer in its body. Modes that are left out are derived."""

    background: ResumeRequestLine | None = None
    """The response is a reference to the run, which continues."""
    wait: ResumeRequestLine | None = None
    """The response comes when the run has ended."""
    stream: ResumeRequestLine | None = None
    """The response is the run's event stream, with the Agent Protocol's events."""
    answer: Annotated[str, AfterValidator(answer_pointer)]
    json_: Annotated[dict[str, Any], Field(alias="json")] = {}
    keyed: Literal["never", "several", "always"] = "several"
    types: list[Type] = ["null", "boolean", "number", "string", "array", "object"]
    """The JSON types that reach the agent unchanged, where the answer is not keyed by interrupt id."""
    reads_maps: bool = False
    """True if the server reads an object that is empty, or whose keys all look like interrupt ids, as answers by id."""
    loses: list[Literal["large_integers", "nul_characters"]] = []
    """Values that do not arrive unchanged, anywhere in an answer: integers beyond ±(2⁵³-1), U+0000 in text."""
    commit: Literal["late", "with_answer"] = "late"
    """`with_answer` if the server was proved to show the resume in the thread's state before it responds."""
    redirecting: list[str] = []
    """Names in `config` that would make the server run another thread or checkpoint; a trailing `*` matches any
    suffix."""

    @model_validator(mode="after")
    def _one_mode_is_there(self) -> ResumeTable:
        if not (self.background or self.wait or self.stream):
            raise ValueError("one of background, wait and stream is needed: the others are derived from it")
        return self


class RunTable(Table):
    """The run: pointers into the responses that describe it, and requests about it."""

    id: Pointer = "/run_id"
    thread_id: Pointer = "/thread_id"
    """In the response to `read`: the thread of the run, for answers of clients that name only the run."""
    status: Pointer = "/status"
    active: list[Scalar] = ["pending", "running"]
    created_at: Pointer = "/created_at"
    updated_at: Pointer = "/updated_at"
    read: RunRequestLine | None = None
    wait: RunRequestLine | None = None
    """The response comes when the run has ended, in the form of `[wait]`."""
    location: RunPath | None = None
    cancel: RunRequestLine | None = None
    join: RunRequestLine | None = None
    """The response is the event stream of a run in progress."""


class WaitTable(Table):
    """Pointers to the result in the response of `wait`."""

    run: Pointer = "/run"
    values: Pointer = "/values"
    messages: Pointer = "/messages"
    error: Pointer | None = None


class StreamTable(Table):
    """The names of the backend's events, if they are not the draft's; an event without a name here is dropped."""

    values: list[str] = []
    messages: list[str] = []
    updates: list[str] = []
    custom: list[str] = []
    error: str = "error"
    interrupt: str | None = None
    """The event that carries a question."""
    question: Pointer = ""
    """The pointer to the question in that event's data."""


class ErrorTable(Table):
    """A refusal whose meaning differs from that of its status."""

    status: int
    contains: str = ""
    raises: Annotated[str, AfterValidator(_known_error)]


class DetectTable(Table):
    """How `auto` detects the server: it must fulfil every condition."""

    openapi: list[str] = []
    """Paths in `/openapi.json`; parameter names do not matter."""
    info: dict[str, str | int | bool] = {}
    """JSON pointers into `/info`, and the expected values."""
    info_has: list[Pointer] = []
    """JSON pointers into `/info` that must find a value."""
    takes: dict[str, list[str]] = {}
    """Fields that the request body of a route must define, such as `thread_id` for `POST /runs`."""
    specificity: int = 0
    """If a server matches several backends, `auto` chooses the one with the highest specificity."""


class Profile(Table):
    """The whole file."""

    name: str
    extends: str | None = None
    """The name of a profile of this package. Its keys and tables apply where this file has none with that name."""
    family: str = "described by a profile"
    thread_is: str
    limits: list[str] = []
    unsupported: list[Literal["metadata", "config", "webhook", "on_completion"]] = []
    partial: bool = True
    forwards_extra: bool = False
    vocabulary: list[str] = []
    """Fields of the server's own create-run body: they are forwarded, and never reported as misspelt."""
    breakpoints: bool = True
    """True if an interrupted thread with an empty list of questions stopped at a breakpoint."""
    headers: dict[str, str] = {}
    """Header fields of every request, in addition to the client's own."""
    detect: DetectTable | None = None
    lookup: Annotated[dict[str, LookupTable], Field(min_length=1)]
    pick: dict[str, PickTable] = {}
    found: FoundTable
    interrupt: InterruptTable = InterruptTable()
    status: StatusTable = StatusTable()
    agent: AgentTable | None = None
    list_: Annotated[ListTable | None, Field(alias="list")] = None
    resume: ResumeTable
    run: RunTable = RunTable()
    wait: WaitTable = WaitTable()
    stream: StreamTable | None = None
    delete: ThreadRequestLine | None = None
    error: list[ErrorTable] = []
    conventions: list[Literal["langgraph-v1", "langgraph-input-respond"]] = []
    """Conventions in which clients answer, besides requests like those of `[resume]`: `command.resume` in a request
    that creates a run, as LangGraph's SDK sends it, and `input.respond` of its commands."""

    @model_validator(mode="after")
    def _pointers_have_a_known_root(self) -> Profile:
        roots = tuple(self.lookup)
        for name, pick in self.pick.items():
            _check_root(f"[pick.{name}] of", pick.of, roots)
            roots = (*roots, name)
        for name, lookup in self.lookup.items():
            for of, pointer in lookup.names.items():
                _check_root(f"[lookup.{name}] with.{of}", pointer, roots)
        for field, pointers in self.found:
            for pointer in every(pointers):
                _check_root(f"[found] {field}", pointer, roots)
        return self

    @model_validator(mode="after")
    def _the_interrupted_run_is_found(self) -> Profile:
        """Refuse a profile that needs `{run_id}` and cannot find it: every resume would be refused."""
        lines = (self.resume.background, self.resume.wait, self.resume.stream)
        if self.found.run_id is None and any(line and "run_id" in names_in(line) for line in lines):
            raise ValueError("[resume] needs {run_id}: set run_id in [found] to the place of the waiting run")
        return self


def _check_root(place: str, pointer: str, roots: tuple[str, ...]) -> None:
    if not parts(pointer) or parts(pointer)[0] not in roots:
        raise ValueError(f"{place} does not begin with a known name: /{', /'.join(roots)}")


def every(pointers: str | list[str] | None) -> list[str]:
    """Return the pointers of one place of a profile as a list."""
    return [] if pointers is None else [pointers] if isinstance(pointers, str) else pointers
