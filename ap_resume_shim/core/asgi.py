"""ASGI: the keys of a scope that the parts of the shim use among themselves, extensions, and paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

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


SYNTHESISED = "ap_resume_shim"
"""The scope key of requests that the shim made: they are never resumes, and failures are raised, not answered."""

FENCE = "ap_resume_shim.fence"
"""The scope key of a callable to be called before the first byte of a resume goes out: raises if it must not."""

HEADS = "ap_resume_shim.heads"
"""The scope key of a callable that gets the header fields of each answer to a request that the shim made."""


def escape(path: str) -> str:
    """A path as it stands in a URL; ASGI gives `path` and `root_path` decoded."""
    return quote(path, safe="/:@!$&'()*+,;=~")


def mounted_at(root: str, path: str) -> str:
    """The part of `root_path` that `path` begins with: all of it, its last segments, or nothing.

    The ASGI specification puts all of it there, as uvicorn does. Others (hypercorn, daphne, granian,
    `FastAPI(root_path=...)`) leave out what a proxy in front has removed, and a mount in their apps adds its own part.
    """
    ends = (root[at:] for at, character in enumerate(root) if at == 0 or character == "/")
    return next((end for end in ends if f"{path}/".startswith(f"{end}/")), "")


def route_path(scope: Mapping[str, Any]) -> str:
    """The path below what is mounted."""
    path: str = scope["path"]
    return path[len(mounted_at(scope.get("root_path", ""), path)) :]


def shown_path(scope: Mapping[str, Any]) -> str:
    """The path as the client wrote it, without the query, in which tokens live: for logs."""
    raw: bytes = scope.get("raw_path") or escape(scope["path"]).encode()
    return raw.partition(b"?")[0].decode("latin-1")
