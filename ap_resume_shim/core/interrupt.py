"""A question that waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ap_resume_shim.core.idempotency import fingerprint


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A question that waits for an answer. Ids are opaque: passed back as they came; None where there are none."""

    id: str | None
    value: Any = None
    response_schema: Any = None
    """A JSON Schema of the answer, where the question carries one."""
    expires_at: str | None = None
    """RFC 3339; after that moment the question is no longer pending."""

    @property
    def name(self) -> str:
        """The id; without one, a digest of the question, the same for a question that is repeated word for word."""
        return fingerprint(self.value) if self.id is None else self.id

    def as_json(self) -> dict[str, Any]:
        """As the client sees it, in metadata: `{id, value}`, and `response_schema` where there is one."""
        schema = {} if self.response_schema is None else {"response_schema": self.response_schema}
        return {"id": self.id, "value": self.value, **schema}
