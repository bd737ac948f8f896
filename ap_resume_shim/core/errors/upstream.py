"""Errors of the backend."""

from __future__ import annotations

from ap_resume_shim.core.errors.base import CallerRefused, ResumeError


class UpstreamRefused(CallerRefused):
    """The backend refused the caller. The error has the status of its response, and the draft's body."""


_ADVICE = {
    "not_sent": "The answer was not sent: try again.",
    "unknown": "It is unknown whether the backend accepted the answer: read the thread before you answer again.",
    "consumed": "The backend accepted the answer: read the thread for the result.",
}


class UpstreamFailure(ResumeError):
    """The backend failed, or its response could not be understood.

    If the resume was being sent, `metadata.resume_state` gives its state: `not_sent`, `unknown` or `consumed`.
    """

    status = 502
    advice: str | None = None
    """What to do next, where the advice for `resume_state` would be wrong."""

    @property
    def message(self) -> str:
        """A description of the failure, and what to do next by `resume_state`."""
        advice = self.advice or _ADVICE.get(self.metadata.get("resume_state", ""))
        return self._message if advice is None else f"{self._message} {advice}"


class UpstreamError(UpstreamFailure):
    """The backend responded with an error, or broke off."""

    code = "upstream_error"


class UpstreamUnreachable(UpstreamFailure):
    """No connection to the backend could be made: nothing was sent."""

    code = "upstream_unreachable"


class UpstreamUnrecognised(UpstreamFailure):
    """The backend's response has a form that its dialect does not know."""

    code = "upstream_unrecognised"


class UpstreamTimeout(UpstreamFailure):
    """The backend did not respond in time."""

    status = 504
    code = "upstream_timeout"


class ShutDown(UpstreamFailure):
    """The process shut down after the resume was sent, before the backend responded."""

    status = 504
    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__("The shim was shut down before the backend responded.")
