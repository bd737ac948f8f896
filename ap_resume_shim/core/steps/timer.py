"""Steps that wait, and the clock."""

from __future__ import annotations

from dataclasses import dataclass

from ap_resume_shim.core.steps.step import Returns


@dataclass(frozen=True, slots=True)
class Pause(Returns[None]):
    """Wait for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Poll(Returns[None]):
    """Wait for `seconds` before a run in progress is read again; a waiting client receives keep-alives.

    Raises `UpstreamTimeout` when the run takes longer than a resume may.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class Now(Returns[str]):
    """Result: the current time in UTC, as RFC 3339."""
