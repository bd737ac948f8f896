"""Waits for something to happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 90.0
"""Maximum time until something has happened, in seconds. Servers that many tests share may be slow."""


def eventually(happened: Callable[[], T | None], why: str = "", *, patience: float = PATIENCE) -> T:
    """Call `happened` until its value is true, and return the value. The test fails after `patience` seconds."""
    deadline, pause = time.monotonic() + patience, 0.01
    while not (value := happened()):
        assert time.monotonic() < deadline, f"did not happen within {patience} s: {why}"
        time.sleep(pause)
        pause = min(1.5 * pause, 0.05)
    return value
