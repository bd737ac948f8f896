"""Reading a backend's answers: what every dialect does alike, and the rules in which they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    from collections.abc import Iterable

    from ap_resume_shim.core.exchange import Response

RAISES: dict[str, tuple[type[ResumeError], str, str]] = {
    "thread_not_found": (
        ThreadNotFound,
        "The backend does not know the thread",
        "Check `thread_id`, and whose credentials you send.",
    ),
    "agent_not_found": (
        AgentNotFound,
        "The backend does not know the agent",
        "Leave `agent_id` out to use the thread's own.",
    ),
    "thread_not_interrupted": (
        ThreadNotInterrupted,
        "The backend says that the thread is not interrupted",
        "Read the thread: there is nothing to answer.",
    ),
    "thread_busy": (
        ThreadBusy,
        "The backend says that the thread is busy",
        "Wait until it is interrupted again.",
    ),
    "invalid_request": (InvalidRequest, "The backend refused the body", "Change what it names, and send it again."),
    "request_too_large": (RequestTooLarge, "The backend does not take a body of this size", "Send a smaller one."),
    "upstream_error": (UpstreamError, "The backend failed", "Look into its log."),
}
"""What a rule can make of an answer: the error, what it says, and what to do next."""

_REFUSED = {
    401: "Send credentials that it accepts.",
    403: "Ask for permission, or send other credentials.",
    429: "Try again later.",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A refusal that says more, or something else, than its status: the first rule that fits counts."""

    status: int
    raises: str
    contains: str = ""
    """A part of the error's text, compared without case."""

    def fits(self, status: int, text: str) -> bool:
        """Whether the rule is about this answer."""
        return status == self.status and self.contains.lower() in text.lower()


_COMMON = (
    Rule(404, "thread_not_found"),
    Rule(409, "thread_busy"),
    Rule(413, "request_too_large"),
    Rule(400, "invalid_request"),
    Rule(422, "invalid_request"),
)


def read_lookup(response: Response, rules: Iterable[Rule] = ()) -> Any:
    """The JSON of a lookup; raises what a refusal means."""
    if response.ok:
        value = response.json
        if isinstance(value, dict | list):
            return value
        raise _unrecognised(response)
    raise read_refusal(response, rules)


def read_refusal(response: Response, rules: Iterable[Rule] = ()) -> ResumeError:
    """What a status of 300 or more means."""
    if response.status in (401, 403, 429):
        kept = tuple((k.lower(), v) for k, v in response.headers if k.lower() in ("www-authenticate", "retry-after"))
        means = f"The backend refused the request with {response.status}"
        return UpstreamRefused(response.status, _message(means, response, _REFUSED[response.status]), kept)
    text = error_text(response)
    for rule in (*rules, *_COMMON):
        if rule.fits(response.status, text):
            kind, means, advice = RAISES[rule.raises]
            return kind(_message(means, response, advice))
    if response.status >= 500:
        message = _message(f"The backend failed with {response.status}", response, "Look into its log.")
        return UpstreamError(message, {"upstream_status": response.status})
    return _unrecognised(response)


def _message(means: str, response: Response, advice: str) -> str:
    text = error_text(response).strip().rstrip(".")
    return f"{means}: {text}. {advice}" if text else f"{means}. {advice}"


def _unrecognised(response: Response) -> UpstreamUnrecognised:
    return UpstreamUnrecognised(
        f"The backend answered {response.status} with something that its dialect does not know. "
        "Is it the kind of server that the shim was told?",
        {"upstream_status": response.status, "upstream_body": _harmless(response.text)},
    )


def error_text(response: Response) -> str:
    """What an error answer says: FastAPI's `detail`, a `message`, or the plain text of older servers."""
    value = response.json
    if isinstance(value, dict):
        value = value.get("detail") or value.get("message") or value.get("error") or value
    if value is None:
        return _harmless(response.text)
    return _harmless(value if isinstance(value, str) else strictjson.dumps(value).decode())


def _harmless(text: str) -> str:
    """The beginning of a text, unless it is a stack trace: those stay on the server."""
    return "(a stack trace, see the backend's own log)" if "Traceback (most recent call" in text else text[:500]
