"""`Idempotency-Key`: reading the header, and digests that identify requests and callers.

The header follows the IETF draft (draft-ietf-httpapi-idempotency-key-header-07): a structured-field string,
`"8e03978e"`. The bare form, which most clients send, is the same key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ap_resume_shim.core.errors import InvalidRequest
from ap_resume_shim.core.json_values import HEX32

CREDENTIALS = ("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token")
"""Header fields that distinguish callers, unless the operator configures others."""

_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-~]+")
_MAX = 255
_SORTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def read_key(fields: Sequence[str]) -> str | None:
    """Return the key; None if `fields`, the values of the header, is empty. Raises `InvalidRequest`."""
    if not fields:
        return None
    if len(fields) > 1:
        raise InvalidRequest("There are several Idempotency-Key fields: send only one.")
    field = fields[0].strip()
    if quoted := _QUOTED.fullmatch(field):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _BARE.fullmatch(field):
        key = field
    else:
        raise InvalidRequest('Idempotency-Key is not a string of visible characters: send one as "8e03978e-40d5".')
    if not 0 < len(key) <= _MAX:
        raise InvalidRequest(f"Idempotency-Key has {len(key)} characters: send 1 to {_MAX}, a UUID for instance.")
    return key


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON value, in hex. White space, escapes and the order of keys do not matter."""
    return hashlib.sha256(_SORTED.encode(value).encode()).hexdigest()


def answer_fingerprints(body: Mapping[str, Any], id_form: re.Pattern[str] | None) -> tuple[str, str]:
    """Return two digests of the answer in a body of the draft: with the name of its question, and without it.

    They are equal for an answer that names none. A name is the pin, or the only key of `input` if it has the form of
    the backend's interrupt ids.
    """
    answer = {name: body[name] for name in ("input", "messages", "interrupt_id") if body.get(name) is not None}
    named, pin, value = fingerprint(answer), answer.pop("interrupt_id", None), answer.get("input")
    if isinstance(value, dict) and len(value) == 1:
        ((name, inner),) = value.items()
        if name == pin or (id_form is not None and id_form.fullmatch(name)):
            answer = {"input": inner}
    return named, fingerprint(answer)


def one_spelling(thread_id: str) -> str:
    """Return one spelling for all spellings of a UUID: any case, without dashes, in braces, as `urn:uuid:`.

    Any other id is returned unchanged.
    """
    text = thread_id.lower().replace("urn:", "").replace("uuid:", "")
    digits = text.strip("{}").replace("-", "")
    return digits if HEX32.fullmatch(digits) else thread_id


def digest(*parts: str) -> str:
    """Return one SHA-256, in hex, for several strings: different lists have different digests."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def caller(headers: Iterable[tuple[str, str]], credentials: Iterable[str] = CREDENTIALS) -> str:
    """Return a digest of the fields that distinguish callers: no credential is ever stored."""
    names = {name.lower() for name in credentials}
    return digest(*(f"{name.lower()}: {value}" for name, value in sorted(headers) if name.lower() in names))
