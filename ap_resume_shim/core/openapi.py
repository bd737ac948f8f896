"""The OpenAPI description of the three routes, and its merge into a backend's own OpenAPI file.

The description is generated from the models in `protocol` and the classes in `errors`. It is valid in OpenAPI 3.0 and
in 3.1: it has neither `const` nor a null type, and no keyword beside a `$ref`. `docs/reference/openapi.md` lists where
it differs from the draft.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter

from ap_resume_shim.core import errors
from ap_resume_shim.core.errors import REFUSAL_CODES, ResumeError
from ap_resume_shim.core.protocol import Mode, Run, RunResume

Json = dict[str, Any]

FILE = "/openapi.json"

_INFO = {"title": "Agent Protocol: resume routes", "version": "0.1.6"}
"""The version is that of the draft."""

_FIELDS = {
    "thread_id": "The thread to resume. It must exist and be interrupted.",
    "agent_id": "The agent that continues. Default: the agent of the thread's last run.",
    "input": "The answer: any JSON value, null included. If several interrupts are pending, an object "
    "`{interrupt id: answer}`. Without `input` and `messages`, the run continues without an answer.",
    "messages": "The answer, as messages, in place of `input`.",
    "metadata": "Metadata of the new run.",
    "config": "Configuration of the new run.",
    "webhook": "A URL that the backend calls when the run ends.",
    "on_completion": "Whether the thread is kept or deleted after the run.",
    "on_disconnect": "Whether the run is cancelled when the client of a wait or a stream disconnects.",
    "stream_mode": "The events of the stream: one mode or several.",
    "interrupt_id": "The one interrupt that the answer is for (an extension of the shim).",
}
_SUMMARIES = {
    Mode.BACKGROUND: ("resume_run", "Resume a run", "Resumes an interrupted thread and returns the run at once."),
    Mode.WAIT: (
        "resume_and_wait_run",
        "Resume a run and wait",
        "Resumes an interrupted thread and returns the result when the run ends. White space may come before it.",
    ),
    Mode.STREAM: (
        "resume_and_stream_run",
        "Resume a run and stream its output",
        "Resumes an interrupted thread and returns the run's events. The first event, `metadata`, names the run.",
    ),
}
_KEY = r'^("([ !#-\[\]-~]|\\["\\])+"|[!#-~]+)$'
"""The forms that `idempotency.read_key` accepts."""
_PARAMETERS = [
    {
        "name": "AP-Interrupt-Id",
        "in": "header",
        "required": False,
        "description": "The same as `interrupt_id`, for clients that cannot add a field to the body.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 512},
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "A retry with the same key and body receives the first response again.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _KEY},
    },
]
_HEADERS = {
    "Content-Location": "The path of the run.",
    "AP-Resume-Ignored": "Fields that were not forwarded to the backend.",
    "Idempotency-Replayed": "`true`: the response to an earlier request with the same `Idempotency-Key`.",
    "Retry-After": "Seconds after which a retry can succeed.",
    "WWW-Authenticate": "The challenge of the backend.",
}


@cache
def openapi() -> Json:
    """Return the OpenAPI document of the three routes."""
    return {"openapi": "3.1.0", "info": _INFO, "paths": _paths(), "components": {"schemas": _schemas()}}


class OpenApiMerge:
    """Adds the three routes to the backend's `/openapi.json` (a `DocumentEdit`)."""

    setting = "merge_openapi"

    def __init__(self, prefix: str = "") -> None:
        """`prefix` is the path before the backend's routes: the file may be below it or at the root."""
        self._prefix = prefix

    def covers(self, path: str) -> bool:
        """Return True for the file at the root and for the one below the prefix."""
        return path in (FILE, self._prefix + FILE)

    def apply(self, path: str, document: Any, mount: str) -> Json | None:
        """Return the merged file; None if there is nothing to add."""
        return merge(document, self._prefix, at_root=path != mount + FILE)


def merge(file: Any, prefix: str = "", *, at_root: bool = False) -> Json | None:
    """Return the backend's OpenAPI file with the routes and their schemas added.

    `prefix` is the path before the backend's routes; `at_root` means that the file itself is not below it. Paths that
    the file has already stay as they are. Returns None if there is nothing to add: `file` is not an OpenAPI 3 document,
    does not describe the routes below the prefix, or has the three paths.
    """
    if not _is_openapi_3(file):
        return None
    paths, components = file.get("paths", {}), file.get("components", {})
    schemas = components.get("schemas", {})
    stem = _stem(file, prefix, at_root)
    missing = {} if stem is None else {stem + at: item for at, item in _paths().items() if stem + at not in paths}
    if not missing:
        return None
    names = {name: _free(name, schemas, "AgentProtocol") for name in _schemas()}
    used = set(_operation_ids(paths))
    for item in missing.values():
        (operation,) = item.values()
        operation["operationId"] = _free(operation["operationId"], used, "agent_protocol_")
    added = {names[name]: schema for name, schema in _schemas().items()}
    ours = _renamed({"paths": missing, "schemas": added}, names)
    return {
        **file,
        "paths": {**paths, **ours["paths"]},
        "components": {**components, "schemas": {**schemas, **ours["schemas"]}},
    }


def _is_openapi_3(file: Any) -> bool:
    if not isinstance(file, dict) or not re.match(r"3\.\d", str(file.get("openapi"))):
        return False
    components = file.get("components", {})
    parts = (file.get("paths", {}), components, isinstance(components, dict) and components.get("schemas", {}))
    return all(isinstance(part, dict) for part in parts)


def _stem(file: Json, prefix: str, at_root: bool) -> str | None:
    """Return the path in front of the routes in `file`: the prefix, or nothing if its paths are relative to the prefix.

    None if the file does not describe the paths below the prefix.
    """
    if any(path.startswith(f"{prefix}/") for path in file.get("paths", {})):
        return prefix
    servers = file.get("servers")
    urls = [server.get("url") for server in servers if isinstance(server, dict)] if isinstance(servers, list) else []
    return "" if not at_root or any(str(url).rstrip("/").endswith(prefix) for url in urls) else None


def _free(name: str, taken: Container[str], prefix: str) -> str:
    """Return `name`, with a prefix if it is taken."""
    while name in taken:
        name = prefix + name
    return name


def _operation_ids(paths: Json) -> Iterator[str]:
    for item in paths.values():
        for operation in item.values() if isinstance(item, dict) else ():
            if isinstance(operation, dict):
                yield str(operation.get("operationId"))


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """Return a part of the description whose references use other names."""
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _ref(names[value["$ref"].rpartition("/")[2]])
    return {key: _renamed(item, names) for key, item in value.items()}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _paths() -> Json:
    return {mode.route: {"patch": _operation(mode)} for mode in Mode}


def _operation(mode: Mode) -> Json:
    operation_id, summary, description = _SUMMARIES[mode]
    body = _ref("RunResumeStream" if mode is Mode.STREAM else "RunResume")
    example = {"thread_id": "6a1b2c3d-5e6f-4a7b-8c9d-0e1f2a3b4c5d", "input": "approve"}
    return {
        "tags": ["Runs"],
        "summary": summary,
        "description": description,
        "operationId": operation_id,
        "parameters": _PARAMETERS,
        "requestBody": {"content": {"application/json": {"schema": body, "example": example}}, "required": True},
        "responses": {"200": _success(mode), **_refusals()},
    }


def _success(mode: Mode) -> Json:
    content = {
        Mode.BACKGROUND: {"application/json": {"schema": _ref("Run")}},
        Mode.WAIT: {"application/json": {"schema": _ref("RunWaitResponse")}},
        Mode.STREAM: {"text/event-stream": {"schema": {"type": "string", "description": "Server-Sent Events."}}},
    }
    headers = _headers("Content-Location", "AP-Resume-Ignored", "Idempotency-Replayed")
    return {"description": "The resume was accepted.", "headers": headers, "content": content[mode]}


def _refusals() -> Json:
    """Return the responses of all errors, by status: each lists its codes."""
    refusals: dict[int, list[tuple[str, str]]] = {status: [(code, "")] for status, code in REFUSAL_CODES.items()}
    retried = {429}
    for kind in _error_classes():
        refusals.setdefault(kind.status, []).append((kind.code, (kind.__doc__ or "").partition("\n")[0]))
        retried |= {kind.status} if kind.retry_after is not None else set()
    return {
        str(status): _refusal(status, codes, retried=status in retried) for status, codes in sorted(refusals.items())
    }


def _error_classes() -> Iterator[type[ResumeError]]:
    """Yield the classes that have a code of their own, in the order of the module."""
    for kind in vars(errors).values():
        if (
            isinstance(kind, type)
            and issubclass(kind, ResumeError)
            and "code" in vars(kind)
            and kind is not ResumeError
        ):
            yield kind


def _phrase(status: int) -> str:
    """Return the reason phrase of RFC 9110, which Python has for all statuses since 3.13."""
    return {413: "Content Too Large", 422: "Unprocessable Content"}.get(status) or HTTPStatus(status).phrase


def _refusal(status: int, codes: list[tuple[str, str]], *, retried: bool) -> Json:
    lines = [f"- `{code}`{text and f': {text}'}" for code, text in codes]
    headers = ["Idempotency-Replayed", *(["Retry-After"] if retried else []), *(["WWW-Authenticate"] * (status == 401))]
    return {
        "description": "\n".join((f"{_phrase(status)}. The codes:", "", *lines)),
        "headers": _headers(*headers),
        "content": {
            "application/json": {"schema": _ref("ErrorResponse")},
            "application/problem+json": {"schema": _ref("Problem")},
        },
    }


def _headers(*names: str) -> Json:
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}


@cache
def _schemas() -> Json:
    resume, message = _schema(RunResume, "Asks to resume an interrupted thread. Never creates a thread.")
    stream_mode = resume["properties"].pop("stream_mode")
    # The shim guarantees these types in responses; the backend judges them in requests.
    message["properties"] |= {"id": {"type": "string"}, "metadata": {"type": "object"}}
    run, _ = _schema(Run, "The run that continues the thread.")
    run["required"] = [name for name in run["properties"] if name != "agent_id"]
    error = {
        "code": {"type": "string", "description": "For programs: each status lists its codes."},
        "message": {"type": "string", "description": "For people: what happened, and what to do next."},
        "metadata": {"type": "object", "description": "Details, such as the pending `interrupts`."},
    }
    problem = {"type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}}
    result = {
        "run": _ref("Run"),
        "values": {"type": "object", "description": "The thread's values after the run."},
        "messages": {"type": "array", "items": _ref("Message")},
    }
    return {
        "RunResume": resume,
        "RunResumeStream": {
            "allOf": [_ref("RunResume"), {"type": "object", "properties": {"stream_mode": stream_mode}}],
            "title": "RunResumeStream",
            "description": "Asks to resume an interrupted thread and to stream the output.",
        },
        "Run": run,
        "RunWaitResponse": _object("RunWaitResponse", result, optional="messages"),
        "Message": message,
        "ErrorResponse": _object("ErrorResponse", error),
        "Problem": _object("Problem", {**problem, "detail": {"type": "string"}, **error}),
    }


def _object(title: str, properties: Json, optional: str = "") -> Json:
    """Return the schema of an object whose properties are required, except one."""
    required = [name for name in properties if name != optional]
    return {"type": "object", "title": title, "properties": properties, "required": required}


def _schema(model: Any, description: str) -> tuple[Json, Json]:
    """Return the schema of a model, and the schema of the messages in it, which have a name of their own."""
    generated = TypeAdapter(model).json_schema()
    definitions = generated.pop("$defs", {})
    schema: Json = {**_plain(generated, definitions), "description": description}
    for name, field in schema["properties"].items():
        if name in _FIELDS:
            field["description"] = _FIELDS[name]
    return schema, _plain(definitions.get("Message"), definitions)


def _plain(schema: Any, definitions: Json) -> Any:
    """Return a schema of pydantic without null and without references, except those to messages.

    The shim reads an optional field that is null as absent, and sends none.
    """
    if isinstance(schema, list):
        return [_plain(item, definitions) for item in schema if item != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value, definitions) for key, value in schema.items() if (key, value) != ("default", None)}
    if "$ref" in plain:
        name = plain.pop("$ref").rpartition("/")[2]
        return _ref(name) if name == "Message" else {**_plain(definitions[name], definitions), **plain}
    if len(kinds := plain.get("anyOf", ())) == 1:
        del plain["anyOf"]
        return {**kinds[0], **plain}
    return plain
