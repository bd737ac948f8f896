"""Detection: which kind of backend is this? Found out from what the server says of itself, never guessed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.exchange import Ask, Request, Response, Step
from ap_resume_shim.core.protocol import Mode

NATIVE = "native"
"""The backend answers the resume routes itself: nothing is left to do but to pass requests on."""


def detect_flow() -> Generator[Step, Any, str]:
    """The name of the backend; raises `UpstreamUnrecognised` when unsure."""
    answers = yield Ask((Request.get("/info"), Request.get("/openapi.json")))
    return recognise(*answers)


def recognise(info: Response, openapi: Response) -> str:
    """The backend, from its answers to `/info` and `/openapi.json`."""
    paths = _dict(_dict(openapi.json).get("paths")) if openapi.ok else {}
    if all("patch" in _dict(paths.get(mode.route)) for mode in Mode):
        return NATIVE
    about = _dict(info.json) if info.ok else {}
    if about.get("name") == "Aegra":
        return "aegra"
    if "langgraph_py_version" in about or "langgraph_js_version" in about:
        return "langgraph"
    if {"/runs", "/runs/wait", "/runs/stream", "/threads"} <= set(paths) and "post" in _dict(paths["/runs"]):
        return "agent-protocol"
    raise UpstreamUnrecognised(
        "The kind of backend could not be found out: neither its /info nor its /openapi.json tells. "
        'Say which one it is: backend="…" for the middleware, --backend … for the sidecar '
        "(`ap-resume-shim backends` lists them).",
        {"info_status": info.status, "openapi_status": openapi.status},
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
