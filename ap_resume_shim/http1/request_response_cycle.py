"""`RequestResponseCycle`: one request and its response, with ASGI's `receive` and `send`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ap_resume_shim.core.asgi import EARLY_HINT, REQUEST_TRAILERS, TRAILERS, HeaderList
from ap_resume_shim.core.errors import Broken, ResumeError
from ap_resume_shim.http1.disconnect import abort_with_reset
from ap_resume_shim.http1.head import encode_error, encode_head
from ap_resume_shim.http1.incoming_body import IncomingBody
from ap_resume_shim.http1.response_framing import ResponseFraming

if TYPE_CHECKING:
    from starlette.types import Message, Scope

logger = logging.getLogger("ap_resume_shim")

CHUNK_OVERHEAD = 48
"""Bytes of memory that each part of a body takes besides its data; they count, since a part may be a single byte."""


class Connection(Protocol):
    """The connection, as a cycle sees it."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    write_paused: bool
    """True while the write buffer is above its limit."""

    async def writable(self) -> None:
        """Wait until the write buffer is below its limit."""
        ...

    def on_body_awaited(self) -> None:
        """Called when the app waits for more of the body."""
        ...

    def resume_reading(self) -> None:
        """Resume reading, after the app took what was buffered."""
        ...

    def on_response_complete(self, request: RequestResponseCycle) -> None:
        """Called when the response is complete."""
        ...

    def flush_soon(self, request: RequestResponseCycle) -> None:
        """Call `flush` in the next iteration of the event loop."""
        ...

    def on_app_returned(self, request: RequestResponseCycle) -> None:
        """Called when the app has returned or raised."""
        ...

    def on_drained(self, request: RequestResponseCycle) -> None:
        """Called at the end of a request whose body is discarded, since its response is complete."""
        ...


class RequestResponseCycle:
    """Created when the head of a request is complete; `run` calls the app."""

    __slots__ = (
        "_body_delivered",
        "_connection",
        "_expects_continue",
        "_framing",
        "_is_http_1_0",
        "_pending_head",
        "_scope",
        "_waiter",
        "body",
        "complete",
        "disconnected",
        "keep_alive",
        "started",
        "task",
    )

    task: asyncio.Task[None]

    def __init__(self, connection: Connection, scope: Scope, keep_alive: bool, expects_continue: bool) -> None:
        self._connection, self._scope = connection, scope
        self._is_http_1_0 = scope["http_version"] == "1.0"
        self.keep_alive = keep_alive
        """False if the connection is closed after the response."""
        self.body = IncomingBody()
        """The body of the request."""
        self.started = self.complete = self.disconnected = self._body_delivered = False
        self._framing: ResponseFraming | None = None
        """The framing of the response, from its start on."""
        self._pending_head = b""
        self._waiter: asyncio.Future[None] | None = None
        self._expects_continue = expects_continue and not self._is_http_1_0

    async def run(self, app: Callable[..., Any]) -> None:
        """Call the app. If it raises, or returns before its response is complete, break off the response."""
        end = 500, "Internal Server Error"
        try:
            await app(self._scope, self.receive, self.send)
        except (ResumeError, Broken) as error:  # the response of the backend is incomplete
            logger.warning("%s %s was broken off: %s", self._scope["method"], self._scope["path"], error)
        except Exception:
            if not self.disconnected:
                logger.exception("%s %s failed", self._scope["method"], self._scope["path"])
        except asyncio.CancelledError:  # the server is shutting down
            end = 503, "The server is shutting down, and this request has no response yet."
            raise
        finally:
            if not self.complete:
                self._abort(*end)
            self._connection.on_app_returned(self)

    def _abort(self, status: int, message: str) -> None:
        """End an incomplete response: with `status` if it has not begun, else by breaking off the connection."""
        if self.disconnected:
            return
        self.flush()
        transport = self._connection.transport
        if not self.started:
            transport.write(encode_error(status, message))
            transport.close()
            return
        if self._framing is not None and self._framing.ends_at_close:
            abort_with_reset(transport)
        else:
            transport.abort()

    # Called by the connection.

    def on_body(self, data: bytes) -> None:
        """Buffer a part of the body for the app; discard it if the response is already complete."""
        if not self.complete:
            self.body.parts.append(data)
            self.body.buffered += len(data) + CHUNK_OVERHEAD
            self._wake()

    def on_body_end(self, trailers: HeaderList) -> None:
        """Called at the end of the body."""
        self.body.complete, self.body.trailers = True, trailers
        if self.complete:
            self._connection.on_drained(self)
        self._wake()

    def disconnect(self) -> None:
        """Called when the client has disconnected."""
        self.disconnected = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Called by the app.

    async def receive(self) -> Message:
        """ASGI's `receive`: return the next part of the body; after the last one, wait for the disconnect."""
        if self._expects_continue and not self.started and not self.disconnected:
            self._expects_continue = False
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.body
        while not self.disconnected and not self.complete:
            if body.parts or (body.complete and not self._body_delivered):
                data, self._body_delivered = body.take() if body.parts else b"", body.complete
                if data and body.complete:
                    self._connection.resume_reading()  # a disconnect is noticed only while reading
                message: Message = {"type": "http.request", "body": data, "more_body": not body.complete}
                if body.trailers:
                    message[REQUEST_TRAILERS] = body.trailers
                return message
            self._waiter = self._connection.loop.create_future()
            if self._expects_continue:
                self._connection.resume_reading()  # 100 was not sent, so the body may never arrive
            elif not body.complete:
                self._connection.on_body_awaited()
            await self._waiter
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ASGI's `send`: write a part of the response, at the client's pace. Raises `OSError` after a disconnect."""
        if self._connection.write_paused:
            await self._connection.writable()
        if self.disconnected:
            raise ConnectionResetError("The client has disconnected.")
        kind = message["type"]
        if kind == "http.response.body" and self.started and not self.complete:
            framing = self._framing
            assert framing is not None
            more = message.get("more_body", False) or framing.trailers
            self._write(framing.encode(message.get("body", b""), more))
            if not more:
                self._finish()
        elif kind == "http.response.start" and not self.started:
            self._start(message["status"], list(message.get("headers", ())), trailers=message.get("trailers", False))
        elif kind == EARLY_HINT and not self.started:
            if not self._is_http_1_0:
                self._connection.transport.write(encode_head(103, [(b"link", link) for link in message["links"]]))
        elif kind == TRAILERS and self._framing is not None and self._framing.trailers and not self.complete:
            self._connection.transport.write(self._framing.encode_trailers(message["headers"]))
            self._finish()
        elif kind == TRAILERS and self._framing is not None and self._framing.drops_trailers:
            return
        else:
            raise RuntimeError(f"{kind!r} is not allowed in this state of the response.")

    def _start(self, status: int, headers: HeaderList, *, trailers: bool) -> None:
        length: int | None = None
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
                headers = [field for field in headers if field[0] != b"connection"]
        no_body = self._scope["method"] == "HEAD" or status in (204, 304)
        framing = self._framing = ResponseFraming(no_body, length, not self._is_http_1_0, trailers)
        if framing.chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        elif length is None and not no_body:
            self.keep_alive = False  # the end of the connection is the end of the body
        if self._expects_continue and not self.body.complete:
            self.keep_alive = (
                False  # without a 100 the client may send its body or not, so the next request cannot be found
            )
        if not self.keep_alive:
            headers.append((b"connection", b"close"))
        elif self._is_http_1_0:
            headers.append((b"connection", b"keep-alive"))
        self._pending_head = encode_head(status, headers)
        self.started = True
        self._connection.flush_soon(self)

    def flush(self) -> None:
        """Write the head, if no part of the body has been sent with it."""
        held, self._pending_head = self._pending_head, b""
        if held and not self.disconnected:
            self._connection.transport.write(held)

    def _write(self, data: bytes) -> None:
        held, self._pending_head = self._pending_head, b""
        if held or data:
            self._connection.transport.write(held + data if held else data)

    def _finish(self) -> None:
        self.complete = True
        self._wake()
        self._connection.on_response_complete(self)
