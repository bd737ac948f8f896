"""Requests to a backend and its responses, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from ap_resume_shim.core import strictjson

Headers = tuple[tuple[str, str], ...]


def segment(value: str) -> str:
    """An id as one segment of a path: everything but unreserved characters is escaped."""
    return quote(value, safe="")


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the backend. `target` is path and query, escaped; `body` is what `media_type` says, or None."""

    method: str
    target: str
    body: bytes | None = None
    accept: str = "application/json"
    media_type: str = "application/json"
    headers: Headers = ()
    """Beside the client's own, in whose place they go; such as the version of a protocol."""
    below_prefix: bool = True
    """Whether the option `prefix` stands before the target."""

    @classmethod
    def get(cls, target: str) -> Request:
        """A lookup."""
        return cls("GET", target)

    @classmethod
    def post(cls, target: str, value: Any = None, accept: str = "application/json") -> Request:
        """A POST of a JSON value; None means no body."""
        return cls("POST", target, None if value is None else strictjson.dumps(value), accept)

    @classmethod
    def form(cls, target: str, fields: Mapping[str, str], accept: str = "application/json") -> Request:
        """A POST of a form."""
        return cls("POST", target, urlencode(fields).encode(), accept, "application/x-www-form-urlencoded")

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return None if self.body is None else json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """The backend's answer. For a `Send` that succeeded the body is empty: it is read by a later step."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        """The first field of that name; names are compared without case."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def json(self) -> Any:
        """The body, decoded; None where it is not JSON. Some servers answer errors as plain text."""
        try:
            return strictjson.read(self.body)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        """The body as text, for a person or a comparison of phrases."""
        return self.body.decode("utf-8", "replace")
