"""The draft's own description of the three routes: those paths and their schemas, from its OpenAPI file (PR 63).

`openapi.json` is a part of `openapi.json` in the repository `langchain-ai/agent-protocol` (MIT License, Copyright
LangChain, Inc.).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

DOCUMENT: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))


def check(name: str, value: Any) -> None:
    """Raises `ValidationError` where a value is not what the draft calls by that name, formats excepted."""
    Draft202012Validator({"$ref": f"#/components/schemas/{name}", **DOCUMENT}).validate(value)
