"""Applies the operator's policy to each resume: the hook decides about it, and it is recorded before it is sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.steps import Attempt
from ap_resume_shim.policy.audit_file import AuditFile
from ap_resume_shim.policy.audit_trail import AuditTrail
from ap_resume_shim.policy.authorize import Authorizer, Hook
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.incoming import IncomingResume
from ap_resume_shim.runtime.resume_log import ResumeLine

if TYPE_CHECKING:
    from starlette.types import Scope


Audit = AuditFile | str | os.PathLike[str]
"""An audit file, or its path."""


class Policy:
    """The operator's policy for all resumes of a shim."""

    def __init__(
        self,
        authorize: Hook | str | None,
        audit: Audit | None,
        credentials: tuple[str, ...],
        caller: Callable[[Scope], str],
    ) -> None:
        """`credentials` are the header fields that identify a caller; `caller` returns the digest of a request's.

        Raises `ConfigurationError`.
        """
        self._authorizer = None if authorize is None else Authorizer(authorize, credentials)
        self._audit = AuditFile(audit) if isinstance(audit, str | os.PathLike) else audit
        if not isinstance(self._audit, AuditFile | None):
            raise ConfigurationError("`audit` must be the path of a file, or an `AuditFile`.")
        self._caller = caller

    def lines(self, make: Callable[..., ResumeLine]) -> Callable[..., ResumeLine]:
        """Return a function that creates the log line of a resume with `make`, and applies the policy to the resume."""

        def line(scope: Scope, mode: Mode, client: Client, convention: str | None = None) -> ResumeLine:
            made, trail = make(scope, mode, client, convention), None
            if self._audit is not None:
                trail = AuditTrail(self._audit, scope, self._caller(scope), mode, convention)
            made.policy = _ReviewedResume(self._authorizer, trail, made)
            return made

        return line


class _ReviewedResume:
    """The policy's part in one resume."""

    def __init__(self, authorizer: Authorizer | None, trail: AuditTrail | None, line: ResumeLine) -> None:
        self.incoming: IncomingResume | None = None
        self._authorizer, self._trail, self._line = authorizer, trail, line
        self._attempt: Attempt | None = None

    async def review(self, attempt: Attempt) -> None:
        """Let the hook decide. Raises `PolicyRefused` and `PolicyUnavailable`."""
        assert self.incoming is not None, "a flow begins when its request has been read"
        self._attempt = attempt
        if self._authorizer is not None:
            await self._authorizer(self.incoming, attempt)

    async def before_send(self) -> None:
        """Record the resume. Raises `PolicyUnavailable`."""
        assert self.incoming is not None and self._attempt is not None, "a resume is reviewed before it is sent"
        if self._trail is not None:
            await self._trail.before_send(self._line, self.incoming, self._attempt)

    def end(self) -> None:
        """Record the outcome."""
        if self._trail is not None:
            self._trail.end(self._line, self.incoming, self._attempt)
