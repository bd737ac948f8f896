"""`EditedDocuments`: changes JSON documents of the backend, such as `GET /openapi.json`, on the way to a client."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.asgi import escape, mounted_at, route_path
from ap_resume_shim.core.document_edit import DocumentEdit, Unedited
from ap_resume_shim.core.errors import UpstreamUnrecognised
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.openapi import OpenApiMerge
from ap_resume_shim.core.readable import JSON, check_head
from ap_resume_shim.runtime.log_lines import printable, truncate
from ap_resume_shim.runtime.offload import LARGE, offload

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

Edit = Callable[[bytes], bytes | None]
"""Returns the changed document, or None if there is nothing to change. Raises `Unedited`."""
Warn = Callable[[Unedited], None]

LARGEST = 16 * 1024 * 1024
"""Maximum size of a document that is changed, in bytes; a larger one passes through unchanged."""

_MOST_REASONS = 50
"""Maximum number of reasons that are logged: a reason may quote the document."""

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

    def __init__(self, app: ASGIApp, edits: Sequence[DocumentEdit], prefix: str) -> None:
        """The first edit that covers a path applies. `prefix` is the path in front of the backend's routes."""
        self._app, self._edits, self._prefix = app, edits, prefix
        self._logged = set[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; a GET or HEAD of such a document gets the changed one."""
        edit = self._find(scope)
        if edit is None:
            await self._app(scope, receive, send)
            return
        path = escape(scope["path"])
        mount = escape(mounted_at(scope.get("root_path", ""), scope["path"]) + self._prefix)
        apply = partial(_edited, partial(edit.apply, path, mount=mount))
        response = _HeldResponse(send, apply, partial(self._warn, path, edit.setting), scope["method"] == "HEAD")
        try:
            await self._app(_whole(scope), receive, response.send)
        except Exception:
            await response.release()  # the client must see that the response breaks off
            raise
        await response.release()

    def _find(self, scope: Scope) -> DocumentEdit | None:
        """Return the edit of the document that the request reads; None if there is none."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return None
        path = route_path(scope)
        return next((each for each in self._edits if each.covers(path)), None)

    def _warn(self, path: str, setting: str, reason: Unedited) -> None:
        """Log once for each reason that a document passes unchanged: clients read it again and again."""
        text = str(reason)
        if text not in self._logged and len(self._logged) < _MOST_REASONS:
            self._logged.add(text)
            line = f"{path} passes unchanged, although `{setting}` is set. {text}"
            logger.warning("%s", printable(truncate(line)), exc_info=reason.__cause__)


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

    def __init__(self, send: Send, edit: Edit, warn: Warn, head_only: bool) -> None:
        self._send, self._edit, self._warn, self._head_only = send, edit, warn, head_only
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
        try:
            await self._proceed(message)
        except Unedited as reason:
            self._warn(reason)
            await self.release()

    async def _proceed(self, message: Message) -> None:
        """Send the document once it is complete. Raises `Unedited`."""
        assert self._held is not None
        if not _is_document(self._held[0]):
            await self.release()
        elif self._size > LARGEST:
            raise Unedited(f"It is larger than {LARGEST} bytes.")
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
        edited = await offload(partial(self._edit, raw)) if len(raw) >= LARGE else self._edit(raw)
        if edited is not None:
            length = (b"content-length", str(len(edited)).encode())
            self._held = [_with_headers(self._held[0], length), {"type": "http.response.body", "body": edited}]
        await self.release()


def _edited(apply: Callable[[Any], Any], raw: bytes) -> bytes | None:
    """Return the changed document; None if there is nothing to change. Raises `Unedited`."""
    try:
        value = strictjson.loads(raw.removeprefix(codecs.BOM_UTF8))
    except ValueError as error:
        raise Unedited(str(error)) from None
    try:
        document = apply(value)
    except Unedited:
        raise
    except Exception as error:
        raise Unedited("It could not be changed.") from error
    return None if document is None else strictjson.dumps(document)


def _is_document(start: Message) -> bool:
    """Return True for a response that may be JSON, and False for one without a document, such as 404.

    Raises `Unedited` for any other document.
    """
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", ()))
    response = Response(start.get("status", 0), headers)
    if not response.ok:
        return False
    try:
        check_head(response, JSON)
    except UpstreamUnrecognised as error:
        raise Unedited(error.message) from None
    if response.status != 200:
        raise Unedited(f"Its status is {response.status}, not 200.")
    return True


def _with_headers(start: Message, *added: tuple[bytes, bytes]) -> Message:
    kept = [(name, value) for name, value in start.get("headers", ()) if name.lower() not in _OF_THE_BYTES]
    return {**start, "headers": [*kept, *added], "trailers": False}
