"""An interrupt: a question that waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ap_resume_shim.core.idempotency import fingerprint


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A question that waits for an answer. Ids are opaque, and are returned unchanged; None if the backend has none."""

    id: str | None
    value: Any = None
    response_schema: Any = None
    """The JSON Schema of the answer, if the question has one."""
    expires_at: str | None = None
    """RFC 3339; after that time the question is no longer pending."""
    asked_at: str | None = field(default=None, compare=False)
    """RFC 3339; None if the backend does not report it."""

    @property
    def name(self) -> str:
        """The id; without one, a digest of the question, so that an identical question has the same name."""
        return fingerprint(self.value) if self.id is None else self.id

    def as_json(self) -> dict[str, Any]:
        """Return the form that clients see in metadata: `{id, value}`, and `response_schema` if there is one."""
        schema = {} if self.response_schema is None else {"response_schema": self.response_schema}
        return {"id": self.id, "value": self.value, **schema}
