"""`ReservedPaths`: the sidecar's own addresses on the clients' port, in front of everything that passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class ReservedPaths:
    """An ASGI app that serves some paths below `prefix`, and passes every other request to `app`."""

    def __init__(self, app: ASGIApp, prefix: str, apps: Mapping[str, ASGIApp]) -> None:
        """`apps`: by the path below the prefix, such as `healthz`; with `questions/`, all paths that begin with it."""
        self._app, self._apps = app, dict(apps)
        self._prefix = prefix.rstrip("/") + "/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or pass it on."""
        app = self._app
        if scope["type"] == "http" and scope["path"].startswith(self._prefix):
            below = scope["path"][len(self._prefix) :]
            app = self._apps.get(below) or self._apps.get(below.partition("/")[0] + "/", app)
        await app(scope, receive, send)
