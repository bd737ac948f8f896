"""Counts of resumes by convention, client and verdict."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.idempotency import caller

if TYPE_CHECKING:
    from starlette.types import Scope

DRAFT = "agent-protocol-draft"
"""The convention of the three routes."""
CALLERS = 1000
"""Maximum number of callers that are remembered for each convention."""
SHORTEST_KEY = 16
"""Minimum length of a key. A short one could be guessed, and with it the credentials of callers."""
_CLIENTS = 50
"""Maximum number of client families that are counted for each convention; further ones are `other`."""
_PRODUCT = re.compile(r"[A-Za-z0-9_.\-@]{1,40}")


@dataclass(slots=True)
class _Count:
    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    """By client family."""
    callers: dict[str, None] = field(default_factory=dict)
    last: float = 0.0


class VendorCounts:
    """Counts since the start of the process, in bounded memory."""

    def __init__(self, mode: str, credentials: tuple[str, ...], key: str | None = None) -> None:
        """`credentials` are the headers that identify a caller. `key` makes the digests of callers; processes with the
        same key have the same digests. Default: random.

        Raises `ConfigurationError`.
        """
        if key is not None and len(key) < SHORTEST_KEY:
            raise ConfigurationError(f"The report key is shorter than {SHORTEST_KEY} characters: use a random one.")
        self._mode, self._credentials = mode, credentials
        self._key = secrets.token_bytes(32) if key is None else key.encode()
        self._since = time.time()
        self._counts: dict[str, _Count] = {}

    def count(self, scope: Scope, convention: str, verdict: str) -> None:
        """Count one resume, unless `vendor_resumes` is `pass`: there would be no vendor resumes to compare it with."""
        if self._mode == "pass":
            return
        count = self._counts.setdefault(convention, _Count())
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        family = _family(next((value for name, value in headers if name == "user-agent"), ""))
        if family not in count.verdicts and len(count.verdicts) >= _CLIENTS:
            family = "other"
        count.verdicts.setdefault(family, Counter())[verdict] += 1
        who = self._digest(caller(headers, self._credentials))
        if who in count.callers or len(count.callers) < CALLERS:
            count.callers[who] = None
        count.last = time.time()

    def caller(self, scope: Scope) -> str:
        """Return the digest of a request's caller. It does not reveal credentials without the key."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        return self._digest(caller(headers, self._credentials))

    def _digest(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), hashlib.sha256).hex()[:16]

    def report(self) -> dict[str, Any]:
        """Return the counts, as JSON values. The verdicts of `observe` are estimates."""
        return {
            "since": _shown(self._since),
            "vendor_resumes": self._mode,
            "estimated": self._mode == "observe",
            "callers_of": self._digest("the key of the report"),
            "conventions": {name: _described(count) for name, count in sorted(self._counts.items())},
        }


def _described(count: _Count) -> dict[str, Any]:
    verdicts = sum(count.verdicts.values(), Counter[str]())
    return {
        "resumes": verdicts.total(),
        "verdicts": dict(verdicts.most_common()),
        "clients": {family: dict(count.verdicts[family].most_common()) for family in sorted(count.verdicts)},
        "callers": list(count.callers),
        "last": _shown(count.last),
    }


def _family(user_agent: str) -> str:
    """Return the first product of a `User-Agent`, without its version; a browser's is `Mozilla`."""
    product = _PRODUCT.match(user_agent)
    return product[0] if product else "unknown"


def _shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
