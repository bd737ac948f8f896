"""How ACP's client answers: a message to the run. It sends JSON without a media type."""

from __future__ import annotations

import re
from typing import Any

from ap_resume_shim.core.errors import NotFound, ResumeError
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume, never_5xx

_RUN = re.compile(r"/runs/([^/]+)")
_MODES = {"async": Mode.BACKGROUND, "sync": Mode.WAIT, "stream": Mode.STREAM}


class AwaitResume(Convention):
    """`POST /runs/{run_id}` with `await_resume`. The server accepts it for a run that has ended, which then hangs."""

    name = "acp"
    checks_value = False

    def __init__(self, *, run_is_thread: bool) -> None:
        """`run_is_thread`: True if `thread_id` means the run; otherwise it means the session, which is looked up."""
        self._run_is_thread = run_is_thread

    def matches(self, method: str, path: str) -> bool:
        """Return True for the route of a run."""
        return method == "POST" and _RUN.fullmatch(path) is not None

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer; None without one, which the server refuses."""
        path, body = _RUN.fullmatch(request.path), request.object
        if path is None or "await_resume" not in body:
            return None
        mode = _MODES.get(str(body.get("mode")), Mode.WAIT)
        thread_id = path[1] if self._run_is_thread else None
        return VendorResume(self, request, thread_id, mode, {"input": _content(body["await_resume"])}, run_id=path[1])

    def refusal(self, vendor: VendorResume, error: ResumeError) -> Reply:
        """Return the server's error: the client knows three codes, and raises something else for other bodies."""
        code = "not_found" if isinstance(error, NotFound) else "invalid_input"
        code = "server_error" if error.http_status >= 500 else code
        return never_5xx(error, {"code": code, "message": error.message})


def _content(value: Any) -> Any:
    """Return the answer: the content of the message's only part, or else what the client sent."""
    message = value.get("message") if isinstance(value, dict) else None
    parts = message.get("parts") if isinstance(message, dict) else None
    if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict):
        return parts[0].get("content", value)
    return value
