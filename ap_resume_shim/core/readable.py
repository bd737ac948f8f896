"""Checks that a 2xx response is readable at all, before a dialect reads it.

A login page, a compressed body that the request did not allow, and an empty response show nothing about the resume.
They are detected here for all dialects.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import UpstreamError, UpstreamUnrecognised
from ap_resume_shim.core.http import Response

JSON = ("application/json", "text/json", "text/plain")
"""Media types of JSON, besides `…+json`; LangGraph's JavaScript server labels its results as plain text."""
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def check_head(response: Response, media_types: Collection[str]) -> None:
    """Raise `UpstreamUnrecognised` if the status or the headers show another kind of response."""
    coding = (response.header("content-encoding") or "identity").strip().lower()
    media_type = (response.header("content-type") or "").partition(";")[0].strip().lower()
    if response.status in (204, 205):
        raise _unreadable(response, "has no content")
    if coding != "identity":
        raise _unreadable(response, f"is encoded as {coding[:40]!r}, although the request allowed no coding")
    known = media_type in media_types or (media_types is JSON and media_type.endswith("+json"))
    if media_type and not known:
        raise _unreadable(response, f"is of the media type {media_type[:80]!r}")


def check_json(response: Response) -> Any:
    """Return the JSON value of a complete body.

    Raises `UpstreamError` for JSON that is cut short, `UpstreamUnrecognised` for anything else that is not JSON.
    """
    if not response.body.strip():
        raise _unreadable(response, "is empty")
    try:
        return strictjson.read(response.body)
    except ValueError:
        if _is_truncated(response.text):
            raise UpstreamError("The backend's response is cut short.", {"upstream_status": response.status}) from None
        raise _unreadable(response, "is not JSON, or contains a value that JSON cannot carry") from None


def _is_truncated(text: str) -> bool:
    """True for a text that begins as JSON does, and ends within a string, an array or an object."""
    rest = _TEXT.sub("", text)
    opened, closed = (sum(map(rest.count, brackets)) for brackets in ("[{", "]}"))
    return text.lstrip().startswith(("{", "[", '"')) and ('"' in rest or opened > closed)


def _unreadable(response: Response, problem: str) -> UpstreamUnrecognised:
    return UpstreamUnrecognised(
        f"The backend's response {problem}. Is there a login page, a proxy or another server in front of it?",
        {"upstream_status": response.status},
    )
