"""The errors of A2A's servers, in all bindings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.dialect_helpers import Rule, read_refusal
from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.http import Response

INTERNAL = -32603
"""JSON-RPC's code for an internal error: the agent's own code failed."""

_HTTP = {-32001: 404, -32002: 409, -32601: 501, INTERNAL: 500}
"""HTTP status for each JSON-RPC code, from the specification, where it is not 400."""

_BUSY = "execution is already in progress"
"""Text with which the Go SDK rejects a message to a busy task. The code is the one of a failed agent. For a moment the
SDK sends it for a task that already waits, too."""

_RULES = (
    Rule(400, "thread_not_interrupted", "terminal state"),
    Rule(500, "thread_busy", _BUSY),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in a response, whatever its status line."""

    response: Response
    """The response with the HTTP status of the error, and its message as the body."""
    text: str
    """The error's message."""
    failed: bool
    """True if the agent's own code failed."""

    def error(self) -> ResumeError:
        """Return the `ResumeError` for the client."""
        return read_refusal(self.response, _RULES)


def problem(response: Response) -> Problem | None:
    """Return the error in a response, or None.

    JSON-RPC sends errors with status 200, in a stream as its only event.
    """
    read: Any = response.json
    error: Any = read.get("error") if isinstance(read, dict) else None
    if not isinstance(error, dict):
        return None if response.ok else Problem(response, response.text, failed=False)
    code, status = error.get("code"), response.status
    if isinstance(code, int) and response.ok:
        status = code if code >= 300 else _HTTP.get(code, 400)
    text = _error_text(error)
    body = strictjson.dumps({"message": text})
    failed = code in (INTERNAL, 500) and _BUSY not in text
    return Problem(replace(response, status=status, body=body), text, failed)


def refusal(response: Response) -> ResumeError:
    """Return the `ResumeError` for a response with a status of 300 or more."""
    failure = problem(response)
    return read_refusal(response, _RULES) if failure is None else failure.error()


def _error_text(error: dict[str, Any]) -> str:
    """Return the error's message, and for JSON-RPC's "Invalid params" the reason from `data`."""
    message = str(error.get("message") or "")
    details = error.get("data")
    entry: Any = details[0] if isinstance(details, list) and details else None
    reason = (entry.get("metadata") or {}).get("parseError") if isinstance(entry, dict) else None
    return f"{message}: {reason}" if reason else message
