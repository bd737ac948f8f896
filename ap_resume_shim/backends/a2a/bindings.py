"""The bindings of A2A: REST 1.0, JSON-RPC 1.0 and JSON-RPC 0.3, with their requests and their errors.

The bindings differ in paths, methods and envelopes. States, roles and parts differ only in spelling.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlencode

from ap_resume_shim.backends.a2a.errors import problem
from ap_resume_shim.core.dialect_helpers import read_lookup
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.http import Request, Response, segment

Json = dict[str, Any]

EVENTS = "text/event-stream"

_PAGE = 100
"""Page size for the list of tasks: the maximum that the SDK accepts."""

_HISTORY = 50
"""Number of history messages to request for each task. The last two show whether the task's question was answered; all
of them give the ids of past questions."""


class Binding(ABC):
    """Base class of bindings. Each method returns the request for one operation, below the agent's path."""

    name: ClassVar[str]
    headers: ClassVar[tuple[tuple[str, str], ...]] = (("a2a-version", "1.0"),)
    """Headers of each request. Servers treat a request without a version as a request of 0.3."""
    lists: ClassVar[bool] = True
    """True if the binding has a request that lists the tasks of a context."""

    def __init__(self, path: str, tenant: str = "") -> None:
        self._path, self._tenant = path, tenant

    @abstractmethod
    def send(self, message: Json, metadata: Json | None, *, wait: bool) -> Request:
        """Send a message. The response is its task: when it stops, or without `wait` at its first event."""

    @abstractmethod
    def stream(self, message: Json, metadata: Json | None) -> Request:
        """Send a message. The response is a stream of the task's events, until the task stops."""

    @abstractmethod
    def task(self, task_id: str) -> Request:
        """Read a task, with its history and artifacts."""

    def tasks(self, context_id: str, page: str) -> Request:
        """List one page of the tasks of a context, without artifacts and with the last messages of their history.

        `page` is the token of the page; the empty string is the first page.
        """
        return self._list({"contextId": context_id, "pageSize": _PAGE, "historyLength": _HISTORY}, page)

    def waiting(self, state: str, size: int, page: str) -> Request:
        """List one page of `size` tasks of any context that are in a state, with the two messages that show it."""
        return self._list({"status": state, "pageSize": size, "historyLength": 2}, page)

    @abstractmethod
    def _list(self, query: Json, page: str) -> Request:
        """List one page of tasks."""

    @abstractmethod
    def cancel(self, task_id: str) -> Request:
        """Cancel a task."""

    @abstractmethod
    def subscribe(self, task_id: str) -> Request:
        """Stream the events of a running task."""

    def location(self, task_id: str) -> str | None:
        """Return the path of a task; None if the binding has no path for tasks."""
        return None

    def message(self, message_id: str, parts: list[Json], task_id: str, context_id: str) -> Json:
        """Build a message to a task.

        It names the context as well: with the task's id alone, the SDK puts the second answer into a new context.
        """
        ids = {"messageId": message_id, "taskId": task_id, "contextId": context_id}
        return {**ids, "role": "ROLE_USER", "parts": parts}

    def part(self, value: Any) -> Json:
        """Convert a JSON value to a part of a message."""
        return {"text": value} if isinstance(value, str) else {"data": value}

    def result(self, response: Response) -> Json:
        """Return the response's result, without its envelope. Raises a `ResumeError` for an error response."""
        if (failure := problem(response)) is not None:
            raise failure.error()
        read = read_lookup(response)
        if not isinstance(read, dict):
            raise UpstreamUnrecognised("The agent's response is not A2A.")
        return unwrapped(read)


class Rest(Binding):
    """REST 1.0. The tenant is part of the path."""

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

    def _list(self, query: Json, page: str) -> Request:
        """`GET /tasks`."""
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
    """JSON-RPC 1.0. The tenant is a parameter."""

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

    def _list(self, query: Json, page: str) -> Request:
        """`ListTasks`."""
        return self._call("tasks", query | ({"pageToken": page} if page else {}))

    def cancel(self, task_id: str) -> Request:
        """`CancelTask`."""
        return self._call("cancel", {"id": task_id})

    def subscribe(self, task_id: str) -> Request:
        """`SubscribeToTask`."""
        return self._call("subscribe", {"id": task_id}, EVENTS)

    def _call(self, operation: str, params: Json, accept: str = "application/json") -> Request:
        params = {**params, "tenant": self._tenant} if self._tenant else params
        body = {"jsonrpc": "2.0", "id": 1, "method": self.methods[operation], "params": params}
        return replace(Request.post(self._path, body, accept), headers=self.headers)


class OldRpc(Rpc):
    """JSON-RPC 0.3. It cannot list tasks."""

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
        """Build a message to a task, with the `kind` and the role that 0.3 requires."""
        return {**super().message(message_id, parts, task_id, context_id), "kind": "message", "role": "user"}

    def part(self, value: Any) -> Json:
        """Convert a JSON value to a part of a message, with its `kind`."""
        return {"kind": "text" if isinstance(value, str) else "data", **super().part(value)}


BINDINGS: Mapping[str, type[Binding]] = {kind.name: kind for kind in (Rest, Rpc, OldRpc)}


def _sending(message: Json, metadata: Json | None, **configuration: bool) -> Json:
    sending: Json = {"message": message}
    if configuration:
        sending["configuration"] = configuration
    return sending if metadata is None else {**sending, "metadata": metadata}


def unwrapped(body: Json) -> Json:
    """Return the content of the JSON-RPC envelope; a body without an envelope is returned unchanged."""
    inner: Any = body.get("result", body) if "jsonrpc" in body else body
    return inner if isinstance(inner, dict) else {}


def kind_and_content(result: Json) -> tuple[str, Json]:
    """Return the kind of a result or an event ("task", "message", "status" or "artifact"), and its content.

    The kind of an unknown result is the empty string.
    """
    if "kind" in result:
        return str(result["kind"]).removesuffix("-update"), result
    for key in ("task", "message", "statusUpdate", "artifactUpdate"):
        if isinstance(result.get(key), dict):
            return key.removesuffix("Update"), result[key]
    return ("task", result) if "status" in result else ("", result)
