"""Whether an answer of 2xx can be read at all, before a dialect looks into it.

A login page, a compressed body that nobody asked for and an empty answer say nothing about the resume: they are told
apart here, once for all dialects, and nothing is guessed in their place.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import UpstreamError, UpstreamUnrecognised
from ap_resume_shim.core.http import Response

JSON = ("application/json", "text/json", "text/plain")
"""Media types of JSON, beside `…+json`; LangGraph's JavaScript server calls its results plain text."""
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def check_head(response: Response, media_types: Collection[str]) -> None:
    """Raises `UpstreamUnrecognised` for an answer whose head says that it is something else."""
    coding = (response.header("content-encoding") or "identity").strip().lower()
    media_type = (response.header("content-type") or "").partition(";")[0].strip().lower()
    if response.status in (204, 205):
        raise _unreadable(response, "has no content")
    if coding != "identity":
        raise _unreadable(response, f"is encoded as {coding[:40]!r}, although the request asked for no coding")
    known = media_type in media_types or (media_types is JSON and media_type.endswith("+json"))
    if media_type and not known:
        raise _unreadable(response, f"is of the media type {media_type[:80]!r}")


def check_json(response: Response) -> Any:
    """The value of a body that was read whole.

    Raises `UpstreamError` for JSON that is cut short, `UpstreamUnrecognised` for anything else that is not JSON.
    """
    if not response.body.strip():
        raise _unreadable(response, "is empty")
    try:
        return strictjson.read(response.body)
    except ValueError:
        if _is_cut(response.text):
            raise UpstreamError("The backend's answer is cut short.", {"upstream_status": response.status}) from None
        raise _unreadable(response, "is not JSON, or holds a value that JSON cannot carry") from None


def _is_cut(text: str) -> bool:
    """Whether a text begins as JSON does, and ends within a string, an array or an object."""
    rest = _TEXT.sub("", text)
    opened, closed = (sum(map(rest.count, brackets)) for brackets in ("[{", "]}"))
    return text.lstrip().startswith(("{", "[", '"')) and ('"' in rest or opened > closed)


def _unreadable(response: Response, what: str) -> UpstreamUnrecognised:
    return UpstreamUnrecognised(
        f"The backend's answer {what}. Is there a login page, a proxy or another server in front of it?",
        {"upstream_status": response.status},
    )
