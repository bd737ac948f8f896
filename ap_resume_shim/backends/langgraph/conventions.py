"""How clients of LangGraph's servers and Aegra answer: `command.resume` in a create-run body (v1).

Recorded with langgraph-sdk and @langchain/langgraph-sdk; the servers match the decoded path, and read JSON under any
media type.
"""

from __future__ import annotations

import re
from typing import Any

from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume

_RUNS = re.compile(r"/threads/([^/]+)/runs(|/wait|/stream)")


class CreateRun(Convention):
    """`POST /threads/{thread_id}/runs`, `/runs/wait` or `/runs/stream` with `command.resume`."""

    name = "langgraph-v1"

    def matches(self, method: str, path: str) -> bool:
        """Return True for the three routes that create a run of a thread."""
        return method == "POST" and _RUNS.fullmatch(path) is not None

    def read(self, request: ClientRequest) -> VendorResume | None:
        """Return the answer if `command` has the key `resume`; null and false are answers, too."""
        command = request.object.get("command")
        path = _RUNS.fullmatch(request.path)
        if path is None or not isinstance(command, dict) or "resume" not in command:
            return None
        fields = {"input": command["resume"], **_configurable(request.object)}
        return VendorResume(self, request, path[1], Mode(path[2]), fields)

    def refusal(self, vendor: VendorResume, error: ResumeError) -> Reply:
        """Return `{"detail": ..., "message": ...}`: the server's own form, and the Python SDK prefers `message`."""
        body = {"detail": error.message, "message": error.message, "code": error.code, "metadata": error.metadata}
        return Reply(error.http_status, body, error.headers)


def _configurable(body: dict[str, Any]) -> dict[str, Any]:
    """Return the draft's `config` with everything that could move the run to another checkpoint."""
    config, checkpoint = body.get("config"), body.get("checkpoint")
    configurable = config.get("configurable") if isinstance(config, dict) else None
    parts: list[Any] = [configurable, checkpoint]
    if body.get("checkpoint_id") is not None:
        parts.append({"checkpoint_id": body["checkpoint_id"]})
    merged = {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}
    return {"config": {"configurable": merged}} if merged else {}
