"""Helpers for reading a backend's responses: the parts that all dialects share, and rules for the differences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import (
    AgentNotFound,
    InvalidRequest,
    RequestTooLarge,
    ResumeError,
    ThreadBusy,
    ThreadNotFound,
    ThreadNotInterrupted,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnrecognised,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ap_resume_shim.core.http import Response

E = TypeVar("E", bound=ResumeError)

RAISES: dict[str, tuple[type[ResumeError], str, str]] = {
    "thread_not_found": (
        ThreadNotFound,
        "The backend does not know the thread",
        "Check `thread_id` and the credentials.",
    ),
    "agent_not_found": (
        AgentNotFound,
        "The backend does not know the agent",
        "Leave `agent_id` out to use the thread's own.",
    ),
    "thread_not_interrupted": (
        ThreadNotInterrupted,
        "The backend reports that the thread is not interrupted",
        "Read the thread: there is nothing to answer.",
    ),
    "thread_busy": (
        ThreadBusy,
        "The backend reports that the thread is busy",
        "Wait until it is interrupted again.",
    ),
    "invalid_request": (InvalidRequest, "The backend refused the body", "Change what it names, and send it again."),
    "request_too_large": (RequestTooLarge, "The backend refused a body of this size", "Send a smaller one."),
    "upstream_error": (UpstreamError, "The backend failed", "Look into its log."),
}
"""The outcomes of a rule: the error class, its message, and advice on what to do next."""

_REFUSED = {
    401: "Send credentials that it accepts.",
    403: "Ask for permission, or send other credentials.",
    429: "Try again later.",
}
_FORWARDED = ("www-authenticate", "retry-after")


@dataclass(frozen=True, slots=True)
class Rule:
    """Maps a refusal to an error by its status and text; the first rule that matches applies."""

    status: int
    raises: str
    contains: str = ""
    """A part of the error's text, compared without case."""

    def fits(self, status: int, text: str) -> bool:
        """Return True if the rule matches a response with this status and error text."""
        return status == self.status and self.contains.lower() in text.lower()


_COMMON = (
    Rule(404, "thread_not_found"),
    Rule(409, "thread_busy"),
    Rule(413, "request_too_large"),
    Rule(400, "invalid_request"),
    Rule(422, "invalid_request"),
)


def read_lookup(response: Response, rules: Iterable[Rule] = ()) -> Any:
    """Return the JSON body of a lookup's response.

    Raises the `ResumeError` for a refusal (`read_refusal`), and `UpstreamUnrecognised` for a body that is not an object
    or an array.
    """
    if response.ok:
        value = response.json
        if isinstance(value, dict | list):
            return value
        raise _unrecognised(response)
    raise read_refusal(response, rules)


def read_refusal(response: Response, rules: Iterable[Rule] = ()) -> ResumeError:
    """Return the error for a response with a status of 300 or more."""
    text = error_text(response)
    if response.status in (401, 403, 429):
        headers = tuple((k.lower(), v) for k, v in response.headers if k.lower() in _FORWARDED)
        refused = partial(UpstreamRefused, response.status, headers=headers)
        message = f"The backend refused the request with {response.status}"
        return quoting(refused, message, text, _REFUSED[response.status])
    for rule in (*rules, *_COMMON):
        if rule.fits(response.status, text):
            kind, message, advice = RAISES[rule.raises]
            return quoting(kind, message, text, advice)
    if response.status >= 500:
        failed = partial(UpstreamError, metadata={"upstream_status": response.status})
        return quoting(failed, f"The backend failed with {response.status}", text, "Look into its log.")
    if (redirect := read_redirect(response)) is not None:
        metadata = {"upstream_status": response.status, "location": redirect.path}
        return UpstreamUnrecognised(redirect.message, metadata, detail=redirect.detail)
    return _unrecognised(response)


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect of the backend. The shim does not follow it, since that would send credentials to another address."""

    status: int
    path: str
    """The target for clients, without the internal address."""
    address: str
    """The target for logs, without credentials and query."""

    @property
    def message(self) -> str:
        """The error message for clients."""
        return f"{self._message_for(self.path)} The log of the shim has the whole address."

    @property
    def detail(self) -> str:
        """The error message for logs."""
        return self._message_for(self.address)

    def _message_for(self, target: str) -> str:
        advice = (
            "Configure the backend for paths without a trailing slash (Django: APPEND_SLASH), or write its paths with "
            "one in a profile."
            if self.path[1:].endswith("/")
            else "Check the prefix, the address of the backend (its host, http or https), and the credentials."
        )
        return f"The backend redirects ({self.status}) to {target}, and the shim does not follow redirects. {advice}"


def read_redirect(response: Response) -> Redirect | None:
    """Return the redirect; None for any other response."""
    location = response.header("location")
    if not location or response.status not in (301, 302, 303, 307, 308):
        return None
    try:
        url = urlsplit(location[:2000])
    except ValueError:
        return Redirect(response.status, _NO_ADDRESS, _NO_ADDRESS)
    host = url.netloc.rpartition("@")[2]
    path = url.path or "/"
    return Redirect(response.status, path[:200], f"{url.scheme}://{host}{path}" if host else path)


_NO_ADDRESS = "an invalid address"


def quoting(kind: Callable[..., E], message: str, text: str, advice: str = "") -> E:
    """Return an error whose message quotes the backend.

    Logs get no quotation, since it may repeat the client's answer.
    """
    text = text.strip().rstrip(".")
    detail = f"{message}. {advice}".rstrip()
    return kind(f"{message}: {text}. {advice}".rstrip() if text else detail, detail=detail)


def _unrecognised(response: Response) -> UpstreamUnrecognised:
    return UpstreamUnrecognised(
        f"The backend responded with {response.status} and a body that its dialect does not know. "
        "Check that `backend` names this kind of server.",
        {"upstream_status": response.status, "upstream_body": _harmless(response.text)},
    )


def error_text(response: Response) -> str:
    """Return the text of an error response: FastAPI's `detail`, a `message`, or the plain text of older servers."""
    value = response.json
    if isinstance(value, dict):
        value = value.get("detail") or value.get("message") or value.get("error") or value
    if value is None:
        return _harmless(response.text)
    return _harmless(value if isinstance(value, str) else strictjson.dumps(value).decode())


def _harmless(text: str) -> str:
    """Return the first 500 characters of a text; a stack trace is replaced, since it must not leave the server."""
    return "(a stack trace: see the backend's own log)" if "Traceback (most recent call" in text else text[:500]
