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
    """Escape an id for use as one path segment: everything but unreserved characters."""
    return quote(value, safe="")


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the backend.

    `target` is the escaped path and query; `body` has the type `media_type`, or is None.
    """

    method: str
    target: str
    body: bytes | None = None
    accept: str = "application/json"
    media_type: str = "application/json"
    headers: Headers = ()
    """Sent in addition to the client's headers, and in place of those with the same name; such as a protocol
    version."""
    below_prefix: bool = True
    """True if the option `prefix` is prepended to the target."""

    @classmethod
    def get(cls, target: str) -> Request:
        """Return a GET request."""
        return cls("GET", target)

    @classmethod
    def post(cls, target: str, value: Any = None, accept: str = "application/json") -> Request:
        """Return a POST of a JSON value; None means no body."""
        return cls("POST", target, None if value is None else strictjson.dumps(value), accept)

    @classmethod
    def form(cls, target: str, fields: Mapping[str, str], accept: str = "application/json") -> Request:
        """Return a POST of a URL-encoded form."""
        return cls("POST", target, urlencode(fields).encode(), accept, "application/x-www-form-urlencoded")

    @property
    def json(self) -> Any:
        """The decoded body. Raises `ValueError` if it is not JSON."""
        return None if self.body is None else json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """The backend's response. After a successful `Send`, the body is empty: a later step reads it."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    mount: str = ""
    """The path in front of the backend's paths (mount point and prefix), escaped; URLs in the body contain it. Only
    lookups have it."""

    @property
    def ok(self) -> bool:
        """True for a status of 2xx."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        """Return the first field with that name; `name` is in lower case. None if there is none."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def json(self) -> Any:
        """The decoded body; None if it is not JSON. Some servers send errors as plain text."""
        try:
            return strictjson.read(self.body)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        """The body as text, for error messages and comparisons."""
        return self.body.decode("utf-8", "replace")
