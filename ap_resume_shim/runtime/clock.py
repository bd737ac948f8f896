"""The wall clock."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """Return the current time in UTC, as RFC 3339."""
    return datetime.now(UTC).isoformat()
