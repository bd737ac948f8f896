"""The heads of requests and responses: from a request's head to an ASGI scope, and from a response to its bytes."""

from __future__ import annotations

import http
import json
import re
from typing import Any
from urllib.parse import unquote

from ap_resume_shim.core.asgi import EARLY_HINT, TARGET, TRAILERS, TUNNEL, HeaderList

_STATUS_LINES = {status: f"HTTP/1.1 {status} ".encode() for status in range(100, 1000)} | {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in http.HTTPStatus
}
_EXTENSIONS: dict[str, Any] = {EARLY_HINT: {}, TRAILERS: {}}
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


class Refused(Exception):
    """A request that is not forwarded: it is malformed, ambiguous or too large. The client receives `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def build_scope(
    method: bytes, target: bytes, version: str, headers: HeaderList, *, upgrade: Any = None
) -> dict[str, Any]:
    """Return the ASGI scope of a request, without the keys of the connection (`client`, `server`, `scheme`, `state`).

    `upgrade` is the function that opens a tunnel (see `ap_resume_shim.core.asgi.TUNNEL`), if the request asks for an
    upgrade. Raises `Refused`.
    """
    host: bytes | None = None
    for name, value in headers:
        if name == b"host":
            if host is not None:
                raise Refused(400, "A request has one Host field, and this one has several.")
            if not _HOST.fullmatch(value):
                raise Refused(400, "The Host field is not a valid host name.")
            host = value
        elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version == "1.0"):
            raise Refused(
                501, "The only supported transfer coding is chunked, in HTTP/1.1: use it, or send a Content-Length."
            )
    if version != "1.1" and version != "1.0":
        raise Refused(505, f"HTTP/{version} is not supported: use HTTP/1.1.")
    if method == b"CONNECT":
        raise Refused(501, "CONNECT is not supported.")
    if host is None and version == "1.1":
        raise Refused(400, "A request has a Host field, and this one has none.")
    if not target.startswith(b"/"):
        target, authority = _origin_form(method, target, host)
        if host is None and authority is not None:
            headers = [(b"host", authority), *headers]
    if b"#" in target:
        raise Refused(400, "The request's target has a fragment, which is not allowed.")
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
    """Return the target in origin form, and the host of a target in absolute form; None if it was not.

    `http://host/path` is equivalent to `/path` with that host as `Host` (RFC 9112, section 3.2.2). Raises `Refused` if
    the request has another `Host`.
    """
    if target == b"*" and method == b"OPTIONS":
        return target, None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Refused(400, "The request's target does not begin with a slash.")
    authority, path = absolute.groups()
    if not authority or not _HOST.fullmatch(authority):
        raise Refused(400, "The request's target has no valid host name.")
    if host is not None and authority.lower() != host.lower():
        raise Refused(400, "The request's target and its Host field name different hosts.")
    return path if path.startswith(b"/") else b"/" + path, authority


def encode_head(status: int, headers: HeaderList) -> bytes:
    """Return the bytes of a response's head.

    Raises `ValueError` if a field contains a line end or a NUL: it could inject fields or end the head.
    """
    made, lines = encode_lines(_STATUS_LINES[status], headers), len(headers) + 2
    if made.count(b"\n") != lines or made.count(b"\r") != lines or b"\0" in made:
        raise ValueError("A header field of the response contains a line end or a NUL.")
    return made


def encode_lines(first: bytes, headers: HeaderList) -> bytes:
    """Return the bytes of a head: its first line, its fields, and the empty line."""
    return b"\r\n".join([first, *map(b": ".join, headers), b"", b""])


def encode_error(status: int, message: str) -> bytes:
    """Return the bytes of a complete JSON response with `Connection: close`."""
    body = json.dumps({"message": message}).encode()
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    return encode_head(status, fields) + body
