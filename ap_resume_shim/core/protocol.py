"""The Agent Protocol draft's words for a resume: `RunResume`, `Run`, `RunWaitResponse`.

Where this differs from the draft's OpenAPI file, and why:

- `RunResumeStream` there requires `run_id, created_at, updated_at, status, metadata`, copied from `Run`: taken
  literally, every stream request would be refused. Here they are not required.
- The text calls the new run "queued or in_progress"; the enumeration has `pending`, which is what is answered.
- `input: null` is an answer, `input` absent means "go on"; other fields given as null count as absent, and so does an
  empty list of `messages`.
- `interrupt_id` is ours: it pins the answer to one question.
- `thread_id` has `format: uuid` there. Which ids are well formed is the backend's to say (`Dialect.thread_key`).
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

from ap_resume_shim.core import field_names, strictjson
from ap_resume_shim.core.chat_messages import as_messages
from ap_resume_shim.core.errors import InvalidRequest, UnsupportedField
from ap_resume_shim.core.idempotency import fingerprint, one_spelling

StreamMode = Literal["values", "messages", "updates", "custom"]
RunStatus = Literal["pending", "error", "success", "timeout", "interrupted"]

_ROUTE = "/runs/resume"


class Mode(StrEnum):
    """How the client wants its answer; the value is the tail of the route."""

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


_SLIP = frozenset({"run_id", "created_at", "updated_at", "status"})
"""What clients generated from the draft have to send on the stream route."""

_ALIASES = dict.fromkeys(
    ("answer", "answers", "resume", "value", "inputs", "response", "reply", "decision", "decisions"), "input"
)
"""What other APIs call the answer."""

_MAX_UNKNOWN = 100
"""Fields of one body that neither the draft nor the backend knows."""


T = TypeVar("T")

Json = SkipValidation[JsonValue]
"""What was read as JSON is JSON: checking it again would take as long as reading it."""

Listed = Annotated[list[T], Field(fail_fast=True)]
"""The first problem of a list is enough: a body may hold a million of them, and each takes its time."""


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class Message(_Model):
    """A message of the draft: a role and a content; what else it holds is kept."""

    role: str
    content: str | Listed[dict[str, Json]]


def _without_nulls(value: Any) -> Any:
    """Null means absent, but for `input`: generated clients send optional fields as null."""
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None or key == "input"}
    return value


class Config(_Model):
    """The draft's run configuration; further keys go on to backends of the same vocabulary."""

    tags: Listed[str] | None = None
    recursion_limit: int | None = None
    configurable: dict[str, Json] | None = None

    _drop_nulls = model_validator(mode="before")(_without_nulls)


class RunResume(_Model):
    """The body of the three routes."""

    thread_id: Annotated[str, Field(min_length=1, max_length=512)]
    agent_id: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    input: Json = None
    messages: Listed[Message] | None = None
    metadata: dict[str, Json] | None = None
    config: Config | None = None
    webhook: Annotated[str, Field(min_length=1, max_length=65536)] | None = None
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
        """Whether `input` was given; null counts."""
        return "input" in self.model_fields_set

    @property
    def stream_modes(self) -> tuple[StreamMode, ...]:
        """The requested modes, at least one, each once."""
        modes = [self.stream_mode] if isinstance(self.stream_mode, str) else self.stream_mode
        return tuple(dict.fromkeys(modes)) or ("values",)

    @property
    def extra(self) -> dict[str, Any]:
        """Fields that the draft does not know: those that it demands by its slip mean nothing."""
        return {name: value for name, value in (self.model_extra or {}).items() if name not in _SLIP}


@dataclass(frozen=True)
class Resume:
    """One request to resume: what was asked, in which mode, and when.

    `now` (RFC 3339) comes from the shell, since the core has no clock.
    """

    body: RunResume
    mode: Mode
    now: str
    value: dict[str, Any] = field(repr=False)
    """The body as it came, with the pinned interrupt."""
    nonce: str = ""
    """A UUID of this request alone (from the shell), for backends whose clients name runs and messages."""
    ignored: list[str] = field(default_factory=list)
    """Fields that the backend does not get, named in `AP-Resume-Ignored`: at most 20, all of them tokens."""

    @cached_property
    def fingerprint(self) -> str:
        """Of the body, with the pinned interrupt: the same for the same JSON, however it and a UUID are spelled."""
        return fingerprint({**self.value, "thread_id": one_spelling(self.thread_id)})

    @property
    def thread_id(self) -> str:
        """The thread to resume, as the client spelled it."""
        return self.body.thread_id

    def with_body(self, body: RunResume) -> Resume:
        """The same request with another body."""
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
    """Read a client's body.

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
    _refuse_misspelt(value, RunResume, _SLIP | vocabulary, _ALIASES)
    if isinstance(value.get("config"), dict):
        _refuse_misspelt(value["config"], Config, frozenset(), {}, within="config.")
    if mode is not Mode.STREAM and value.get("stream_mode") is not None:
        raise UnsupportedField(f"`stream_mode` belongs to PATCH {Mode.STREAM.route} alone.", {"field": "stream_mode"})
    if "messages-tuple" in _listed(value.get("stream_mode")):
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
    _check_segment("thread_id", body.thread_id)
    if body.agent_id is not None:
        _check_segment("agent_id", body.agent_id)
    return Resume(body, mode, now, value, nonce)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _refuse_misspelt(
    given: dict[str, Any], model: type[_Model], exempt: frozenset[str], aliases: dict[str, str], within: str = ""
) -> None:
    """Refuse names that are near to one of ours: a misspelt answer must not become null, nor a misspelt pin none."""
    known = model.model_fields
    unknown = [name for name, value in given.items() if value is not None and name not in known and name not in exempt]
    if len(unknown) > _MAX_UNKNOWN:
        raise InvalidRequest(f"The body has {len(unknown)} unknown fields, more than {_MAX_UNKNOWN}: leave them out.")
    for name in unknown:
        right = field_names.meant(name, known, aliases)
        if right is not None:
            raise InvalidRequest(
                f"`{within}{name}` is not a field of a resume: did you mean `{within}{right}`?",
                {"field": within + name, "did_you_mean": within + right},
            )


def _explain(error: ValidationError, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    problems = [
        {"field": ".".join(_place(item["loc"], body)), "problem": item["msg"]}
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    first = problems[0]
    return f"`{first['field']}`: {first['problem']}.", {"problems": problems[:20]}


def _place(loc: tuple[str | int, ...], value: Any) -> list[str]:
    """The keys on the way to a problem. Pydantic's own places go on with the branch of the union that it tried."""
    place = []
    for part in loc:
        place.append(str(part))
        try:
            value = value[part]
        except (KeyError, TypeError):
            return place if isinstance(value, dict) else place[:-1]
    return place


def _check_segment(name: str, value: str) -> None:
    """An id becomes one segment of an upstream path: it may not be able to leave it."""
    if value in {".", ".."} or any(char in "/\\" or not char.isprintable() for char in value):
        raise InvalidRequest(f"`{name}` holds characters that an id cannot have (/, \\, control characters).")


@dataclass(frozen=True, slots=True)
class Run:
    """The draft's `Run`, with every field that it requires."""

    run_id: str
    thread_id: str
    agent_id: str | None
    status: RunStatus
    created_at: str
    updated_at: str
    metadata: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The JSON object; `agent_id` only where it is known."""
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
    """A result as the draft's `values`, which are an object: any other result is `{"value": ...}`."""
    if isinstance(result, dict):
        return result
    return {} if result is None else {"value": result}


def wait_response(run: Run, result: Any) -> dict[str, Any]:
    """The draft's `RunWaitResponse`: `values` is an object, and a list of messages in it stands beside it."""
    values = as_values(result)
    messages = as_messages(values.get("messages"))
    if messages is None:
        return {"run": run.as_json(), "values": values}
    rest = {name: value for name, value in values.items() if name != "messages"}
    return {"run": run.as_json(), "values": rest, "messages": messages}
