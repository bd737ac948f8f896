"""CORS: which pages may call the three routes from a browser and read the responses.

`Cors` applies a policy that the operator sets (the option `cors`). Otherwise `BackendCors` applies the backend's
policy. It always does for vendor resumes, whose routes are the backend's own.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware

from ap_resume_shim.core.asgi import HEADS, SYNTHESISED, as_names
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.http import Headers
from ap_resume_shim.runtime.exchange import Exchange
from ap_resume_shim.runtime.resume_log import RESUME

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

ANY = "*"
EXPOSED = (
    "Content-Location", "Idempotency-Replayed", "AP-Resume-Ignored", "Retry-After", "WWW-Authenticate", "X-Request-ID"
)  # fmt: skip
"""Response header fields that pages may read, in addition to those that CORS always exposes."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\sA-Z]+")
_ALLOW, _EXPOSE = "access-control-allow-origin", "access-control-expose-headers"
_PREFLIGHT_ONLY = frozenset(
    f"access-control-{name}" for name in ("allow-methods", "allow-headers", "allow-private-network", "max-age")
)
_ORIGINS = 1000
"""Maximum number of policies that are cached."""
_LONGEST = 255
"""Maximum length of a cached origin, in bytes; a host name has at most 255."""
_PATIENCE = 2.0
"""Seconds that a response waits for a preflight that the shim sends."""

RawHeaders = Iterable[tuple[bytes, bytes]]


class Cors:
    """Responds to CORS preflights for one method on the routes, and adds the CORS fields to its responses.

    Requests with other methods reach `app` unchanged: the backend decides who may send them.
    """

    def __init__(self, app: ASGIApp, origins: str | Sequence[str], *, method: str = "PATCH") -> None:
        """`origins`: one or several, as browsers send them, such as `https://app.example`; or `*` for any page, without
        cookies.

        Raises `ConfigurationError`.
        """
        origins = as_names(origins)
        for origin in origins:
            if origin != ANY and not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"{origin!r} is not the origin of a page: write it as https://app.example, in small letters and "
                    "without a path, or as * for every page."
                )
        self._app, self._method = app, method
        self._open = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=[method],
            allow_headers=["*"],  # the backend decides which header fields hold credentials
            allow_credentials=ANY not in origins,
            expose_headers=EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to `app`, through Starlette's `CORSMiddleware` for the method and a preflight for it."""
        app = self._open if _concerns(scope, self._method) else self._app
        await app(scope, receive, send)


def _concerns(scope: Scope, method: str) -> bool:
    """True for a request with that method, and for a preflight that asks for it."""
    return scope["method"] == method or (b"access-control-request-method", method.encode()) in scope["headers"]


HeaderMap = dict[str, str]


@dataclass(slots=True)
class _Policy:
    """The CORS fields of the backend's latest responses to one origin, for requests with one method."""

    preflight: HeaderMap | None = None
    """From the response to a preflight; empty if it was refused. None: no preflight was seen."""
    answer: HeaderMap = field(default_factory=dict)
    """From the response to any other request. A response without CORS fields, such as a 500 of a crash, is ignored."""


class BackendCors:
    """Adds the backend's own CORS policy to the shim's responses to PATCH, and provides it for refused vendor resumes
    (`fields`).

    A browser applies the same check to the response to a preflight and to the response to the request after it (Fetch
    standard, "CORS check"). So the fields of the preflight's response let the page read the shim's responses.
    Preflights pass through the shim to the backend. If none was seen (another sidecar passed it on, or the browser has
    cached it), the fields come from the backend's responses to the shim's own requests for the same origin. Without
    such a response, for example if a body is refused unread, the shim sends a preflight itself.

    The fields are added when a response is written: a response that is stored and replayed does not contain them.
    """

    def __init__(self, app: ASGIApp, backend: ASGIApp) -> None:
        """`app` serves the three routes; `backend` responds to preflights."""
        self._app, self._backend = app, backend
        self._known: OrderedDict[tuple[bytes, str], _Policy] = OrderedDict()
        """By origin and method: a backend may refuse PATCH to a page that may POST."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to `app`. Store the policy of a backend's response; add it to a response of the shim."""
        origin = _origin(scope)
        if origin is None:
            await self._app(scope, receive, send)
            return
        if scope["method"] == "PATCH":
            self.learn(scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                if scope["method"] == "PATCH" and RESUME in scope:  # else it is the backend's response
                    fields = [
                        (name.encode("latin-1"), value.encode("latin-1")) for name, value in await self.fields(scope)
                    ]
                    message = {**message, "headers": [*message["headers"], *fields]}
                elif scope["method"] == "OPTIONS" and _concerns(scope, "PATCH"):
                    self._learn_preflight(self._policy(origin, "PATCH"), message["status"], message.get("headers", ()))
            await send(message)

        await self._app(scope, receive, sending)

    def learn(self, scope: Scope) -> None:
        """Store the policy of the backend's responses to the shim's own requests for this one."""
        if (origin := _origin(scope)) is not None:
            scope[HEADS] = lambda headers: self._learn(self._policy(origin, scope["method"]), headers)

    async def fields(self, scope: Scope) -> Headers:
        """Return the CORS fields for a response to a request that `learn` has seen; none without an origin."""
        if (origin := _origin(scope)) is None:
            return ()
        policy = self._policy(origin, scope["method"])
        if policy.preflight is None and not policy.answer:
            await self._send_preflight(origin, policy, scope)
        allowed = policy.preflight or policy.answer
        return tuple({**allowed, _EXPOSE: _exposed(policy.preflight or {}, policy.answer)}.items())

    async def _send_preflight(self, origin: bytes, policy: _Policy, scope: Scope) -> None:
        """Send the preflight that a browser would send, without credentials, and store the policy of its response."""
        hosts = [(name, value) for name, value in scope["headers"] if name == b"host"]
        method = (b"access-control-request-method", scope["method"].encode())
        headers = [*hosts, (b"origin", origin), method, (b"access-control-request-headers", b"content-type")]
        made = {**scope, "method": "OPTIONS", "headers": headers, "extensions": {}, SYNTHESISED: True}
        del made[HEADS]
        exchange = Exchange(self._backend, made, None)
        try:
            async with asyncio.timeout(_PATIENCE):
                status, received = await exchange.head()
        except Exception as error:  # an app may raise anything; the response is sent without a policy
            logger.info("the backend's CORS policy is unknown, since a preflight failed: %r", error)
        else:
            self._learn_preflight(
                policy, status, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in received]
            )
        finally:
            exchange.abandon()

    @staticmethod
    def _learn_preflight(policy: _Policy, status: int, headers: RawHeaders) -> None:
        fields = _policy_in(headers)
        policy.preflight = fields if 200 <= status < 300 else {}

    @staticmethod
    def _learn(policy: _Policy, headers: RawHeaders) -> None:
        if fields := _policy_in(headers):
            policy.answer = fields

    def _policy(self, origin: bytes, method: str) -> _Policy:
        policy = self._known.setdefault((origin, method), _Policy())
        self._known.move_to_end((origin, method))
        if len(self._known) > _ORIGINS:
            self._known.popitem(last=False)
        return policy


def _origin(scope: Scope) -> bytes | None:
    """Return the origin of the page that sent a request; None without one, or if it is too long for an origin."""
    origin: bytes | None = dict(scope["headers"]).get(b"origin")
    return None if origin is None or len(origin) > _LONGEST else origin


def _exposed(*parts: HeaderMap) -> str:
    """Return the names of fields that a page may read: the backend's and the shim's."""
    theirs = (name.strip() for part in parts for name in part.get(_EXPOSE, "").split(","))
    return ", ".join({name.lower(): name for name in (*EXPOSED, *theirs) if name}.values())


def _policy_in(headers: RawHeaders) -> HeaderMap:
    """Return the CORS fields and `Vary`, without those that only preflights have; empty if no origin is allowed."""
    fields: HeaderMap = {}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        if name == "vary" or (name.startswith("access-control-") and name not in _PREFLIGHT_ONLY):
            fields[name] = f"{fields[name]}, {value.decode('latin-1')}" if name in fields else value.decode("latin-1")
    return fields if _ALLOW in fields else {}
