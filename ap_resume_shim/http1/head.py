"""Heads of requests and answers: what ASGI is told of one, what is refused, and the bytes of the other."""

from __future__ import annotations

import http
import json
import re
from typing import Any
from urllib.parse import unquote

from ap_resume_shim.core.asgi import EARLY_HINT, TARGET, TRAILERS, TUNNEL, HeaderList

_LINES = {status: f"HTTP/1.1 {status} \r\n".encode() for status in range(100, 1000)} | {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus
}
_EXTENSIONS: dict[str, Any] = {EARLY_HINT: {}, TRAILERS: {}}
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


class Refused(Exception):
    """A request that is not passed on, since it could be read in two ways, or is too much."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def scope_of(method: bytes, target: bytes, version: str, headers: HeaderList, *, upgrade: Any = None) -> dict[str, Any]:
    """What a request's head says, in ASGI's words; the connection's own part (peers, scheme, state) is left out.

    `upgrade`: what opens a tunnel, for a request that asks for one. Raises `Refused`.
    """
    host: bytes | None = None
    for name, value in headers:
        if name == b"host":
            if host is not None:
                raise Refused(400, "A request names its Host once, and this one does more than once.")
            if not _HOST.fullmatch(value):
                raise Refused(400, "The Host field is not the name of a host.")
            host = value
        elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version == "1.0"):
            raise Refused(501, "Only Transfer-Encoding: chunked is understood, in HTTP/1.1: send the body so.")
    if version != "1.1" and version != "1.0":
        raise Refused(505, f"HTTP/{version} is not spoken here: use HTTP/1.1.")
    if method == b"CONNECT":
        raise Refused(501, "CONNECT asks for a tunnel to another server, and none is made here.")
    if host is None and version == "1.1":
        raise Refused(400, "A request names its Host, and this one does not.")
    if not target.startswith(b"/"):
        target, authority = _origin_form(method, target, host)
        if host is None and authority is not None:
            headers = [(b"host", authority), *headers]
    if b"#" in target:
        raise Refused(400, "A request's target has no fragment.")
    raw, mark, query = target.partition(b"?")
    extensions = _EXTENSIONS
    if mark and not query:
        extensions = {**extensions, TARGET: {"raw": target}}
    if upgrade is not None:
        extensions = {**extensions, TUNNEL: {"open": upgrade}}
    path = raw.decode("ascii")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": version,
        "method": method.decode("ascii"),
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw,
        "query_string": query,
        "headers": headers,
        "extensions": extensions,
    }


def _origin_form(method: bytes, target: bytes, host: bytes | None) -> tuple[bytes, bytes | None]:
    """A target that begins with a slash, and the host that it named.

    `http://host/path` says the same as `/path` with that `Host` (RFC 9112, section 3.2.2), if it is the same one.
    """
    if target == b"*" and method == b"OPTIONS":
        return target, None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Refused(400, "A request's target begins with a slash.")
    authority, path = absolute.groups()
    if not authority or not _HOST.fullmatch(authority):
        raise Refused(400, "The request's target does not name a host.")
    if host is not None and authority.lower() != host.lower():
        raise Refused(400, "The request's target and its Host field name different hosts.")
    return path if path.startswith(b"/") else b"/" + path, authority


def head(status: int, headers: HeaderList, *more: bytes) -> bytes:
    """The head of an answer; `more`: whole lines to put at its end. Raises `ValueError` for what would be two heads."""
    parts = [_LINES[status]]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts += more
    parts.append(b"\r\n")
    made, lines = b"".join(parts), len(headers) + len(more) + 2
    if made.count(b"\n") != lines or made.count(b"\r") != lines or b"\0" in made:
        raise ValueError("A field of the answer's head holds a line's end, or a NUL.")
    return made


def plain(status: int, message: str) -> bytes:
    """A whole answer, after which the connection is closed."""
    body = json.dumps({"message": message}).encode()
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    return head(status, fields) + body
