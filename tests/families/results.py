"""What the suite has seen of each subject, kept for the table in the docs.

Kept below AP_TEST_RESULTS, a folder, one line for each value, where that is set.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def keep(subject: str, scenario: str, value: Any, *, carried: bool) -> None:
    """Remember whether a value was carried, or refused with 422."""
    if folder := os.environ.get("AP_TEST_RESULTS"):
        line = json.dumps({"subject": subject, "asks": scenario, "value": value, "carried": carried})
        with Path(folder, f"{subject}.jsonl").open("a") as file:
            file.write(line + "\n")
