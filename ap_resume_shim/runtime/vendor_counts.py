"""Counts of resumes by convention: who answers in which way, and what became of the answers."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.idempotency import caller

if TYPE_CHECKING:
    from starlette.types import Scope

DRAFT = "agent-protocol-draft"
"""The convention of the three routes."""
_CALLERS = 1000
"""Callers that are remembered for each convention."""
_CLIENTS = 50
"""Client families that are counted for each convention; any further one is `other`."""
_PRODUCT = re.compile(r"[A-Za-z0-9_.\-@]{1,40}")


@dataclass(slots=True)
class _Count:
    verdicts: Counter[str] = field(default_factory=Counter)
    clients: Counter[str] = field(default_factory=Counter)
    callers: dict[str, None] = field(default_factory=dict)
    last: str = ""


class VendorCounts:
    """Counts since the start of the process, in bounded memory."""

    def __init__(self, mode: str, credentials: tuple[str, ...], key: bytes = b"") -> None:
        """`credentials` are the headers that identify a caller; `key` makes the digests of callers, default: random."""
        self._mode, self._credentials, self._key = mode, credentials, key or secrets.token_bytes(32)
        self._since = _now()
        self._counts: dict[str, _Count] = {}

    def count(self, scope: Scope, convention: str, verdict: str) -> None:
        """Count one resume, unless vendor resumes pass uncounted, so that there is nothing to compare it with."""
        if self._mode == "pass":
            return
        count = self._counts.setdefault(convention, _Count())
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        count.verdicts[verdict] += 1
        family = _family(next((value for name, value in headers if name == "user-agent"), ""))
        known = family in count.clients or len(count.clients) < _CLIENTS
        count.clients[family if known else "other"] += 1
        who = hmac.new(self._key, caller(headers, self._credentials).encode(), hashlib.sha256).hexdigest()[:16]
        if who in count.callers or len(count.callers) < _CALLERS:
            count.callers[who] = None
        count.last = _now()

    def report(self) -> dict[str, Any]:
        """Return the counts, as JSON values. The verdicts of `observe` are estimates."""
        conventions = {
            name: {
                "resumes": count.verdicts.total(),
                "verdicts": dict(count.verdicts.most_common()),
                "clients": dict(count.clients.most_common()),
                "callers": list(count.callers),
                "last": count.last,
            }
            for name, count in sorted(self._counts.items())
        }
        return {
            "since": self._since,
            "vendor_resumes": self._mode,
            "estimated": self._mode == "observe",
            "conventions": conventions,
        }


def _family(user_agent: str) -> str:
    """Return the first product of a `User-Agent`, without its version; a browser's is `Mozilla`."""
    product = _PRODUCT.match(user_agent)
    return product[0] if product else "unknown"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
