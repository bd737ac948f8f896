"""A profile: a backend described by data, in TOML, where data is enough.

`docs/reference/profile.md` documents the language. A profile is validated when it is loaded.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ap_resume_shim.core.errors import (
    ConfigurationError,
)
from ap_resume_shim.core.reading import RAISES
from ap_resume_shim.core.template import names_in, parts


def _pointer(text: str) -> str:
    parts(text)
    return text


def answer_pointer(text: str) -> str:
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
    answer: Annotated[str, AfterValidator(answer_pointer)]
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
    join: RunLine | None = None


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
    path = [str(part) for part in item["loc"]]
    key = path[-1] if path else ""
    number = next((n for n, line in enumerate(text.splitlines(), 1) if re.match(rf"\s*{re.escape(key)}\s*=", line)), 0)
    where = f"line {number}: " * bool(key and number) + f"{'.'.join(path)}: " * bool(path)
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
