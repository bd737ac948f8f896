"""CORS: which pages may call the three routes from a browser, and read the answers.

`Cors` is a policy that the operator sets (the option `cors`). Without one, `BackendCors` applies the backend's own.
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

from ap_resume_shim.core.asgi import HEADS, SYNTHESISED
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.runtime.exchange import Exchange
from ap_resume_shim.runtime.resume_log import RESUME

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

ANY = "*"
EXPOSED = (
    "Content-Location", "Idempotency-Replayed", "AP-Resume-Ignored", "Retry-After", "WWW-Authenticate", "X-Request-ID"
)  # fmt: skip
"""What a page may read of an answer, beside its status, type and body."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\sA-Z]+")
_ALLOW, _EXPOSE = "access-control-allow-origin", "access-control-expose-headers"
_PREFLIGHT_ONLY = frozenset(
    f"access-control-{name}" for name in ("allow-methods", "allow-headers", "allow-private-network", "max-age")
)
_ORIGINS = 1000
"""How many origins' policies are remembered."""
_LONGEST = 255
"""Bytes of an origin that is remembered: the longest host name."""
_PATIENCE = 2.0
"""Seconds that an answer waits for a preflight of the shim's own."""

RawHeaders = Iterable[tuple[bytes, bytes]]


class Cors:
    """Answers browsers that ask whether a page may PATCH a route, and says in the route's answers that it may.

    Any other request to a route reaches `app` untouched: the backend knows best who may send it.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """`origins`: as browsers write them, `https://app.example`; or `*`, any page, but without cookies.

        Raises `ConfigurationError`.
        """
        for origin in origins:
            if origin != ANY and not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"{origin!r} is not the origin of a page: write it as https://app.example, in small letters and "
                    "without a path, or as * for every page."
                )
        self._app = app
        self._open = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=["PATCH"],
            allow_headers=["*"],  # which header fields hold credentials, the backend decides
            allow_credentials=ANY not in origins,
            expose_headers=EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to a route on, with CORS where it is a PATCH or asks for one."""
        app = self._open if _is_patch(scope) else self._app
        await app(scope, receive, send)


def _is_patch(scope: Scope) -> bool:
    """Whether it is a PATCH, or a browser's question whether one may be sent."""
    return scope["method"] == "PATCH" or (b"access-control-request-method", b"PATCH") in scope["headers"]


HeaderMap = dict[str, str]


@dataclass(slots=True)
class _Policy:
    """What the backend said last to an origin."""

    preflight: HeaderMap | None = None
    """In its answer to a preflight; empty where it refused. None: no preflight was seen."""
    answer: HeaderMap = field(default_factory=dict)
    """In its answer to another request; one without a policy, such as the answer of a crash, does not count."""


class BackendCors:
    """Puts the backend's own CORS policy on the answers that the shim makes.

    A browser applies one and the same check to the answer to a preflight and to the answer to the request after it
    (Fetch standard, "CORS check"). So the fields of the preflight's answer let the page read ours. The preflights go to
    the backend through the shim. Where none was seen (another sidecar passed it on, or the browser has
    it cached), the answers to the shim's own requests for the same page count; if there are none either, as for a body
    that is refused unread, the shim sends a preflight itself.

    The fields are put on an answer when it is written: an answer that is stored and replayed has none.
    """

    def __init__(self, app: ASGIApp, backend: ASGIApp) -> None:
        """`app` serves the three routes; `backend` answers preflights."""
        self._app, self._backend = app, backend
        self._known: OrderedDict[bytes, _Policy] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to a route on; learn from the answer to a preflight, add to an answer of the shim's."""
        origin = dict(scope["headers"]).get(b"origin")
        if origin is None or len(origin) > _LONGEST:
            await self._app(scope, receive, send)
            return
        if scope["method"] == "PATCH":
            scope[HEADS] = lambda headers: self._learn(origin, headers)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                if scope["method"] == "PATCH" and RESUME in scope:  # else it is an answer of the backend's
                    message = {**message, "headers": [*message["headers"], *await self._fields(origin, scope)]}
                elif _is_preflight(scope):
                    self._learn_preflight(origin, message["status"], message.get("headers", ()))
            await send(message)

        await self._app(scope, receive, sending)

    async def _fields(self, origin: bytes, scope: Scope) -> list[tuple[bytes, bytes]]:
        """What goes into the head of an answer to a page of this origin."""
        policy = self._policy(origin)
        if policy.preflight is None and not policy.answer:
            await self._ask(origin, scope)
        allowed = policy.preflight or policy.answer
        fields = {**allowed, _EXPOSE: _exposed(policy.preflight or {}, policy.answer)}
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]

    async def _ask(self, origin: bytes, scope: Scope) -> None:
        """Send the preflight that a browser would send, without credentials."""
        hosts = [(name, value) for name, value in scope["headers"] if name == b"host"]
        asked = [(b"access-control-request-method", b"PATCH"), (b"access-control-request-headers", b"content-type")]
        headers = [*hosts, (b"origin", origin), *asked]
        made = {**scope, "method": "OPTIONS", "headers": headers, "extensions": {}, SYNTHESISED: True}
        del made[HEADS]
        exchange = Exchange(self._backend, made, None)
        try:
            async with asyncio.timeout(_PATIENCE):
                status, told = await exchange.head()
        except Exception as error:  # an app raises anything; the answer goes out without a policy
            logger.info("the backend's CORS policy is not known, its answer to a preflight failed: %r", error)
        else:
            self._learn_preflight(
                origin, status, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told]
            )
        finally:
            exchange.forget()

    def _learn_preflight(self, origin: bytes, status: int, headers: RawHeaders) -> None:
        fields = _policy_in(headers)
        self._policy(origin).preflight = fields if 200 <= status < 300 else {}

    def _learn(self, origin: bytes, headers: RawHeaders) -> None:
        if fields := _policy_in(headers):
            self._policy(origin).answer = fields

    def _policy(self, origin: bytes) -> _Policy:
        policy = self._known.setdefault(origin, _Policy())
        self._known.move_to_end(origin)
        if len(self._known) > _ORIGINS:
            self._known.popitem(last=False)
        return policy


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def _exposed(*parts: HeaderMap) -> str:
    """The names that a page may read: the backend's and ours."""
    theirs = (name.strip() for part in parts for name in part.get(_EXPOSE, "").split(","))
    return ", ".join({name.lower(): name for name in (*EXPOSED, *theirs) if name}.values())


def _policy_in(headers: RawHeaders) -> HeaderMap:
    """The fields of a policy, but for those that only preflights have; none where no origin is allowed."""
    fields: HeaderMap = {}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        if name == "vary" or (name.startswith("access-control-") and name not in _PREFLIGHT_ONLY):
            fields[name] = f"{fields[name]}, {value.decode('latin-1')}" if name in fields else value.decode("latin-1")
    return fields if _ALLOW in fields else {}
