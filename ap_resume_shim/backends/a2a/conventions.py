"""How clients of A2A agents answer: by a message with a `taskId`, by REST or JSON-RPC, of 1.0 and 0.3.

Servers read snake_case as well as camelCase, and JSON-RPC may be at any path. A message without a task starts one.
"""

from __future__ import annotations

import re
from typing import Any

from ap_resume_shim.backends.a2a import errors
from ap_resume_shim.core.errors import NotFound, ResumeError
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.json_rpc import A2aCall
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume, never_5xx

_REST = re.compile(r".*/message:(send|stream)")


class JsonRpcMessage(A2aCall):
    """`SendMessage`, `SendStreamingMessage`, `message/send` or `message/stream`, with a `taskId`."""

    name = "a2a-jsonrpc"

    def matches(self, method: str, path: str) -> bool:
        """Return True for each POST that is not one of REST's."""
        return method == "POST" and _REST.fullmatch(path) is None

    def read_message(
        self, request: ClientRequest, mode: Mode, params: dict[str, Any], message: dict[str, Any]
    ) -> VendorResume | None:
        """Return the answer if the message names a task."""
        return _answer(self, request, mode, params, message)

    def took(self, vendor: VendorResume, response: Response) -> bool:
        """Return True unless the response is an error other than a failure of the agent."""
        problem = errors.problem(response)
        return problem is None or problem.failed


class RestMessage(Convention):
    """`POST /message:send` or `/message:stream`, with a `taskId`."""

    name = "a2a-rest"
    checks_value = False

    def matches(self, method: str, path: str) -> bool:
        """Return True for the two routes, below any path."""
        return method == "POST" and _REST.fullmatch(path) is not None

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer if the message names a task."""
        path, message = _REST.fullmatch(request.path), request.object.get("message")
        if path is None or not isinstance(message, dict):
            return None
        mode = Mode.STREAM if path[1] == "stream" else Mode.WAIT
        return _answer(self, request, mode, request.object, message)

    def refusal(self, vendor: VendorResume, error: ResumeError) -> Reply:
        """Return Google's error body with a reason that clients know: they drop the message of any other error."""
        status = 409 if error.http_status >= 500 else error.http_status
        name, reason = ("NOT_FOUND", "TASK_NOT_FOUND") if isinstance(error, NotFound) else _REFUSED
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        detail = {"@type": kind, "reason": reason, "domain": "a2a-protocol.org", "metadata": {}}
        value = {"code": status, "status": name, "message": error.message, "details": [detail]}
        return never_5xx(error, {"error": value})


_REFUSED = ("FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")


def _answer(
    convention: Convention, request: ClientRequest, mode: Mode, params: dict[str, Any], message: dict[str, Any]
) -> VendorResume | None:
    """Return the answer to the task that the message names; None if it names none."""
    task, context = (_text(message, *names) for names in (("taskId", "task_id"), ("contextId", "context_id")))
    if task is None:
        return None
    if mode is Mode.WAIT and _returns_at_once(params.get("configuration")):
        mode = Mode.BACKGROUND
    return VendorResume(convention, request, context, mode, {"input": _content(message)}, run_id=task)


def _text(message: dict[str, Any], *names: str) -> str | None:
    """Return the first of these fields that is a text and not empty; Protocol Buffers have "" for an absent field."""
    return next((value for name in names if isinstance(value := message.get(name), str) and value), None)


def _returns_at_once(configuration: Any) -> bool:
    if not isinstance(configuration, dict):
        return False
    at_once = configuration.get("returnImmediately", configuration.get("return_immediately"))
    return at_once is True or configuration.get("blocking") is False


def _content(message: dict[str, Any]) -> Any:
    """Return the answer: the text or the data of the only part, or else all parts."""
    parts = message.get("parts")
    if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict):
        return next((parts[0][name] for name in ("text", "data") if name in parts[0]), parts)
    return parts
