"""The conditions by which a kind of server is recognised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def plain_path(path: str) -> str:
    """Return a path of an OpenAPI document without its parameter names: `/runs/{}`."""
    return re.sub(r"\{[^}]*\}", "{}", path)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Conditions that identify a kind of server; a server matches if it fulfils all of them."""

    openapi: frozenset[str] = frozenset()
    """Paths in its `/openapi.json`, without parameter names: `/runs/{}`; or the schema of a request body, on any path:
    `POST <RunAgentInput>`."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """JSON pointers into its `/info`, and the expected values; None matches any value."""
    takes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Fields that the request body of a route must define, such as `thread_id` for `POST /runs`. A route whose body
    `/openapi.json` does not describe matches."""
    card: bool = False
    """True if the server must have an A2A agent card."""
