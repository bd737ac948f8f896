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
    from starlette.types import Receive, Scope, Send

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
    """An ASGI app that serves the page and its files."""

    def __init__(self, path: str = "/-/console") -> None:
        """`path`: the address of the page. `Questions` has to be beside it, at `questions`."""
        self._path = path
        self._files = {f"{path}/{name}": response for name, response in _read()}
        self._files[path] = self._files.pop(f"{path}/index.html")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            await self._respond(scope)(scope, receive, send)

    def _respond(self, scope: Scope) -> Response:
        if scope["path"] == f"{self._path}/":
            return RedirectResponse("../console", status_code=308, headers=HEADERS)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("Use GET or HEAD.", 405, HEADERS | {"allow": "GET, HEAD"})
        response = self._files.get(scope["path"])
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
