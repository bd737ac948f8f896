"""The ways to speak to an A2A agent: REST 1.0, JSON-RPC 1.0 and JSON-RPC 0.3, and what all of them tell of a task.

They differ in paths, methods and envelopes. States, roles and parts differ in spelling alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect import DEFAULT_KINDS, ResponseKind
from ap_resume_shim.core.dialect_helpers import Rule, read_lookup, read_refusal
from ap_resume_shim.core.errors import ResumeError, UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response, segment
from ap_resume_shim.core.protocol import Mode

Json = dict[str, Any]

CARD = "/.well-known/agent-card.json"
EVENTS = "text/event-stream"

_PAGE = 100
"""Tasks of one page: more are refused by the SDK."""

_HISTORY = 50
"""Messages of a task's history: the last two show whether its question was answered, all of them what was asked."""

INTERNAL = -32603
"""The code with which JSON-RPC tells that the agent's own code failed."""

_HTTP = {-32001: 404, -32002: 409, -32601: 501, INTERNAL: 500}
"""The specification's HTTP statuses of JSON-RPC's codes, where they are not 400."""

_BUSY = "execution is already in progress"
"""Go's SDK refuses a message so, with the code of agents that fail: for a moment also where a task waits already."""

_RULES = (
    Rule(400, "thread_not_interrupted", "terminal state"),
    Rule(500, "thread_busy", _BUSY),
)


class Binding(ABC):
    """One way to speak to an agent, at a path."""

    name: ClassVar[str]
    headers: ClassVar[tuple[tuple[str, str], ...]] = (("a2a-version", "1.0"),)
    """Without a version, servers take a request for one of 0.3."""
    lists: ClassVar[bool] = True
    """Whether an agent can be asked for the tasks of a context."""

    def __init__(self, path: str, tenant: str = "") -> None:
        self._path, self._tenant = path, tenant

    @abstractmethod
    def send(self, message: Json, metadata: Json | None, *, wait: bool) -> Request:
        """A message; the answer is its task, when it is at rest or (without `wait`) at its first event."""

    @abstractmethod
    def stream(self, message: Json, metadata: Json | None) -> Request:
        """A message; the answer is the events of its task, until that is at rest."""

    @abstractmethod
    def task(self, task_id: str) -> Request:
        """A task, with all that it has."""

    @abstractmethod
    def tasks(self, context_id: str, page: str) -> Request:
        """The tasks of a context: a page of them, without artifacts, and with the end of their history."""

    @abstractmethod
    def cancel(self, task_id: str) -> Request:
        """Stop a task."""

    @abstractmethod
    def subscribe(self, task_id: str) -> Request:
        """The events of a task that goes on."""

    def location(self, task_id: str) -> str | None:
        """The task's own address."""
        return None

    def message(self, message_id: str, parts: list[Json], task_id: str, context_id: str) -> Json:
        """A message to a task. With the task's id alone, the SDK gives the second answer a context of its own."""
        ids = {"messageId": message_id, "taskId": task_id, "contextId": context_id}
        return {**ids, "role": "ROLE_USER", "parts": parts}

    def part(self, value: Any) -> Json:
        """A JSON value as a part of a message."""
        return {"text": value} if isinstance(value, str) else {"data": value}

    def result(self, response: Response) -> Json:
        """What the answer holds. Raises what a refusal means."""
        if (failure := problem(response)) is not None:
            raise failure.error()
        read = read_lookup(response)
        if not isinstance(read, dict):
            raise UpstreamUnrecognised("The agent answered with something that is no A2A.")
        return unwrapped(read)


class Rest(Binding):
    """REST 1.0. Tenants stand in the path."""

    name = "rest"

    def __init__(self, path: str, tenant: str = "") -> None:
        super().__init__(path.rstrip("/") + (f"/{segment(tenant)}" if tenant else ""))

    def send(self, message: Json, metadata: Json | None, *, wait: bool) -> Request:
        """`POST /message:send`."""
        return self._post("/message:send", _sending(message, metadata, returnImmediately=not wait))

    def stream(self, message: Json, metadata: Json | None) -> Request:
        """`POST /message:stream`."""
        return self._post("/message:stream", _sending(message, metadata), EVENTS)

    def task(self, task_id: str) -> Request:
        """`GET /tasks/{id}`."""
        return self._get(f"/tasks/{segment(task_id)}")

    def tasks(self, context_id: str, page: str) -> Request:
        """`GET /tasks`."""
        query = {"contextId": context_id, "pageSize": _PAGE, "historyLength": _HISTORY}
        return self._get("/tasks?" + urlencode(query | ({"pageToken": page} if page else {})))

    def cancel(self, task_id: str) -> Request:
        """`POST /tasks/{id}:cancel`."""
        return self._post(f"/tasks/{segment(task_id)}:cancel", {})

    def subscribe(self, task_id: str) -> Request:
        """`GET /tasks/{id}:subscribe`."""
        return replace(self._get(f"/tasks/{segment(task_id)}:subscribe"), accept=EVENTS)

    def location(self, task_id: str) -> str:
        """`/tasks/{id}`."""
        return f"{self._path}/tasks/{segment(task_id)}"

    def _get(self, target: str) -> Request:
        return replace(Request.get(self._path + target), headers=self.headers)

    def _post(self, target: str, body: Json, accept: str = "application/json") -> Request:
        return replace(Request.post(self._path + target, body, accept), headers=self.headers)


class Rpc(Binding):
    """JSON-RPC 1.0."""

    name = "jsonrpc"
    methods: ClassVar[Mapping[str, str]] = {
        "send": "SendMessage",
        "stream": "SendStreamingMessage",
        "task": "GetTask",
        "tasks": "ListTasks",
        "cancel": "CancelTask",
        "subscribe": "SubscribeToTask",
    }

    def send(self, message: Json, metadata: Json | None, *, wait: bool) -> Request:
        """`SendMessage`."""
        return self._call("send", _sending(message, metadata, returnImmediately=not wait))

    def stream(self, message: Json, metadata: Json | None) -> Request:
        """`SendStreamingMessage`."""
        return self._call("stream", _sending(message, metadata), EVENTS)

    def task(self, task_id: str) -> Request:
        """`GetTask`."""
        return self._call("task", {"id": task_id})

    def tasks(self, context_id: str, page: str) -> Request:
        """`ListTasks`."""
        query = {"contextId": context_id, "pageSize": _PAGE, "historyLength": _HISTORY}
        return self._call("tasks", query | ({"pageToken": page} if page else {}))

    def cancel(self, task_id: str) -> Request:
        """`CancelTask`."""
        return self._call("cancel", {"id": task_id})

    def subscribe(self, task_id: str) -> Request:
        """`SubscribeToTask`."""
        return self._call("subscribe", {"id": task_id}, EVENTS)

    def _call(self, what: str, params: Json, accept: str = "application/json") -> Request:
        params = {**params, "tenant": self._tenant} if self._tenant else params
        body = {"jsonrpc": "2.0", "id": 1, "method": self.methods[what], "params": params}
        return replace(Request.post(self._path or "/", body, accept), headers=self.headers)


class OldRpc(Rpc):
    """JSON-RPC 0.3, which has no list of tasks."""

    name = "jsonrpc-0.3"
    headers = (("a2a-version", "0.3"),)
    lists = False
    methods: ClassVar[Mapping[str, str]] = {
        "send": "message/send",
        "stream": "message/stream",
        "task": "tasks/get",
        "cancel": "tasks/cancel",
        "subscribe": "tasks/resubscribe",
    }

    def send(self, message: Json, metadata: Json | None, *, wait: bool) -> Request:
        """`message/send`."""
        return self._call("send", _sending(message, metadata, blocking=wait))

    def message(self, message_id: str, parts: list[Json], task_id: str, context_id: str) -> Json:
        """A message to a task."""
        return {**super().message(message_id, parts, task_id, context_id), "kind": "message", "role": "user"}

    def part(self, value: Any) -> Json:
        """A JSON value as a part of a message."""
        return {"kind": "text" if isinstance(value, str) else "data", **super().part(value)}


BINDINGS: Mapping[str, type[Binding]] = {kind.name: kind for kind in (Rest, Rpc, OldRpc)}


def _sending(message: Json, metadata: Json | None, **configuration: bool) -> Json:
    sending: Json = {"message": message}
    if configuration:
        sending["configuration"] = configuration
    return sending if metadata is None else {**sending, "metadata": metadata}


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent, by its card."""

    binding: Binding
    name: str | None = None
    streams: bool = True
    doubles: bool = True
    """Whether numbers go through Protocol Buffers, which know doubles alone: in all of 1.0, and where it stands behind
    0.3 as well."""

    @property
    def response_kinds(self) -> Mapping[Mode, ResponseKind]:
        """What it answers. REST's wait tells an agent that failed by a status of 500, so that it is not used."""
        stream: ResponseKind = "events" if self.streams else "run"
        return {**DEFAULT_KINDS, Mode.WAIT: stream if isinstance(self.binding, Rest) else "result", Mode.STREAM: stream}


def read_card(response: Response, wanted: str | None, path: str | None) -> Agent:
    """The agent that a card describes, spoken to in the `wanted` binding, else in the first one that is known here."""
    card: Any = response.json if response.ok else None
    if not isinstance(card, dict):
        if response.status in (401, 403, 429):
            raise read_refusal(response)
        raise UpstreamUnrecognised(
            f"There is no agent card: the backend answered {response.status}. The option `card` says where it is.",
            {"upstream_status": response.status},
        )
    offered = list(_interfaces(card))
    for name, url, tenant in offered:
        if name in BINDINGS and wanted in (None, name):
            where = urlsplit(url).path if path is None else path
            streams = (card.get("capabilities") or {}).get("streaming") is True
            doubles = name != OldRpc.name or "supportedInterfaces" in card
            return Agent(BINDINGS[name](where, tenant), card.get("name"), streams, doubles)
    there = ", ".join(name for name, _, _ in offered) or "none"
    raise UpstreamUnrecognised(
        f"The agent's card offers {there}; the shim speaks {wanted or ', '.join(BINDINGS)}.",
        {"offered": [name for name, _, _ in offered]},
    )


def _interfaces(card: Json) -> Iterator[tuple[str, str, str]]:
    """Name, URL and tenant of each interface, the agent's favourite first."""
    for entry in card.get("supportedInterfaces") or ():
        version = entry.get("protocolVersion")
        yield _spelled(entry.get("protocolBinding"), version), str(entry.get("url") or ""), entry.get("tenant") or ""
    if "supportedInterfaces" not in card and card.get("url"):
        yield _spelled(card.get("preferredTransport") or "JSONRPC", "0.3"), str(card["url"]), ""
        for entry in card.get("additionalInterfaces") or ():
            yield _spelled(entry.get("transport"), "0.3"), str(entry.get("url") or ""), ""


def _spelled(binding: Any, version: Any) -> str:
    name = {"HTTP+JSON": "rest", "JSONRPC": "jsonrpc", "GRPC": "grpc"}.get(str(binding), str(binding))
    major, _, minor = str(version).partition(".")
    return name if major == "1" else f"{name}-{major}.{minor.partition('.')[0] or '0'}"


@dataclass(frozen=True, slots=True)
class Problem:
    """An error that an answer tells, whatever its status line says."""

    response: Response
    """As HTTP would have said it."""
    text: str
    """What it says."""
    failed: bool
    """Whether the agent's own code failed."""

    def error(self) -> ResumeError:
        """What it means for a resume."""
        return read_refusal(self.response, _RULES)


def problem(response: Response) -> Problem | None:
    """The error in an answer: JSON-RPC's come with 200, also as the one event of a stream."""
    read: Any = response.json
    error: Any = read.get("error") if isinstance(read, dict) else None
    if not isinstance(error, dict):
        return None if response.ok else Problem(response, response.text, failed=False)
    code, status = error.get("code"), response.status
    if isinstance(code, int) and response.ok:
        status = code if code >= 300 else _HTTP.get(code, 400)
    text = _said(error)
    body = strictjson.dumps({"message": text})
    failed = code in (INTERNAL, 500) and _BUSY not in text
    return Problem(replace(response, status=status, body=body), text, failed)


def refusal(response: Response) -> ResumeError:
    """What an answer of 300 or more means."""
    failure = problem(response)
    return read_refusal(response, _RULES) if failure is None else failure.error()


def _said(error: Json) -> str:
    """The error's message; JSON-RPC's "Invalid params" has the reason beside it."""
    message = str(error.get("message") or "")
    details = error.get("data")
    entry: Any = details[0] if isinstance(details, list) and details else None
    reason = (entry.get("metadata") or {}).get("parseError") if isinstance(entry, dict) else None
    return f"{message}: {reason}" if reason else message


def unwrapped(body: Json) -> Json:
    """What stands in JSON-RPC's envelope."""
    inner: Any = body.get("result", body) if "jsonrpc" in body else body
    return inner if isinstance(inner, dict) else {}


def told(result: Json) -> tuple[str, Json]:
    """What a result or an event is: "task", "message", "status" or "artifact", and that itself."""
    if "kind" in result:
        return str(result["kind"]).removesuffix("-update"), result
    for key in ("task", "message", "statusUpdate", "artifactUpdate"):
        if isinstance(result.get(key), dict):
            return key.removesuffix("Update"), result[key]
    return ("task", result) if "status" in result else ("", result)
