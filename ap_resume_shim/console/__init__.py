"""`Console`: the page on which a person answers questions in a browser.

Static files without a build step. The page calls the shim's own routes, `/-/questions` and `/runs/resume/stream`, with
the credentials that the person enters.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The Content-Security-Policy: what a question contains can neither run nor be fetched."""
MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


class Console:
    """An ASGI app that serves the page at `{prefix}/console`, and passes every other request to `app`."""

    def __init__(self, app: ASGIApp, *, prefix: str = "/-") -> None:
        """`prefix`: the reserved prefix, below which `questions` must be served, too."""
        self.app = app
        self._page = f"{prefix.rstrip('/')}/console"
        self._files = {f"{self._page}/{name}": response for name, response in _read()}
        self._files[self._page] = self._files.pop(f"{self._page}/index.html")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the page and its files; pass any other request on."""
        response = self._respond(scope) if scope["type"] == "http" else None
        await (response or self.app)(scope, receive, send)

    def _respond(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if path == f"{self._page}/":
            return RedirectResponse("../console", status_code=308, headers=HEADERS)
        if path != self._page and not path.startswith(f"{self._page}/"):
            return None
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("Use GET or HEAD.", 405, HEADERS | {"allow": "GET, HEAD"})
        response = self._files.get(path)
        if response is None:
            return PlainTextResponse("The console has no such file.", 404, HEADERS)
        if response.headers["etag"] in Headers(scope=scope).get("if-none-match", ""):
            return Response(None, 304, HEADERS | {"etag": response.headers["etag"]})
        return response


def _read() -> list[tuple[str, Response]]:
    """Return the files of the package, with their headers; starlette omits the body of a HEAD response itself."""
    found = []
    for file in (files(__name__) / "static").iterdir():
        content = file.read_bytes()
        headers = HEADERS | {"etag": f'"{sha256(content).hexdigest()[:32]}"'}
        found.append(
            (file.name, Response(content, headers=headers, media_type=MEDIA_TYPES[file.name.rpartition(".")[2]]))
        )
    return found
