"""Values of a backend, in the draft's forms."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from ap_resume_shim.core.protocol import as_values


def with_messages(values: Any, messages: Any) -> Any:
    """Values as the draft's `RunWaitResponse` is made from them: with the messages in them."""
    if messages is None:
        return values
    return {**as_values(values), "messages": messages}


def moment(value: Any) -> str | None:
    """A time as RFC 3339 has it, from text that may lack its zone, or seconds since 1970."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC).isoformat()
    if not isinstance(value, str):
        return None
    return value + "Z" if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?", value) else value
