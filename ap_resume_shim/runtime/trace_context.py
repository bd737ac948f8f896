"""Ids that clients send to correlate requests: W3C's `traceparent`, and `X-Request-ID`. The shim generates none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

# W3C Trace Context, section 3.2: version ff is invalid, ids are not all zeros, only later versions may be longer.
_TRACEPARENT = re.compile(rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


def trace_id(scope: Scope) -> str | None:
    """Return the trace id: 32 hexadecimal digits. None unless there is exactly one valid `traceparent`."""
    found = _TRACEPARENT.fullmatch(_single(scope, b"traceparent"))
    return found and found[1].decode()


def request_id(scope: Scope) -> str | None:
    """Return the client's `X-Request-ID` if it consists of 1 to 128 visible ASCII characters, else None."""
    found = _REQUEST_ID.fullmatch(_single(scope, b"x-request-id"))
    return found and found[0].decode()


def _single(scope: Scope, wanted: bytes) -> bytes:
    """Return the value of a header field; empty if it is absent, or present twice and therefore ambiguous."""
    values = [value for name, value in scope["headers"] if name == wanted]
    return values[0] if len(values) == 1 else b""
