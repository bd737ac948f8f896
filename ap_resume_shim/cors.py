"""Which pages may call the routes from a browser: CORS for the three of them, whatever the backend says of PATCH."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware

from ap_resume_shim.core.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

ANY = "*"
EXPOSED = (
    "Content-Location", "Idempotency-Replayed", "AP-Resume-Ignored", "Retry-After", "WWW-Authenticate", "X-Request-ID"
)  # fmt: skip
"""What a page may read of an answer, beside its status, type and body."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\sA-Z]+")


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
