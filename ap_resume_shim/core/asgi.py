"""ASGI names: the type of header fields, scope keys that parts of the shim share, extensions, and paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ap_resume_shim.core.errors import ConfigurationError

HeaderList = list[tuple[bytes, bytes]]
"""Header fields as ASGI has them, in their order: names in lower case, repeated fields as several items."""

EARLY_HINT = "http.response.early_hint"
"""Standard ASGI extension: an informational response (103) before the final response."""
TRAILERS = "http.response.trailers"
"""Standard ASGI extension: header fields after the body."""
REQUEST_TRAILERS = "ap_resume_shim.trailers"
"""Key in the last `http.request` message: the trailer fields of the request, if it has any. Scope key: those of a
client's own request whose body the shim has read."""
TARGET = "ap_resume_shim.target"
"""Extension: the request target as received, where ASGI's `path` and `raw_path` lose a part of it: `{"raw":
b"/a%2Fb?"}`."""
TUNNEL = "ap_resume_shim.tunnel"
"""Extension of a server that hands over its raw connection: `{"open": f}`. `await f(headers, connection, first_bytes,
idle=None)` responds with 101, relays bytes between the two connections, and returns when both are closed, or after
`idle` seconds without traffic."""


def extensions(scope: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the ASGI extensions of the server; an empty mapping if it has none."""
    return scope.get("extensions") or {}


SYNTHESISED = "ap_resume_shim"
"""Scope key of requests that the shim makes. They are never treated as resumes, and failures are raised, not turned
into responses."""

FENCE = "ap_resume_shim.fence"
"""Scope key: a callable that the transport calls before it sends the first byte of a resume. It raises if the resume
must not be sent."""

RECEIVER = "ap_resume_shim.receiver"
"""Scope key: the app that receives the client's own request, if it is not the wrapped app; for an answer in a
WebSocket."""

HEADS = "ap_resume_shim.heads"
"""Scope key: a callable that receives the header fields of each response to a request that the shim made."""


def escape(path: str) -> str:
    """Percent-encode a path for use in a URL; ASGI's `path` and `root_path` are decoded."""
    return quote(path, safe="/:@!$&'()*+,;=~")


def mounted_at(root: str, path: str) -> str:
    """Return the part of `root_path` that `path` begins with: all of it, its last segments, or the empty string.

    The ASGI specification includes all of `root_path` in `path`, as uvicorn does. Others (hypercorn, daphne, granian,
    `FastAPI(root_path=...)`) leave out the part that a reverse proxy has removed, and a mount in their apps adds its
    own part.
    """
    ends = (root[at:] for at, character in enumerate(root) if at == 0 or character == "/")
    return next((end for end in ends if f"{path}/".startswith(f"{end}/")), "")


def route_path(scope: Mapping[str, Any]) -> str:
    """Return the path below the mount point."""
    path: str = scope["path"]
    root = scope.get("root_path")
    return path[len(mounted_at(root, path)) :] if root else path


def path_below(scope: Mapping[str, Any], prefix: str) -> str | None:
    """Return the path below the mount point and a prefix; None if it is not below the prefix.

    A line feed at the end is removed: the routes of Starlette ignore one.
    """
    path = route_path(scope).removesuffix("\n")
    if not prefix:
        return path
    below = path[len(prefix) :]
    return below if path.startswith(prefix) and below.startswith("/") else None


def shown_path(scope: Mapping[str, Any]) -> str:
    """Return the path as the client sent it, without the query, which may contain tokens: for logs."""
    raw: bytes = scope.get("raw_path") or escape(scope["path"]).encode()
    return raw.partition(b"?")[0].decode("latin-1")


def as_names(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names in an argument that is a list of names or a single one."""
    return (given,) if isinstance(given, str) else tuple(given)


def as_prefix(given: str) -> str:
    """Return a path in front of routes, which may be empty. Raises `ConfigurationError` if no route could match."""
    if given and (given[0] != "/" or given[-1] == "/"):
        raise ConfigurationError(
            f"The prefix {given!r} matches no route: write it with a slash in front and none at the end, such as /api."
        )
    return given


def as_app(given: Any) -> Any:
    """Return an app. Raises `ConfigurationError` for the address of a server, which is no app."""
    if isinstance(given, str):
        raise ConfigurationError(f"{given!r} is not an ASGI app: for a server elsewhere, wrap ReverseProxy({given!r}).")
    return given
