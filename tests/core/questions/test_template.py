"""A choice is written into a template. `fill.json` has the cases, for every implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ap_resume_shim.core.questions import fill

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("fill.json").read_text("utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[json.dumps(case)[:80] for case in CASES])
def test_a_template_is_filled_with_a_choice(case: dict[str, Any]) -> None:
    if case["filled"] == "missing":
        with pytest.raises(ValueError, match="has no"):
            fill(case["template"], case["choice"])
    else:
        assert fill(case["template"], case["choice"]) == case["filled"]
