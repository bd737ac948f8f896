"""The steps that a flow yields, grouped by the party they concern.

A flow is a generator (as `httpx.Auth.auth_flow` is one): it yields steps; the driver carries them out and sends their
results back. A failure is raised where the flow yielded the step. `result = yield from step` gives the result its type,
as `await` would.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from ap_resume_shim.core.steps.client import (
    ClientGone,
    EndStream,
    OriginalResponse,
    Reply,
    SendChunk,
    SendReply,
    StartStream,
    StreamReply,
)
from ap_resume_shim.core.steps.guard import (
    AwaitCommit,
    CallGuard,
    Entry,
    MarkAccepted,
    MarkIdle,
    ReadLedger,
    RepeatClaim,
)
from ap_resume_shim.core.steps.review import Attempt, Review
from ap_resume_shim.core.steps.timer import Now, Pause, Poll
from ap_resume_shim.core.steps.upstream import (
    Ask,
    Drain,
    Join,
    ReadBody,
    ReadEvents,
    ReadHead,
    ReadUntilIdle,
    Send,
    SendOriginal,
)

__all__ = [
    "Ask",
    "Attempt",
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
    "Now",
    "OriginalResponse",
    "Pause",
    "Poll",
    "ReadBody",
    "ReadEvents",
    "ReadHead",
    "ReadLedger",
    "ReadUntilIdle",
    "RepeatClaim",
    "Reply",
    "Review",
    "Send",
    "SendChunk",
    "SendOriginal",
    "SendReply",
    "StartStream",
    "Step",
    "Steps",
    "StreamReply",
]

T = TypeVar("T")

Upstream = Ask | ReadUntilIdle | Send | SendOriginal | ReadHead | Join | ReadBody | ReadEvents | Drain
Guard = CallGuard[Any] | RepeatClaim | MarkAccepted | AwaitCommit | MarkIdle | ReadLedger
Client = SendReply | StartStream | SendChunk | EndStream
Timer = Pause | Poll | Now
Step = Upstream | Guard | Client | Timer | Review

Steps = Generator[Step, object, T]
"""A part of a flow that returns a `T`. `yield` has the type `object`; `yield from` a step has the type of the step's
result."""
Flow = Steps[None]
"""A flow that returns nothing."""
