"""Settings of the flow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class FlowSettings:
    """Times in seconds, and options of the operator."""

    settle: float = 1.0
    """Maximum time to poll a busy thread before the shim responds with 409: servers announce an interrupt before they
    store it."""
    settle_step: float = 0.1
    """Interval between two lookups of a busy thread."""
    stream_grace: float = 1.0
    """Maximum time to wait for a stream's first event before the status line is sent."""
    completion_poll: float = 1.0
    """Interval between two reads of a run before its thread is deleted on completion, and the longest between two
    lookups of an uncommitted resume."""
    run_poll: float = 0.25
    """Interval between two reads of a run whose end is not announced."""
    connect_again: float = 0.2
    """Delay before a resume is sent again after no connection could be made; no byte of it was sent."""
    commit_timeout: float = 30.0
    """Maximum time that an accepted resume may stay invisible in the thread's state."""
    typed_answers: bool = True
    """Refuse an answer that certainly violates its question's schema."""
    lenient: bool = False
    """Drop fields that the backend cannot honour, instead of refusing them."""
    review: bool = False
    """Submit each resume to the operator's policy (`core.reviewing`)."""
    refresh_after_review: bool = False
    """Look the thread up again before the claim: the hook takes up to 2 seconds, in which the thread may change."""
