"""The `authorize` hook: the operator's own decision about each resume, by a function or by a service."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from inspect import isawaitable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ap_resume_shim.core.errors import REFUSAL_CODES, ConfigurationError, PolicyRefused, PolicyUnavailable
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.steps import Ask, Attempt
from ap_resume_shim.proxy.app import ReverseProxy
from ap_resume_shim.proxy.forwarded import Forwarding
from ap_resume_shim.runtime.exchange import OWN_SCOPE, WrappedApp
from ap_resume_shim.runtime.incoming import IncomingResume
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.lookups import Lookups

if TYPE_CHECKING:
    from starlette.types import Scope

logger = logging.getLogger("ap_resume_shim")

Hook = Callable[[dict[str, Any]], Awaitable[str | None]]
"""A function that receives a resume as JSON values, and returns None to allow it, or the reason to refuse it."""

TIMEOUT = 2.0
"""Seconds in which the hook must decide."""

_UNDECIDED = "The operator's authorization service did not decide about this resume."
_REFUSED = "The operator's authorization service refused this resume."
_LONGEST = 1000
"""Maximum length of a reason, in characters."""
_LARGEST = 1024 * 1024
"""Maximum size of a service's response, in bytes."""
_PASSED = frozenset({b"traceparent", b"tracestate", b"x-request-id"})


class Authorizer:
    """Lets the hook decide about resumes. Without a decision, a resume is refused."""

    def __init__(self, hook: Hook | str, credentials: tuple[str, ...]) -> None:
        """`hook` is a function, or the URL of a service. `credentials` are the header fields that identify a caller.

        Raises `ConfigurationError`.
        """
        self._credentials = frozenset(name.lower() for name in credentials)
        self._decide = _Service(hook).decide if isinstance(hook, str) else _function(hook)

    async def __call__(self, incoming: IncomingResume, attempt: Attempt) -> None:
        """Return if the hook allows the resume. Raises `PolicyRefused` and `PolicyUnavailable`."""
        scope = incoming.scope
        caller = [(name, value) for name, value in scope["headers"] if name.decode("latin-1") in self._credentials]
        value = {**described(incoming, attempt), "caller": _joined(caller)}
        try:
            refusal = await _in_time(self._decide(value, caller, scope))
        except TimeoutError:
            raise PolicyUnavailable(
                _UNDECIDED, detail=f"The authorize hook did not decide within {TIMEOUT:g} seconds."
            ) from None
        except PolicyUnavailable:
            raise
        except Exception as error:
            logger.exception("the authorize hook failed")
            raise PolicyUnavailable(_UNDECIDED, detail=f"The authorize hook raised {type(error).__name__}.") from None
        if refusal is not None:
            raise refusal


async def _in_time(decision: Coroutine[Any, Any, PolicyRefused | None]) -> PolicyRefused | None:
    """Wait for a decision, which is made in a task of its own: it may ignore its cancellation, or be cancelled alone.

    Raises `TimeoutError` after `TIMEOUT` seconds, and what the decision raises.
    """
    task = asyncio.create_task(decision)
    try:
        await asyncio.wait((task,), timeout=TIMEOUT)
    finally:
        task.cancel()
    if not task.done():
        raise TimeoutError
    if task.cancelled():
        raise RuntimeError("the hook was cancelled")
    return task.result()


def described(incoming: IncomingResume, attempt: Attempt) -> dict[str, Any]:
    """Return a resume and its questions as JSON values, for the hook."""
    body, answers = incoming.resume.body, attempt.answers
    resume: dict[str, Any] = {
        "thread_id": body.thread_id,
        "agent_id": attempt.agent_id or body.agent_id,
        "mode": incoming.resume.mode.name.lower(),
        "convention": None if incoming.vendor is None else incoming.vendor.convention.name,
        "interrupt_id": body.interrupt_id,
    }
    if body.has_input:
        resume["input"] = body.input
    if body.messages is not None:
        resume["messages"] = [message.model_dump(exclude_unset=True) for message in body.messages]
    questions = [
        {**each.as_json(), **({"answer": answers[each.id]} if each.id in answers else {})} for each in attempt.questions
    ]
    return {"resume": resume, "questions": questions}


def _joined(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return header fields by name; the values of repeated ones are joined."""
    joined: dict[str, str] = {}
    for name, value in fields:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        joined[key] = f"{joined[key]}{'; ' if key == 'cookie' else ', '}{text}" if key in joined else text
    return joined


_Fields = list[tuple[bytes, bytes]]
_Decide = Callable[[dict[str, Any], _Fields, "Scope"], Coroutine[Any, Any, PolicyRefused | None]]


def _function(hook: Hook) -> _Decide:
    """Return a function that calls the operator's function."""

    async def decide(value: dict[str, Any], _: _Fields, __: Scope) -> PolicyRefused | None:
        decision = hook(json.loads(json.dumps(value)))  # a copy: changes of the hook do not change the resume
        if not isawaitable(decision):
            raise TypeError("`authorize` is no async function: define it with `async def`")
        reason = await decision
        if reason is not None and not isinstance(reason, str):
            raise TypeError(
                f"`authorize` returned {reason!r}: return None to allow the resume, or a reason as a string"
            )
        return None if reason is None else PolicyRefused(403, reason or _REFUSED)

    return decide


class _Service:
    """A service over HTTP, in the manner of Envoy's `ext_authz`: 2xx allows, any other status refuses."""

    def __init__(self, url: str) -> None:
        """Raises `ConfigurationError`."""
        base, self._target = url, "/"
        if not url.startswith("unix:"):
            parts = urlsplit(url)
            base = f"{parts.scheme}://{parts.netloc}"
            self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            proxy = ReverseProxy(base, connect=TIMEOUT, forwarding=Forwarding(keep_host=False))
        except ConfigurationError as error:
            raise ConfigurationError(f"`authorize`: {error}") from None
        self._app = WrappedApp(proxy, "", Limits(lookup=TIMEOUT))

    async def decide(self, value: dict[str, Any], caller: _Fields, scope: Scope) -> PolicyRefused | None:
        """Send a resume to the service; return the refusal, if it refuses."""
        correlation = [(name, field) for name, field in scope["headers"] if name in _PASSED]
        own = {**OWN_SCOPE, "headers": [*OWN_SCOPE["headers"], *caller, *correlation]}
        try:
            (response,) = await Lookups(self._app, own, largest=_LARGEST).do(Ask((Request.post(self._target, value),)))
        except Exception as error:
            raise PolicyUnavailable(_UNDECIDED, detail=f"The authorization service failed: {error}") from None
        if response.ok:
            return _by_body(response)
        if not 400 <= response.status < 500:
            raise PolicyUnavailable(
                _UNDECIDED, detail=f"The authorization service responded with the status {response.status}."
            )
        status = response.status if response.status in REFUSAL_CODES else 403
        headers = tuple(
            (name.lower(), field)
            for name, field in response.headers
            if name.lower() in ("www-authenticate", "retry-after")
        )
        return PolicyRefused(status, _reason(response.json, response), headers)


def _by_body(response: Response) -> PolicyRefused | None:
    """Return the decision of a 2xx response. A body of JSON contains it, as Open Policy Agent's does; the
    `Content-Type` need not say so.

    Raises `PolicyUnavailable` for JSON without a decision.
    """
    if not response.body:
        return None
    typed = "json" in (response.header("content-type") or "")
    value = response.json
    decision = value.get("result") if isinstance(value, dict) and "result" in value else value
    allowed = decision.get("allow") if isinstance(decision, dict) else decision
    if allowed is True:
        return None
    if allowed is False:
        return PolicyRefused(403, _reason(decision, None))
    if not (typed or isinstance(value, dict | list)):  # a text
        return None
    raise PolicyUnavailable(
        _UNDECIDED, detail="The authorization service's response contains no decision: neither `allow` nor `result`."
    )


def _reason(decision: Any, response: Response | None) -> str:
    """Return the reason for a refusal: a member of its JSON, or a body of text."""
    if isinstance(decision, dict):
        named = (decision.get(name) for name in ("reason", "message", "detail"))
        return next((each for each in named if isinstance(each, str) and each), _REFUSED)[:_LONGEST]
    if response is not None and "text/plain" in (response.header("content-type") or "text/plain"):
        return response.text.strip()[:_LONGEST] or _REFUSED
    return _REFUSED
