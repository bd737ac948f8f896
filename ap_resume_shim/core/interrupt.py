"""A question that waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A question that waits for an answer. Ids are opaque: passed back as they came; None where there are none."""

    id: str | None
    value: Any = None

    def as_json(self) -> dict[str, Any]:
        """As the client sees it, in metadata."""
        return {"id": self.id, "value": self.value}
