"""Settings of the flow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class FlowSettings:
    """Times, in seconds, and options of the operator."""

    settle: float = 1.0
    """How long a busy thread is polled before 409: real servers announce an interrupt before they record it."""
    settle_step: float = 0.1
    claim_step: float = 0.02
    """How often a claim that met another resume's hold is tried again; no lookup is made for it."""
    stream_grace: float = 1.0
    """How long a stream's first event is waited for before the status line is sent."""
    completion_poll: float = 1.0
    run_poll: float = 0.25
    """How often a run is read whose end nothing announces."""
    connect_again: float = 0.2
    """After how long a resume that found no connection is sent once more: no byte of it was."""
    commit_timeout: float = 30.0
    """How long an accepted resume may stay invisible in the thread's state, at most."""
    typed_answers: bool = True
    """Whether an answer that certainly violates its question's schema is refused."""
    lenient: bool = False
    """Whether fields that the backend cannot honour are dropped instead of refused."""
