"""`MergedOpenApi`: adds the three routes to the backend's `GET /openapi.json` (option `merge_openapi`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.asgi import route_path
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.openapi import merge
from ap_resume_shim.core.readable import JSON, check_head
from ap_resume_shim.runtime.offload import LARGE, offload

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Merge = Callable[[Any], dict[str, Any] | None]

FILE = "/openapi.json"
LARGEST = 16 * 1024 * 1024
"""Maximum size of a file that is merged, in bytes; a larger one passes through unchanged."""

_OF_THE_BYTES = frozenset(
    {
        b"accept-ranges",
        b"content-digest",
        b"content-length",
        b"content-md5",
        b"digest",
        b"etag",
        b"last-modified",
        b"repr-digest",
        b"trailer",
    }
)
"""Response header fields that describe the backend's bytes, and would be wrong with others."""


class MergedOpenApi:
    """The wrapped app, with the routes in its OpenAPI file."""

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        """`prefix` is the path before the backend's routes: the file may be below it or at the root."""
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; a GET or HEAD of the file gets the merged one."""
        path = self._path(scope)
        if path is None:
            await self._app(scope, receive, send)
            return
        at_root = path != self._prefix + FILE
        response = _HeldResponse(send, partial(merge, prefix=self._prefix, at_root=at_root), scope["method"] == "HEAD")
        try:
            await self._app(_whole(scope), receive, response.send)
        except Exception:
            await response.release()  # a response that breaks off must look so
            raise
        await response.release()

    def _path(self, scope: Scope) -> str | None:
        """Return the path of the file that the request asks for; None if it asks for anything else."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or not scope["path"].endswith(FILE):
            return None
        path = route_path(scope)
        return path if path in (FILE, self._prefix + FILE) else None


def _whole(scope: Scope) -> Scope:
    """Return a request for the whole file in no coding.

    Conditions and ranges refer to bytes that the client does not get.
    """
    dropped = (b"accept-encoding", b"range")
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped and not name.startswith(b"if-")]
    # Without extensions, an app sends the file as bytes, and no trailers.
    return {**scope, "headers": [*headers, (b"accept-encoding", b"identity")], "extensions": {}}


class _HeldResponse:
    """Holds the response back until the file is complete, and sends either the merged file or what was held."""

    def __init__(self, send: Send, merge: Merge, head_only: bool) -> None:
        self._send, self._merge, self._head_only = send, merge, head_only
        self._held: list[Message] | None = []
        """None once the response passes through."""
        self._size = 0

    async def send(self, message: Message) -> None:
        """Receive a message of the app."""
        if self._held is None:
            await self._send(message)
            return
        self._held.append(message)
        self._size += len(message.get("body", b""))
        if not _may_be_the_file(self._held[0]) or self._size > LARGEST:
            await self.release()
        elif self._head_only:
            self._held[0] = _with_headers(message)
            await self.release()
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            await self._finish()

    async def release(self) -> None:
        """Send what was held; the rest passes through."""
        held, self._held = self._held or [], None
        for message in held:
            await self._send(message)

    async def _finish(self) -> None:
        assert self._held is not None
        raw = b"".join(bytes(message.get("body", b"")) for message in self._held)
        merging = partial(_merged, raw, self._merge)
        merged = await offload(merging) if len(raw) >= LARGE else merging()
        if merged is not None:
            length = (b"content-length", str(len(merged)).encode())
            self._held = [_with_headers(self._held[0], length), {"type": "http.response.body", "body": merged}]
        await self.release()


def _merged(raw: bytes, merge: Merge) -> bytes | None:
    """Return the merged file; None if there is nothing to merge into."""
    try:
        file = merge(strictjson.loads(raw))
    except ValueError:
        return None
    return None if file is None else strictjson.dumps(file)


def _may_be_the_file(start: Message) -> bool:
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", ()))
    try:
        check_head(Response(start.get("status", 0), headers), JSON)
    except UpstreamUnrecognised:
        return False
    return bool(start.get("status") == 200)


def _with_headers(start: Message, *added: tuple[bytes, bytes]) -> Message:
    kept = [(name, value) for name, value in start.get("headers", ()) if name.lower() not in _OF_THE_BYTES]
    return {**start, "headers": [*kept, *added], "trailers": False}
