"""Calls the wrapped app as a client would. Each exchange is a task.

The app is the agent server itself, or a `ReverseProxy`. An exchange is complete when its last body message arrives. The
app may run on after that (background tasks), as without the shim.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ap_resume_shim.core.asgi import (
    EARLY_HINT,
    FENCE,
    HEADS,
    RECEIVER,
    REQUEST_TRAILERS,
    SYNTHESISED,
    TARGET,
    TRAILERS,
    HeaderList,
    escape,
    extensions,
    mounted_at,
    shown_path,
)
from ap_resume_shim.core.errors import ResumeError, UpstreamError, UpstreamFailure
from ap_resume_shim.core.http import Headers, Request
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.log_lines import milliseconds, printable, truncate, write
from ap_resume_shim.runtime.trace_context import request_id
from ap_resume_shim.runtime.waiting import Buffer, Expired, Signal, Wait, wait

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

logger = logging.getLogger("ap_resume_shim")
requests = logging.getLogger("ap_resume_shim.upstream")

OWN_SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "scheme": "http",
    "path": "/",
    "root_path": "",
    "headers": [(b"host", b"localhost"), (b"user-agent", b"ap-resume-shim")],
    "client": None,
    "server": None,
}
"""ASGI scope for the shim's own requests (detection, readiness); it carries no credentials."""

_NOT_OURS = frozenset(
    {
        b"accept",
        b"accept-encoding",  # a GZipMiddleware would respond with bytes that are not JSON
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"transfer-encoding",
        b"expect",
        b"range",
        b"connection",
        b"idempotency-key",
        b"ap-interrupt-id",
        b"last-event-id",
    }
)

_CLIENTS_OWN = ("endpoint", "route", REQUEST_TRAILERS)
"""Scope keys that apply to a client's own request alone."""

_PASSED = frozenset({TARGET, EARLY_HINT, TRAILERS})
"""Extensions that apply to a client's own request, and to the backend's response to it."""

Interim = Callable[["Message"], Awaitable[None]]
"""Receives each early hint (103) of a response."""


def synthesise(scope: Scope, request: Request, prefix: str) -> Scope:
    """Return the ASGI scope of an upstream request.

    It has the client's header fields (credentials, tracing), but the method, path and body of `request`. `prefix` is
    the path in front of the backend's routes.
    """
    path, _, query = request.target.partition("?")
    root: str = scope.get("root_path", "")
    before = before_raw = ""
    if root:
        before = mounted_at(root, scope["path"])
        raw: bytes | None = scope.get("raw_path")
        before_raw = before if raw is None else mounted_at(root, unquote(raw.decode("latin-1")))
    prefix = prefix if request.below_prefix else ""
    path = path or ("" if prefix else "/")
    headers = [
        (name, value) for name, value in scope["headers"] if name not in _NOT_OURS and not name.startswith(b"if-")
    ]
    headers += [(b"accept", request.accept.encode()), (b"accept-encoding", b"identity")]
    if request.headers:
        own = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
        names = {name for name, _ in own}
        headers = [(name, value) for name, value in headers if name not in names] + own
    if request.body is not None:
        headers += [
            (b"content-type", request.media_type.encode()),
            (b"content-length", str(len(request.body)).encode()),
        ]
    elif request.method != "GET":
        headers.append((b"content-length", b"0"))
    made = dict(scope)
    for name in _CLIENTS_OWN:
        made.pop(name, None)
    made.update(
        method=request.method,
        path=before + prefix + unquote(path),
        raw_path=(escape(before_raw + prefix) + path).encode("ascii"),
        query_string=query.encode("ascii"),
        headers=headers,
        extensions={},  # else a FileResponse would hand over a path instead of bytes
    )
    for name in ("state", "path_params"):
        if name in scope:
            made[name] = dict(scope[name])
    made[SYNTHESISED] = True
    return made


@dataclass(frozen=True, slots=True)
class WrappedApp:
    """The wrapped app, with the settings for the shim's own requests to it."""

    app: ASGIApp
    prefix: str
    """Path in front of the backend's routes."""
    limits: Limits

    def send(self, scope: Scope, request: Request, fence: Callable[[], None] | None = None) -> Exchange:
        """Start an exchange with the client's credentials. `fence` is called before the first byte is sent."""
        made = synthesise(scope, request, self.prefix)
        if fence is not None:
            made[FENCE] = fence
        return Exchange(self.app, made, request.body)

    def send_original(
        self, scope: Scope, body: bytes, fence: Callable[[], None] | None = None, interim: Interim | None = None
    ) -> Exchange:
        """Start an exchange with the client's own request; `fence` is called before the first byte is sent."""
        kept = {name: value for name, value in extensions(scope).items() if name in _PASSED}
        made = {**scope, "extensions": kept, SYNTHESISED: True}
        if fence is not None:
            made[FENCE] = fence
        return Exchange(scope.get(RECEIVER, self.app), made, body, interim)


_RUNNING: set[Exchange] = set()
"""Strong references: the event loop keeps only weak ones to tasks."""


class Exchange:
    """One request to the wrapped app, and its response as it arrives.

    Back-pressure: the app is at most two chunks ahead of the reader.
    """

    def __init__(self, app: ASGIApp, scope: Scope, body: bytes | None, interim: Interim | None = None) -> None:
        self._app, self._scope, self._interim = app, scope, interim
        self._since: float | None = perf_counter()
        self._request: bytes | None = body or b""
        self._taken = False
        self._left = Signal()
        self._start: asyncio.Future[tuple[int, Headers]] = asyncio.get_running_loop().create_future()
        self._body = Buffer(2)
        self._complete = False
        self.trailers: HeaderList | None = None
        """The trailer fields of a response that has some, complete when the body has ended; else None."""
        self._error: Exception | None = None
        self._raised = self._abandoned = False
        _RUNNING.add(self)
        self._task = asyncio.create_task(self._run())

    async def head(self, wait: Wait = wait) -> tuple[int, Headers]:
        """Wait for the head with `wait`; return status and headers. Raises what the app raised before its response."""
        await wait(self._start)
        self._raised = self._start.exception() is not None
        return self._start.result()

    async def responds_within(self, seconds: float) -> bool:
        """True if the head or a failure arrives within that many seconds."""
        try:
            await wait(self._start, until=asyncio.get_running_loop().time() + seconds)
        except Expired:
            return False
        return True

    @property
    def has_head(self) -> bool:
        """True if the head, or a failure in its place, has arrived."""
        return self._start.done()

    async def chunk(self, wait: Wait = wait) -> bytes | None:
        """Wait for the next chunk of the body with `wait`; None at the end.

        Raises what the app raised, or `UpstreamError` if the body is incomplete.
        """
        chunk = await self._body.get(wait)
        if chunk is None and not self._complete:
            self._raised = True
            raise self._error or UpstreamError("The backend's response ended before it was complete.")
        return chunk

    async def read(self, wait: Wait = wait, largest: int | None = None) -> bytes:
        """Read the rest of the body; `wait` waits for each chunk.

        Raises `UpstreamError` for a body of more than `largest` bytes.
        """
        parts, size = [], 0
        while (chunk := await self.chunk(wait)) is not None:
            parts.append(chunk)
            size += len(chunk)
            if largest is not None and size > largest:
                raise UpstreamError(f"The backend's response to a lookup is larger than {largest} bytes.")
        return b"".join(parts)

    def disconnect(self) -> None:
        """Disconnect: the app receives `http.disconnect`, and whatever it still sends is discarded."""
        self._log_request(None, "the shim disconnected before the response began")
        self._left.set()
        self._body.close()

    def withdraw(self) -> bool:
        """Withhold the body. True if the app has not received it, so that nothing was sent."""
        self._request = None
        return not self._taken

    async def wait_closed(self) -> None:
        """Wait until the app returns. Raises its exception, unless it was already raised here."""
        await wait(self._task)
        if self._error is not None and not self._raised:
            self._raised = True
            raise self._error

    def abandon(self) -> None:
        """Disconnect and do not wait for the app. An exception that it raises later is logged."""
        self.disconnect()
        self._abandoned = True
        self._log_error()

    def _log_error(self) -> None:
        if self._error is not None and not self._raised and not isinstance(self._error, UpstreamFailure):
            self._raised = True
            where = f"{self._scope['method']} {printable(truncate(self._scope['path']))}"
            logger.error("the app failed after its response to %s", where, exc_info=self._error)

    def _log_request(self, status: int | None, why: str | None = None) -> None:
        """Log the request once: when its response begins, or can no longer begin."""
        if self._since is None:
            return
        since, self._since = self._since, None
        if not requests.isEnabledFor(logging.DEBUG):
            return
        write(
            requests,
            logging.DEBUG,
            "upstream",
            method=self._scope["method"],
            path=shown_path(self._scope),
            status=status,
            reason=why,
            ms=milliseconds(perf_counter() - since),
            request_id=request_id(self._scope),
        )

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        except Exception as error:
            self._error = error
        finally:
            if not self._start.done():
                failure = self._error or UpstreamError("The backend sent no response.")
                self._log_request(None, failure.reason if isinstance(failure, ResumeError) else type(failure).__name__)
                self._start.set_exception(failure)
                self._start.exception()  # marks it as retrieved: `head` may never be called
            self._body.end()
            if self._abandoned:
                self._log_error()
            _RUNNING.discard(self)

    async def _receive(self) -> Message:
        if self._request is not None:
            body, self._request, self._taken = self._request, None, True
            trailed = {REQUEST_TRAILERS: self._scope[REQUEST_TRAILERS]} if REQUEST_TRAILERS in self._scope else {}
            return {"type": "http.request", "body": body, "more_body": False, **trailed}
        await wait(self._left.future)
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if HEADS in self._scope:
                self._scope[HEADS](message.get("headers", ()))
            headers = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in message.get("headers", ()))
            if not self._start.done():
                if message.get("trailers", False) and TRAILERS in extensions(self._scope):
                    self.trailers = []
                self._log_request(message["status"])
                self._start.set_result((message["status"], headers))
        elif message["type"] == "http.response.body" and not self._complete:
            if chunk := bytes(message.get("body", b"")):
                await self._body.put(chunk)
            if not message.get("more_body", False) and self.trailers is None:
                self._end()
        elif message["type"] == TRAILERS and self.trailers is not None and not self._complete:
            self.trailers += message["headers"]
            if not message.get("more_trailers", False):
                self._end()
        elif message["type"] == EARLY_HINT and self._interim is not None:
            await self._interim(message)

    def _end(self) -> None:
        self._complete = True
        self._body.end()
