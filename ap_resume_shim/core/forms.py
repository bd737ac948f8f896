"""Reads forms, as servers do: URL-encoded or multipart. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from urllib.parse import parse_qsl

_PARTS = 2000
"""Maximum number of parts of a multipart form: frameworks refuse forms with more than 1000 fields and 1000 files."""


def read(body: bytes, content_type: str) -> dict[str, str]:
    """Return the text fields of a form; files are skipped, and of duplicate names the last one counts.

    Returns an empty dict for a body of another media type.
    """
    header = _header(content_type)
    match header.get_content_type():
        case "application/x-www-form-urlencoded":
            return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        case "multipart/form-data":
            boundary = str(header.get_param("boundary", "")).encode("latin-1", "replace")
            return dict(_parts(body, boundary)) if boundary else {}
    return {}


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each text field of a multipart form."""
    # The first delimiter may be at the very beginning; each of the others follows a line break.
    delimiter = rb"\r\n--" + re.escape(boundary) + rb"(?:--.*|[ \t]*(?=\r\n))"
    for part in re.split(delimiter, b"\r\n" + body, maxsplit=_PARTS, flags=re.DOTALL)[1:]:
        head, blank, value = part.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace").split("\r\n")
        disposition = next((line for line in lines if line.lower().startswith("content-disposition:")), "")
        if not blank or not disposition:
            continue
        header = _header(disposition.partition(":")[2])
        name = header.get_param("name")
        if isinstance(name, str) and header.get_param("filename") is None:
            yield name, value.decode("utf-8", "replace")


def _header(value: str) -> Message:
    """Return a header field with parameters, such as `multipart/form-data; boundary=x`."""
    message = Message()
    message["content-type"] = value.strip().replace("\r", "").replace("\n", "")
    return message
