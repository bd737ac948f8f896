"""The base classes of the errors that a client can receive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

Headers = tuple[tuple[str, str], ...]


class ResumeError(Exception):
    """A resume that was refused or failed: an HTTP status, a code, a message, and metadata."""

    status: ClassVar[int] = 500
    code: str = "internal_error"
    retry_after: ClassVar[int | None] = None
    """Seconds for `Retry-After`; set only if a retry can succeed."""

    def __init__(self, message: str, metadata: Mapping[str, Any] | None = None, *, detail: str | None = None) -> None:
        """`detail` is the message for logs, with addresses and system errors: it becomes `str()` of the error."""
        super().__init__(detail or message)
        self._message = message
        self.metadata: dict[str, Any] = dict(metadata or {})

    @property
    def message(self) -> str:
        """A description for a person: what happened, and what to do next."""
        return self._message

    @property
    def reason(self) -> str:
        """A description for logs: never contains the client's answer, nor text of the backend that may repeat it."""
        return str(self)

    @property
    def http_status(self) -> int:
        """The HTTP status code."""
        return self.status

    @property
    def headers(self) -> Headers:
        """Response headers of this error."""
        return () if self.retry_after is None else (("retry-after", str(self.retry_after)),)

    def body(self) -> dict[str, Any]:
        """Return the draft's `ErrorResponse`."""
        return {"code": self.code, "message": self.message, "metadata": self.metadata}


REFUSAL_CODES = {401: "unauthorized", 403: "forbidden", 429: "rate_limited"}


class CallerRefused(ResumeError):
    """The caller itself was refused: 401, 403 or 429."""

    def __init__(self, status: int, message: str, headers: Headers = (), *, detail: str | None = None) -> None:
        super().__init__(message, detail=detail)
        self.code = REFUSAL_CODES[status]
        self._status, self._headers = status, headers

    @property
    def http_status(self) -> int:
        """401, 403 or 429."""
        return self._status

    @property
    def headers(self) -> Headers:
        """`WWW-Authenticate` and `Retry-After`, as they were received."""
        return self._headers
