"""What a flow yields: the steps of a resume, grouped by the party that they are about.

A flow is a generator (as `httpx.Auth.auth_flow` is one): it yields steps; the driver does them, and sends back their
results. What goes wrong in a step is raised where the flow yielded it. `result = yield from step` gives the result its
type, as `await` would.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from ap_resume_shim.core.steps.client import (
    Answer,
    ClientGone,
    EndStream,
    Reply,
    SendChunk,
    StartStream,
    StreamReply,
)
from ap_resume_shim.core.steps.guard import AwaitCommit, CallGuard, Entry, MarkAccepted, MarkIdle, ReadLedger
from ap_resume_shim.core.steps.timer import Pause, Poll
from ap_resume_shim.core.steps.upstream import (
    Ask,
    Drain,
    Join,
    ReadBody,
    ReadEvents,
    ReadHead,
    ReadUntilIdle,
    Send,
)

__all__ = [
    "Answer",
    "Ask",
    "AwaitCommit",
    "CallGuard",
    "ClientGone",
    "Drain",
    "EndStream",
    "Entry",
    "Flow",
    "Join",
    "MarkAccepted",
    "MarkIdle",
    "Pause",
    "Poll",
    "ReadBody",
    "ReadEvents",
    "ReadHead",
    "ReadLedger",
    "ReadUntilIdle",
    "Reply",
    "Send",
    "SendChunk",
    "StartStream",
    "Step",
    "Steps",
    "StreamReply",
]

T = TypeVar("T")

Upstream = Ask | ReadUntilIdle | Send | ReadHead | Join | ReadBody | ReadEvents | Drain
Guard = CallGuard[Any] | MarkAccepted | AwaitCommit | MarkIdle | ReadLedger
Client = Answer | StartStream | SendChunk | EndStream
Timer = Pause | Poll
Step = Upstream | Guard | Client | Timer

Steps = Generator[Step, object, T]
"""A part of a flow, which returns a `T`. `yield` is typed as an object; `yield from` a step, as the step's result."""
Flow = Steps[None]
