"""Every error that a client can receive: a closed list.

    ResumeError
    ├── InvalidRequest            422 invalid_request
    │   ├── UnsupportedField      422 unsupported_field
    │   ├── UnsupportedInput      422 unsupported_input
    │   ├── InvalidAnswer         422 invalid_answer
    │   └── IdempotencyKeyReused  422 idempotency_key_reused
    ├── RequestTooLarge           413 request_too_large
    ├── Overloaded                503 overloaded
    ├── ShuttingDown              503 shutting_down
    ├── NotFound                  404
    │   ├── ThreadNotFound            thread_not_found
    │   └── AgentNotFound             agent_not_found
    ├── Conflict                  409
    │   ├── ThreadNotInterrupted      thread_not_interrupted
    │   ├── ThreadBusy                thread_busy
    │   ├── ResumeInProgress          resume_in_progress (HoldLapsed, AnswerLost)
    │   ├── MultipleInterrupts        multiple_interrupts
    │   ├── InterruptNotPending       interrupt_not_pending
    │   ├── InterruptAlreadyAnswered  interrupt_already_answered
    │   ├── AmbiguousInterrupt        ambiguous_interrupt
    │   └── ResumeNotConsumed         resume_not_consumed
    ├── GuardUnavailable          503 guard_unavailable (GuardMisconfigured)
    ├── PolicyUnavailable         503 policy_unavailable
    ├── CallerRefused             401 unauthorized, 403 forbidden, 429 rate_limited
    │   ├── UpstreamRefused           by the backend
    │   └── PolicyRefused             by the operator's `authorize` hook
    └── UpstreamFailure           502
        ├── UpstreamError             upstream_error
        ├── UpstreamUnreachable       upstream_unreachable
        ├── UpstreamUnrecognised      upstream_unrecognised
        ├── UpstreamTimeout       504 upstream_timeout
        └── ShutDown              504 shutting_down

The body is the draft's `ErrorResponse`: `code` is for programs, `message` describes for a person what happened and
what to do next, and `metadata` holds the details for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ap_resume_shim.core.errors.base import REFUSAL_CODES, CallerRefused, Headers, ResumeError
from ap_resume_shim.core.errors.upstream import (
    ShutDown,
    UpstreamError,
    UpstreamFailure,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
    UpstreamUnrecognised,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ap_resume_shim.core.interrupt import Interrupt

__all__ = [
    "REFUSAL_CODES",
    "AgentNotFound",
    "AmbiguousInterrupt",
    "AnswerLost",
    "Broken",
    "CallerRefused",
    "ConfigurationError",
    "Conflict",
    "GuardMisconfigured",
    "GuardUnavailable",
    "Headers",
    "HoldLapsed",
    "IdempotencyKeyReused",
    "InterruptAlreadyAnswered",
    "InterruptNotPending",
    "InvalidAnswer",
    "InvalidRequest",
    "MultipleInterrupts",
    "NotFound",
    "Overloaded",
    "PolicyRefused",
    "PolicyUnavailable",
    "RequestTooLarge",
    "ResumeError",
    "ResumeInProgress",
    "ResumeNotConsumed",
    "ShutDown",
    "ShuttingDown",
    "ThreadBusy",
    "ThreadNotFound",
    "ThreadNotInterrupted",
    "UnsupportedField",
    "UnsupportedInput",
    "UpstreamError",
    "UpstreamFailure",
    "UpstreamRefused",
    "UpstreamTimeout",
    "UpstreamUnreachable",
    "UpstreamUnrecognised",
]


class InvalidRequest(ResumeError):
    """The request is invalid: the client has to change it."""

    status = 422
    code = "invalid_request"


class UnsupportedField(InvalidRequest):
    """The backend cannot honour a field of the draft."""

    code = "unsupported_field"


class UnsupportedInput(InvalidRequest):
    """The backend cannot carry this answer unchanged, or does not accept one now."""

    code = "unsupported_input"

    @property
    def reason(self) -> str:
        """Omits the part of the answer that the message quotes."""
        return "The backend cannot carry this answer unchanged, or has no use for it."


class InvalidAnswer(InvalidRequest):
    """The answer certainly violates the schema of its question."""

    code = "invalid_answer"

    @property
    def reason(self) -> str:
        """Omits the part of the answer that the message quotes."""
        return "The answer violates the schema of its question."


class IdempotencyKeyReused(InvalidRequest):
    """The same `Idempotency-Key` was used before with another body."""

    code = "idempotency_key_reused"


class RequestTooLarge(ResumeError):
    """The body exceeds a limit of the shim or of the backend."""

    status = 413
    code = "request_too_large"


class Overloaded(ResumeError):
    """The bodies that the shim holds in memory have reached their total limit."""

    status = 503
    code = "overloaded"
    retry_after = 1


class ShuttingDown(ResumeError):
    """The process is shutting down, and the resume was not sent."""

    status = 503
    code = "shutting_down"
    retry_after = 1

    def __init__(self) -> None:
        super().__init__(
            "The shim is shutting down, and the answer was not sent: try again.", {"resume_state": "not_sent"}
        )


class NotFound(ResumeError):
    """A resource that the request names does not exist."""

    status = 404


class ThreadNotFound(NotFound):
    """The backend does not know the thread, or does not show it to this client."""

    code = "thread_not_found"


class AgentNotFound(NotFound):
    """The backend does not know the agent."""

    code = "agent_not_found"


class Conflict(ResumeError):
    """The thread's state does not allow this resume."""

    status = 409


class ThreadNotInterrupted(Conflict):
    """No question is pending, so there is nothing to answer."""

    code = "thread_not_interrupted"


class ThreadBusy(Conflict):
    """The thread is running, and was still running after the settle time."""

    code = "thread_busy"
    retry_after = 1


class ResumeInProgress(Conflict):
    """Another resume of the thread came first."""

    code = "resume_in_progress"
    retry_after: ClassVar[int | None] = 1


class HoldLapsed(ResumeInProgress):
    """The resume held its thread for longer than the lease before it could be sent, and was not sent."""


class AnswerLost(ResumeInProgress):
    """An earlier resume used this `Idempotency-Key`, and its response is not available for replay."""

    retry_after = None


class _InterruptConflict(Conflict):
    """A conflict whose metadata lists the pending questions."""

    def __init__(self, message: str, interrupts: Iterable[Interrupt], *, detail: str | None = None) -> None:
        super().__init__(message, {"interrupts": [interrupt.as_json() for interrupt in interrupts]}, detail=detail)


class MultipleInterrupts(_InterruptConflict):
    """Several questions are pending, and the input does not identify the one that it answers."""

    code = "multiple_interrupts"


class InterruptNotPending(_InterruptConflict):
    """The question that the client pinned is not pending."""

    code = "interrupt_not_pending"


class InterruptAlreadyAnswered(_InterruptConflict):
    """The question was answered, and its step failed afterwards: the agent would not receive another answer."""

    code = "interrupt_already_answered"


class AmbiguousInterrupt(_InterruptConflict):
    """Two pending questions share an id, so an answer cannot be assigned to one of them."""

    code = "ambiguous_interrupt"


class ResumeNotConsumed(Conflict):
    """The backend accepted the answer, and the agent never received it."""

    code = "resume_not_consumed"


class GuardUnavailable(ResumeError):
    """The guard's shared store cannot be reached: the shim forwards no resume without the guard."""

    status = 503
    code = "guard_unavailable"
    retry_after = 1


class GuardMisconfigured(GuardUnavailable):
    """The guard's store responds, but refuses commands: only an operator can fix that."""


class PolicyUnavailable(ResumeError):
    """The operator's policy cannot be applied: the `authorize` hook failed, or the audit file cannot be written."""

    status = 503
    code = "policy_unavailable"
    retry_after = 1

    def __init__(self, message: str, *, detail: str | None = None) -> None:
        super().__init__(f"{message} The answer was not sent: try again.", {"resume_state": "not_sent"}, detail=detail)


class PolicyRefused(CallerRefused):
    """The operator's `authorize` hook refused the resume. The message is the reason that it gave."""

    @property
    def reason(self) -> str:
        """Omits the text of the hook, which may repeat the answer."""
        return "The authorize hook refused the resume."


class ConfigurationError(ValueError):
    """The configuration of the shim is wrong. Raised during setup, never sent to a client."""


class Broken(Exception):
    """A response has begun and cannot be completed. The server receives this exception, and closes the connection."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"the response was broken off: {cause}")
