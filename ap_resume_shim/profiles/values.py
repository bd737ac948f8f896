"""Converts a backend's values to the draft's forms."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from ap_resume_shim.core.protocol import as_values


def with_messages(values: Any, messages: Any) -> Any:
    """Return the values with the messages in them, from which the draft's `RunWaitResponse` is built."""
    if messages is None:
        return values
    return {**as_values(values), "messages": messages}


def moment(value: Any) -> str | None:
    """Return a time in RFC 3339; None for other values.

    `value` is text, with or without a zone, or seconds since 1970.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC).isoformat()
    if not isinstance(value, str):
        return None
    return value + "Z" if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?", value) else value
