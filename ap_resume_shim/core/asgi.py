"""ASGI extensions: what a server and the proxy tell each other beyond ASGI's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EARLY_HINT = "http.response.early_hint"
"""ASGI's own: a 103 before the answer."""
TRAILERS = "http.response.trailers"
"""ASGI's own: fields after the body."""
AFTER = "ap_resume_shim.trailers"
"""The key of the last `http.request` message under which the fields after the body are, where there are some."""
TARGET = "ap_resume_shim.target"
"""The request's target as it came, where ASGI's words lose something of it: `{"raw": b"/a%2Fb?"}`."""
TUNNEL = "ap_resume_shim.tunnel"
"""A server that gives its bare connection away: `{"open": f}`. `await f(headers, connection, first_bytes, idle=None)`
answers 101, joins its connection to that one, and returns when both are over, or silent for `idle` seconds."""


def extensions(scope: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the server of a request has."""
    return scope.get("extensions") or {}
