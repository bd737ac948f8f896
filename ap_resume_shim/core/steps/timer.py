"""Steps that wait."""

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
