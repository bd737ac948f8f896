"""The interface of `ap_resume_shim.policy`, which is imported only if it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ap_resume_shim.core.steps import Attempt
    from ap_resume_shim.runtime.incoming import IncomingResume


class ResumePolicy(Protocol):
    """The policy's part in one resume, from its arrival to the end of its response."""

    incoming: IncomingResume | None
    """The content of the request; None until its body is read."""

    async def review(self, attempt: Attempt) -> None:
        """Carry out the step `Review`. Raises `PolicyRefused` and `PolicyUnavailable`."""

    async def before_send(self) -> None:
        """Called before the resume is sent, and again before it is retried. Raises `PolicyUnavailable`."""

    def end(self) -> None:
        """Called once, when the log line is written. Never raises, and does not wait."""
