"""`EditedDocuments`: changes JSON documents of the backend, such as `GET /openapi.json`, on the way to a client."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.asgi import route_path
from ap_resume_shim.core.document_edit import DocumentEdit, Unedited
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.openapi import OpenApiMerge
from ap_resume_shim.core.readable import JSON, check_head
from ap_resume_shim.runtime.offload import LARGE, offload

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

Apply = Callable[[Any], Any]

LARGEST = 16 * 1024 * 1024
"""Maximum size of a document that is changed, in bytes; a larger one passes through unchanged."""

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
"""Response header fields that describe the backend's bytes, and would be wrong for the changed document."""


def openapi_edits(prefix: str) -> tuple[DocumentEdit, ...]:
    """Return the edits for the option `merge_openapi`. `prefix` is the path before the backend's routes."""
    return (OpenApiMerge(prefix),)


class EditedDocuments:
    """The wrapped app, with some of its documents changed."""

    def __init__(self, app: ASGIApp, edits: Sequence[DocumentEdit]) -> None:
        """The first edit that covers a path applies."""
        self._app, self._edits = app, edits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; a GET or HEAD of such a document gets the changed one."""
        apply = self._find(scope)
        if apply is None:
            await self._app(scope, receive, send)
            return
        response = _HeldResponse(send, apply, scope["method"] == "HEAD")
        try:
            await self._app(_whole(scope), receive, response.send)
        except Exception:
            await response.release()  # the client must see that the response breaks off
            raise
        await response.release()

    def _find(self, scope: Scope) -> Apply | None:
        """Return the edit of the document that the request reads; None if there is none."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return None
        path = route_path(scope)
        edit = next((each for each in self._edits if each.covers(path)), None)
        return None if edit is None else partial(edit.apply, path)


def _whole(scope: Scope) -> Scope:
    """Return a request for the whole document without a content coding.

    Conditions and ranges refer to bytes that the client does not receive.
    """
    dropped = (b"accept-encoding", b"range")
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped and not name.startswith(b"if-")]
    # Without extensions, an app sends the document as bytes, and no trailers.
    return {**scope, "headers": [*headers, (b"accept-encoding", b"identity")], "extensions": {}}


class _HeldResponse:
    """Holds the response back until the document is complete, and sends either the changed one or what was held."""

    def __init__(self, send: Send, apply: Apply, head_only: bool) -> None:
        self._send, self._apply, self._head_only = send, apply, head_only
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
        if not _may_be_json(self._held[0]) or self._size > LARGEST:
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
        editing = partial(_edited, raw, self._apply)
        edited = await offload(editing) if len(raw) >= LARGE else editing()
        if edited is not None:
            length = (b"content-length", str(len(edited)).encode())
            self._held = [_with_headers(self._held[0], length), {"type": "http.response.body", "body": edited}]
        await self.release()


def _edited(raw: bytes, apply: Apply) -> bytes | None:
    """Return the changed document; None if it stays unchanged."""
    try:
        value = strictjson.loads(raw)
    except ValueError:
        return None
    try:
        document = apply(value)
    except Unedited as reason:
        logger.warning("%s", reason)
        return None
    except Exception:
        logger.exception("a document of the backend could not be changed, and passes unchanged")
        return None
    return None if document is None else strictjson.dumps(document)


def _may_be_json(start: Message) -> bool:
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", ()))
    try:
        check_head(Response(start.get("status", 0), headers), JSON)
    except UpstreamUnrecognised:
        return False
    return bool(start.get("status") == 200)


def _with_headers(start: Message, *added: tuple[bytes, bytes]) -> Message:
    kept = [(name, value) for name, value in start.get("headers", ()) if name.lower() not in _OF_THE_BYTES]
    return {**start, "headers": [*kept, *added], "trailers": False}
