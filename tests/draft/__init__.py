"""The draft's own schemas of what is answered, from its OpenAPI file (PR 63)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

_DOCUMENT: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))


def check(name: str, value: Any) -> None:
    """Raises `ValidationError` where a value is not what the draft calls by that name, formats excepted."""
    Draft202012Validator({"$ref": f"#/components/schemas/{name}", **_DOCUMENT}).validate(value)
