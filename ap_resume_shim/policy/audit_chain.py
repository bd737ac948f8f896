"""The lines of an audit file: each has the digest of the line before, and ends with its own.

    {"prev":"9f2c…","time":"…","event":"sending",…,"line_sha256":"51aa…"}

`prev` is the SHA-256 of the line before, without its newline. `line_sha256` is that of the line's own bytes before
`,"line_sha256":`.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from ap_resume_shim.core import strictjson

_SEAL = b',"line_sha256":"'
_SEALED = re.compile(rb',"line_sha256":"[0-9a-f]{64}"\}')
_HEAD = b'{"prev":'


def seal(record: dict[str, Any], prev: str | None) -> bytes:
    """Return a record as a line, without its newline. `prev` is the digest of the line before; None if there is none.

    Raises `ValueError` for a value that JSON cannot carry.
    """
    head = strictjson.dumps({"prev": prev, **record})[:-1]
    return head + _SEAL + digest(head).encode() + b'"}'


def digest(line: bytes) -> str:
    """Return the digest of a line, for the next one."""
    return hashlib.sha256(line).hexdigest()


def is_whole(line: bytes) -> bool:
    """Return True if a line is a record that was written completely and has not changed."""
    head, _, own = line.rpartition(_SEAL)
    return head.startswith(_HEAD) and own == digest(head).encode() + b'"}'


def read(line: bytes) -> dict[str, Any] | None:
    """Return the record of a whole line; None if it was not written by `seal`, though its digest is right."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "prev" in record else None


def has_record(data: bytes) -> bool:
    """Return True if the data contains the end of a record."""
    return _SEALED.search(data) is not None


def may_be_torn(rest: bytes) -> bool:
    """Return True if the bytes after the last whole line may be those of an interrupted write, and not a change.

    An interrupted write leaves no complete record after a fragment.
    """
    return not has_record(rest) and begins_a_line(rest.partition(b"\n")[0])


def begins_a_line(data: bytes) -> bool:
    """Return True if the data can be the beginning of a line. After a power failure, zeros may follow it."""
    data = data.rstrip(b"\0")
    return data.startswith(_HEAD) or _HEAD.startswith(data)
