"""The Agent Protocol draft's schemas for a resume: `RunResume`, `Run`, `RunWaitResponse`.

Where this differs from the draft's OpenAPI file, and why:

- `RunResumeStream` there requires `run_id, created_at, updated_at, status, metadata`, copied from `Run`: taken
  literally, every stream request would be refused. Here they are optional.
- The text calls the new run "queued or in_progress"; the enumeration has `pending`, which the shim returns.
- `input: null` is an answer; without `input`, the resume continues the run. Other fields with null count as absent, and
  so does an empty list of `messages`.
- `interrupt_id` is the shim's own field: it pins the answer to one question.
- `thread_id` has `format: uuid` there. Here the backend decides which ids are valid (`Dialect.thread_key`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SkipValidation,
    ValidationError,
    field_validator,
    model_validator,
)

from ap_resume_shim.core import field_names, strictjson, validation_errors
from ap_resume_shim.core.chat_messages import as_messages
from ap_resume_shim.core.errors import InvalidRequest, UnsupportedField
from ap_resume_shim.core.idempotency import fingerprint, one_spelling

StreamMode = Literal["values", "messages", "updates", "custom"]
RunStatus = Literal["pending", "error", "success", "timeout", "interrupted"]

_ROUTE = "/runs/resume"


class Mode(StrEnum):
    """The form of the response that the client wants; the value is the tail of the route."""

    BACKGROUND = ""
    WAIT = "/wait"
    STREAM = "/stream"

    @property
    def route(self) -> str:
        """The path of the draft's route."""
        return _ROUTE + self.value


ROUTES = {mode.route: mode for mode in Mode}

REFUSED = {
    "command": "The answer belongs in `input`.",
    "if_not_exists": "A resume never creates a thread.",
    "multitask_strategy": "Of several resumes exactly one is forwarded; the others are refused.",
}
"""Fields of create-run vocabularies that would contradict the routes, each with the reason."""


_REQUIRED_BY_DRAFT = frozenset({"run_id", "created_at", "updated_at", "status"})
"""Fields that clients generated from the draft must send on the stream route."""

_ALIASES = dict.fromkeys(
    ("answer", "answers", "resume", "value", "inputs", "response", "reply", "decision", "decisions"), "input"
)
"""Names of the answer in other APIs."""

_MAX_UNKNOWN = 100
"""Maximum number of fields in one body that neither the draft nor the backend defines."""


T = TypeVar("T")

Json = SkipValidation[JsonValue]
"""A value that was parsed as JSON is not validated again, which would take as long as parsing it."""

Listed = Annotated[list[T], Field(fail_fast=True)]
"""A list whose validation stops at the first problem: a body may hold a million of them, and each takes time."""


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class Message(_Model):
    """A message of the draft: a role and a content; other fields are kept."""

    role: str
    content: str | Listed[dict[str, Json]]


def _without_nulls(value: Any) -> Any:
    """Drop fields that are null, except `input`: generated clients send optional fields as null."""
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None or key == "input"}
    return value


class Config(_Model):
    """The draft's run configuration; other keys are forwarded to backends with the same vocabulary."""

    tags: Listed[str] | None = None
    recursion_limit: int | None = None
    configurable: dict[str, Json] | None = None

    _drop_nulls = model_validator(mode="before")(_without_nulls)


class RunResume(_Model):
    """The request body of the three routes."""

    thread_id: Annotated[str, Field(min_length=1, max_length=512)]
    agent_id: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    input: Json = None
    messages: Listed[Message] | None = None
    metadata: dict[str, Json] | None = None
    config: Config | None = None
    webhook: Annotated[str, Field(min_length=1, max_length=65536, json_schema_extra={"format": "uri"})] | None = None
    on_completion: Literal["keep", "delete"] = "keep"
    on_disconnect: Literal["cancel", "continue"] = "cancel"
    stream_mode: StreamMode | Listed[StreamMode] = "values"
    interrupt_id: Annotated[str, Field(min_length=1, max_length=512)] | None = None

    _drop_nulls = model_validator(mode="before")(_without_nulls)

    @field_validator("messages", mode="after")
    @classmethod
    def _none_for_empty(cls, messages: list[Message] | None) -> list[Message] | None:
        return messages or None

    @property
    def has_input(self) -> bool:
        """True if `input` is present; null counts."""
        return "input" in self.model_fields_set

    @property
    def stream_modes(self) -> tuple[StreamMode, ...]:
        """The requested modes without duplicates, at least one."""
        modes = [self.stream_mode] if isinstance(self.stream_mode, str) else self.stream_mode
        return tuple(dict.fromkeys(modes)) or ("values",)

    @property
    def extra(self) -> dict[str, Any]:
        """Fields that the draft does not define, without those that it requires by mistake (`run_id` and others)."""
        return {name: value for name, value in (self.model_extra or {}).items() if name not in _REQUIRED_BY_DRAFT}


@dataclass(frozen=True)
class Resume:
    """One request to resume: its body, its mode, and the time of its arrival.

    `now` (RFC 3339) comes from the caller, since the core has no clock.
    """

    body: RunResume
    mode: Mode
    now: str
    value: dict[str, Any] = field(repr=False)
    """The body as received, with the pinned interrupt."""
    nonce: str = ""
    """A UUID for this request, created by the caller, for backends whose clients name runs and messages."""
    ignored: list[str] = field(default_factory=list)
    """Fields that are not forwarded, listed in `AP-Resume-Ignored`: at most 20, all of them tokens."""
    run_id: str | None = None
    """The run whose questions the client answers, if the client names one, as clients of some backends do; questions
    of other runs do not count."""

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the body with the pinned interrupt.

        It does not depend on the spelling of the JSON or of a UUID.
        """
        return fingerprint({**self.value, "thread_id": one_spelling(self.thread_id)})

    @property
    def thread_id(self) -> str:
        """The thread to resume, as the client spelled it."""
        return self.body.thread_id

    def with_body(self, body: RunResume) -> Resume:
        """Return the same request with another body."""
        return replace(self, body=body)


def parse(
    raw: bytes,
    mode: Mode,
    *,
    now: str,
    nonce: str = "",
    interrupt_id: str | None = None,
    vocabulary: frozenset[str] = frozenset(),
) -> Resume:
    """Parse a client's request body.

    `interrupt_id` is the header `AP-Interrupt-Id`, for clients generated from the draft; `vocabulary` has the names of
    the backend's own fields (`Dialect.vocabulary`). Raises `InvalidRequest` or `UnsupportedField`.
    """
    if not raw.strip():
        raise InvalidRequest('The body is empty: send at least {"thread_id": …}.')
    try:
        value = strictjson.loads(raw)
    except ValueError as error:
        raise InvalidRequest(str(error), detail="The body is not JSON that can be read.") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The body is not a JSON object.")
    for name, reason in REFUSED.items():
        if value.get(name) is not None:
            raise UnsupportedField(f"`{name}` is not a field of a resume. {reason}", {"field": name})
    _refuse_misspelt(value, RunResume, _REQUIRED_BY_DRAFT | vocabulary, _ALIASES)
    if isinstance(value.get("config"), dict):
        _refuse_misspelt(value["config"], Config, frozenset(), {}, within="config.")
    if mode is not Mode.STREAM and value.get("stream_mode") is not None:
        raise UnsupportedField(f"`stream_mode` belongs to PATCH {Mode.STREAM.route} alone.", {"field": "stream_mode"})
    if "messages-tuple" in _as_list(value.get("stream_mode")):
        raise InvalidRequest(
            "`stream_mode`: the draft's name of LangGraph's `messages-tuple` is `messages`, with the same events.",
            {"field": "stream_mode"},
        )
    if interrupt_id is not None:
        if value.get("interrupt_id") not in (None, interrupt_id):
            raise InvalidRequest(
                "The header AP-Interrupt-Id and the field `interrupt_id` name two interrupts: send one of them."
            )
        value["interrupt_id"] = interrupt_id
    try:
        body = RunResume.model_validate(value)
    except ValidationError as error:
        raise InvalidRequest(*_explain(error, value)) from None
    check_segment("thread_id", body.thread_id)
    if body.agent_id is not None:
        check_segment("agent_id", body.agent_id)
    return Resume(body, mode, now, value, nonce)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _refuse_misspelt(
    fields: dict[str, Any], model: type[_Model], exempt: frozenset[str], aliases: dict[str, str], within: str = ""
) -> None:
    """Refuse names that are close to a known name.

    A misspelt answer must not become null, and a misspelt pin must not be ignored.
    """
    known = model.model_fields
    unknown = [name for name, value in fields.items() if value is not None and name not in known and name not in exempt]
    if len(unknown) > _MAX_UNKNOWN:
        raise InvalidRequest(f"The body has {len(unknown)} unknown fields, more than {_MAX_UNKNOWN}: leave them out.")
    for name in unknown:
        suggestion = field_names.meant(name, known, aliases)
        if suggestion is not None:
            raise InvalidRequest(
                f"`{within}{name}` is not a field of a resume: did you mean `{within}{suggestion}`?",
                {"field": within + name, "did_you_mean": within + suggestion},
            )


def _explain(error: ValidationError, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    found = [
        {"field": ".".join(map(str, place)), "problem": text} for place, text in validation_errors.problems(error, body)
    ]
    return f"`{found[0]['field']}` {found[0]['problem']}.", {"problems": found[:20]}


def check_segment(name: str, value: str) -> None:
    """Refuse an id that could leave its segment of an upstream path."""
    if value in {".", ".."} or "/" in value or "\\" in value or not value.isprintable():
        raise InvalidRequest(f"`{name}` contains characters that an id cannot have (/, \\, control characters).")


@dataclass(frozen=True, slots=True)
class Run:
    """The draft's `Run`, with every required field."""

    run_id: str
    thread_id: str
    agent_id: str | None
    status: RunStatus
    created_at: str
    updated_at: str
    metadata: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object; `agent_id` only if it is known."""
        agent = {} if self.agent_id is None else {"agent_id": self.agent_id}
        return {
            "run_id": self.run_id,
            "thread_id": self.thread_id,
            **agent,
            "status": self.status,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "metadata": self.metadata,
        }


def as_values(result: Any) -> dict[str, Any]:
    """Return a result as the draft's `values`, which is an object.

    Any other result becomes `{"value": ...}`; None becomes `{}`.
    """
    if isinstance(result, dict):
        return result
    return {} if result is None else {"value": result}


def wait_response(run: Run, result: Any) -> dict[str, Any]:
    """Return the draft's `RunWaitResponse`: `values` is an object, and its list of messages becomes `messages`."""
    values = as_values(result)
    messages = as_messages(values.get("messages"))
    if messages is None:
        return {"run": run.as_json(), "values": values}
    rest = {name: value for name, value in values.items() if name != "messages"}
    return {"run": run.as_json(), "values": rest, "messages": messages}
