"""A profile: a backend described by data, in TOML, where data is enough.

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
"""For those whose backend is not known."""


def _pointer(text: str) -> str:
    parts(text)
    return text


def answer_pointer(text: str) -> str:
    """The place of the answer; the empty pointer is the whole body. Raises `ValueError`."""
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
        raise ValueError(f"this path knows {known}, not {{{min(unknown)}}}")
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
"""A place, or several: the first where something else than null is."""
ThreadRequestLine = Annotated[str, _request_line("thread_id")]
AgentRequestLine = Annotated[str, _request_line("thread_id", "agent_id")]
ResumeRequestLine = Annotated[str, _request_line("thread_id", "agent_id", "run_id")]
RunRequestLine = Annotated[str, _request_line("thread_id", "run_id")]
RunPath = Annotated[str, AfterValidator(_run_path)]
Scalar = str | int | float | bool
"""A value that answers are compared with; TOML has no null."""
Type = Literal["null", "boolean", "number", "string", "array", "object"]


class Table(BaseModel):
    """Base of all tables: unknown keys and values of other types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LookupTable(Table):
    """A request on the thread; its answer is known to `[found]` by the table's name."""

    request: Annotated[str, _request_line()]
    json_: Annotated[dict[str, Any] | None, Field(alias="json")] = None
    names: Annotated[dict[str, Pointer], Field(alias="with")] = {}
    """Further names for the request, from what other lookups told. It is left out where one of them is not there."""

    @model_validator(mode="after")
    def _names_are_known(self) -> LookupTable:
        _known(self.request, ("thread_id", "agent_id", *self.names))
        return self


class PickTable(Table):
    """An item of a list that a lookup found, or of a pick before; known to `[found]` by the table's name."""

    of: Pointer
    where: dict[str, Scalar | list[Scalar]] = {}
    """What the item has: a pointer into it, and the value there, or one of several."""
    which: Literal["only", "first", "last"] = "only"
    """Which one, of several that fit; with `only`, several are one too many (409 `ambiguous_interrupt`)."""


class AgentTable(Table):
    """A request on the agent that a client names."""

    request: AgentRequestLine
    json_: Annotated[dict[str, Any] | None, Field(alias="json")] = None


class FoundTable(Table):
    """Where the lookups' answers tell what: pointers that begin with the name of a lookup or a pick."""

    status: Pointers
    interrupts: Pointers | None = None
    """A list of questions."""
    interrupt: Pointers | None = None
    """The one question's value, where there is no list."""
    values: Pointers | None = None
    messages: Pointers | None = None
    agent_id: Pointers | None = None
    run_id: Pointers | None = None
    error: Pointers | None = None
    updated_at: Pointers | None = None


class InterruptTable(Table):
    """Where an item of `[found] interrupts` has its id and its value; the empty pointer is the item itself."""

    id: Pointer = "/id"
    value: Pointer = "/value"
    id_form: Annotated[str, AfterValidator(_regular_expression)] | None = None
    """What every id matches as a whole, and no key of an ordinary answer: a regular expression."""


class StatusTable(Table):
    """The backend's values for the draft's four states of a thread."""

    idle: list[Scalar] = ["idle"]
    busy: list[Scalar] = ["busy"]
    interrupted: list[Scalar] = ["interrupted"]
    error: list[Scalar] = ["error"]
    unset: Literal["idle", "busy", "interrupted", "error"] | None = None
    """What a thread is that tells no status, such as one that never ran."""


class ResumeTable(Table):
    """The request that resumes, and where in its body the answer goes. Modes that are left out are derived."""

    background: ResumeRequestLine | None = None
    """Answered with the run, which goes on."""
    wait: ResumeRequestLine | None = None
    """Answered when the run has ended."""
    stream: ResumeRequestLine | None = None
    """Answered with the run's events, those of the Agent Protocol."""
    answer: Annotated[str, AfterValidator(answer_pointer)]
    json_: Annotated[dict[str, Any], Field(alias="json")] = {}
    keyed: Literal["never", "several", "always"] = "several"
    types: list[Type] = ["null", "boolean", "number", "string", "array", "object"]
    """The JSON values that arrive at the agent as they are, where the answer is not keyed by interrupt id."""
    reads_maps: bool = False
    """Whether an object that is empty, or all of whose keys look like interrupt ids, is taken for answers by id."""
    loses: list[Literal["large_integers", "nul_characters"]] = []
    """What does not arrive as it is, anywhere in an answer: integers beyond ±(2⁵³-1), U+0000 in text."""
    commit: Literal["late", "with_answer"] = "late"
    """`with_answer` where the server was proved to show the resume in the thread's state before it answers it."""
    redirecting: list[str] = []
    """Names in `config` by which the server would run another thread or checkpoint; a trailing `*` is any ending."""

    @model_validator(mode="after")
    def _one_mode_is_there(self) -> ResumeTable:
        if not (self.background or self.wait or self.stream):
            raise ValueError("one of background, wait and stream is needed: the others are derived from it")
        return self


class RunTable(Table):
    """The run: where answers tell it, and what can be done with it."""

    id: Pointer = "/run_id"
    status: Pointer = "/status"
    active: list[Scalar] = ["pending", "running"]
    created_at: Pointer = "/created_at"
    updated_at: Pointer = "/updated_at"
    read: RunRequestLine | None = None
    wait: RunRequestLine | None = None
    """Answered, as `[wait]` says, when the run has ended."""
    location: RunPath | None = None
    cancel: RunRequestLine | None = None
    join: RunRequestLine | None = None
    """Answered with the events of a run that goes on already."""


class WaitTable(Table):
    """Where the wait's answer tells the result."""

    run: Pointer = "/run"
    values: Pointer = "/values"
    messages: Pointer = "/messages"
    error: Pointer | None = None


class StreamTable(Table):
    """The names of the backend's events, where they are not the draft's; what has no name here is left out."""

    values: list[str] = []
    messages: list[str] = []
    updates: list[str] = []
    custom: list[str] = []
    error: str = "error"
    interrupt: str | None = None
    """The event of a question."""
    question: Pointer = ""
    """Where in its data the question is."""


class ErrorTable(Table):
    """A refusal that means something else than its status."""

    status: int
    contains: str = ""
    raises: Annotated[str, AfterValidator(_known_error)]


class DetectTable(Table):
    """How `auto` can tell the server from others: all that is given has to be there."""

    openapi: list[str] = []
    """Paths of `/openapi.json`, whatever their parameters are called."""
    info: dict[str, str | int | bool] = {}
    """Pointers into `/info`, and the values there."""
    info_has: list[Pointer] = []
    """Pointers into `/info` where anything is."""
    takes: dict[str, list[str]] = {}
    """Fields that the body of a route has to know, such as `thread_id` of `POST /runs`."""
    specificity: int = 0
    """Which backend `auto` takes where a server matches several: the one with the highest."""


class Profile(Table):
    """The whole file."""

    name: str
    extends: str | None = None
    """The name of a profile of this package. Its keys and tables hold where this file has none of that name."""
    family: str = "described by a profile"
    thread_is: str
    limits: list[str] = []
    unsupported: list[Literal["metadata", "config", "webhook", "on_completion"]] = []
    partial: bool = True
    forwards_extra: bool = False
    vocabulary: list[str] = []
    """Fields of the server's own create-run body, which go on to it and are never taken for misspelt ones."""
    breakpoints: bool = True
    """Whether a thread that is interrupted and has an empty list of questions stopped at a breakpoint."""
    headers: dict[str, str] = {}
    """Of every request, beside the client's own."""
    detect: DetectTable | None = None
    lookup: Annotated[dict[str, LookupTable], Field(min_length=1)]
    pick: dict[str, PickTable] = {}
    found: FoundTable
    interrupt: InterruptTable = InterruptTable()
    status: StatusTable = StatusTable()
    agent: AgentTable | None = None
    resume: ResumeTable
    run: RunTable = RunTable()
    wait: WaitTable = WaitTable()
    stream: StreamTable | None = None
    delete: ThreadRequestLine | None = None
    error: list[ErrorTable] = []

    @model_validator(mode="after")
    def _pointers_begin_with_what_was_told(self) -> Profile:
        told = tuple(self.lookup)
        for name, pick in self.pick.items():
            _begins_with(f"[pick.{name}] of", pick.of, told)
            told = (*told, name)
        for name, lookup in self.lookup.items():
            for of, pointer in lookup.names.items():
                _begins_with(f"[lookup.{name}] with.{of}", pointer, told)
        for field, pointers in self.found:
            for pointer in every(pointers):
                _begins_with(f"[found] {field}", pointer, told)
        return self

    @model_validator(mode="after")
    def _the_run_that_waits_is_found(self) -> Profile:
        """Else every resume would be refused."""
        lines = (self.resume.background, self.resume.wait, self.resume.stream)
        if self.found.run_id is None and any(line and "run_id" in names_in(line) for line in lines):
            raise ValueError("[resume] needs {run_id}: give the place of the run that waits as run_id of [found]")
        return self


def _begins_with(what: str, pointer: str, told: tuple[str, ...]) -> None:
    if not parts(pointer) or parts(pointer)[0] not in told:
        raise ValueError(f"{what} begins with none of what was told: /{', /'.join(told)}")


def every(pointers: str | list[str] | None) -> list[str]:
    """The pointers that stand in a place of a profile."""
    return [] if pointers is None else [pointers] if isinstance(pointers, str) else pointers
