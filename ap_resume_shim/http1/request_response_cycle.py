"""One request of a client and its answer: ASGI's `receive` and `send`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ap_resume_shim.core.asgi import EARLY_HINT, REQUEST_TRAILERS, TRAILERS, HeaderList
from ap_resume_shim.core.errors import Broken, ResumeError
from ap_resume_shim.http1.ends import reset
from ap_resume_shim.http1.head import head, plain

if TYPE_CHECKING:
    from starlette.types import Message, Scope

logger = logging.getLogger("ap_resume_shim")

OBJECT = 48
"""Bytes that each part of a body takes beside its own: a body in chunks of one byte is to be bounded, too."""


class Connection(Protocol):
    """What a request needs of its connection."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    async def writable(self) -> None:
        """Wait until the client takes what was sent."""
        ...

    def waits_for_body(self) -> None:
        """The app wants more of a body."""
        ...

    def resume_reading(self) -> None:
        """The app took what had been read."""
        ...

    def answered(self, request: Request) -> None:
        """The answer is whole."""
        ...

    def hold(self, request: Request) -> None:
        """Call `flush` at the end of this turn of the loop."""
        ...

    def ended(self, request: Request) -> None:
        """The app has returned."""
        ...

    def on_drained(self, request: Request) -> None:
        """The rest of an answered request came."""
        ...


class Request:
    """Made when a head is whole; `run` calls the app."""

    __slots__ = (
        "_after",
        "_bodiless",
        "_chunked",
        "_chunks",
        "_connection",
        "_dropped",
        "_expects_continue",
        "_held",
        "_left",
        "_one_zero",
        "_scope",
        "_told",
        "_trailers",
        "_waiter",
        "ahead",
        "complete",
        "discard_body",
        "disconnected",
        "keep_alive",
        "more_body",
        "started",
        "task",
    )

    task: asyncio.Task[None]

    def __init__(self, connection: Connection, scope: Scope, *, keep_alive: bool, expects_continue: bool) -> None:
        self._connection, self._scope = connection, scope
        self._one_zero = scope["http_version"] == "1.0"
        self.keep_alive = keep_alive
        self.more_body = True
        self.started = self.complete = self.disconnected = self.discard_body = False
        self._bodiless = self._chunked = self._trailers = self._dropped = self._told = False
        self._left: int | None = None
        self._held = b""
        self._after: HeaderList = []
        self._chunks: list[bytes] = []
        self.ahead = 0
        self._waiter: asyncio.Future[None] | None = None
        self._expects_continue = expects_continue and not self._one_zero

    async def run(self, app: Callable[..., Any]) -> None:
        """Call the app. What it raises, or leaves undone, is a broken answer."""
        end = 500, "Internal Server Error"
        try:
            await app(self._scope, self.receive, self.send)
        except (ResumeError, Broken) as error:  # the backend's end, told by the proxy or the shim
            logger.warning("%s %s was broken off: %s", self._scope["method"], self._scope["path"], error)
        except Exception:
            if not self.disconnected:
                logger.exception("%s %s failed", self._scope["method"], self._scope["path"])
        except asyncio.CancelledError:  # the server ends
            end = 503, "The server is shutting down, and this request has no answer yet."
            raise
        finally:
            if not self.complete:
                self._break(*end)
            self._connection.ended(self)

    def _break(self, status: int, message: str) -> None:
        """End what cannot be completed: with `status` before the answer's head, with a visible break after it."""
        if self.disconnected:
            return
        self.flush()
        transport = self._connection.transport
        if not self.started:
            transport.write(plain(status, message))
            transport.close()
            return
        if self._left is None and not self._chunked:
            reset(transport)
        else:
            transport.abort()

    # The connection's side.

    def on_body(self, data: bytes) -> None:
        """A part of the body came."""
        if self.discard_body:
            return
        self._chunks.append(data)
        self.ahead += len(data) + OBJECT
        self._wake()

    def on_body_end(self, trailers: HeaderList) -> None:
        """The body is whole."""
        self.more_body, self._after = False, trailers
        if self.discard_body:
            self._connection.on_drained(self)
        self._wake()

    def disconnect(self) -> None:
        """The client has left."""
        self.disconnected = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The app's side.

    async def receive(self) -> Message:
        """The next part of the body; after it, the disconnect, when it comes."""
        if self._expects_continue and not self.started and not self.disconnected:
            self._expects_continue = False
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self.disconnected and not self.complete:
            if self._chunks or not (self.more_body or self._told):
                body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
                self._chunks.clear()
                self.ahead, self._told = 0, not self.more_body
                if body and not self.more_body:
                    self._connection.resume_reading()  # what is not read tells nothing of the client's leaving
                message: Message = {"type": "http.request", "body": body, "more_body": self.more_body}
                if self._after:
                    message[REQUEST_TRAILERS] = self._after
                return message
            self._waiter = self._connection.loop.create_future()
            if self._expects_continue:
                self._connection.resume_reading()  # it was not asked for, and may never come
            elif self.more_body:
                self._connection.waits_for_body()
            await self._waiter
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Write a part of the answer, as fast as the client takes it. Raises `OSError` when the client has left."""
        await self._connection.writable()
        if self.disconnected:
            raise ConnectionResetError("The client has left.")
        kind = message["type"]
        if kind == "http.response.body" and self.started and not self.complete:
            self._write(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.start" and not self.started:
            self._start(message["status"], list(message.get("headers", ())), trailers=message.get("trailers", False))
        elif kind == EARLY_HINT and not self.started:
            if not self._one_zero:
                self._connection.transport.write(head(103, [(b"link", link) for link in message["links"]]))
        elif kind == TRAILERS and self._trailers and not self.complete:
            fields = b"".join(b"%b: %b\r\n" % field for field in message["headers"])
            self._connection.transport.write(b"0\r\n" + fields + b"\r\n")
            self._finish()
        elif kind == TRAILERS and self._dropped:
            return  # an answer without chunks has no place for them
        else:
            raise RuntimeError(f"{kind!r} was sent when it could not be.")

    def _start(self, status: int, headers: HeaderList, *, trailers: bool) -> None:
        self._bodiless = self._scope["method"] == "HEAD" or status in (204, 304)
        for name, value in headers:
            if name == b"content-length":
                self._left = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
                headers = [field for field in headers if field[0] != b"connection"]
        more: tuple[bytes, ...] = ()
        if not self._bodiless and self._left is None:
            if self._one_zero:
                self.keep_alive = False  # its end is the connection's
            else:
                self._chunked, more = True, (b"transfer-encoding: chunked\r\n",)
        if self._expects_continue and self.more_body:
            self.keep_alive = False  # the client was not told to send its body, and may do so or not
        if not self.keep_alive:
            more += (b"connection: close\r\n",)
        elif self._one_zero:
            more += (b"connection: keep-alive\r\n",)
        self._trailers, self._dropped = trailers and self._chunked, trailers and not self._chunked
        self._held = head(status, headers, *more)
        self.started = True
        self._connection.hold(self)

    def flush(self) -> None:
        """Write a head whose body has not come yet."""
        held, self._held = self._held, b""
        if held and not self.disconnected:
            self._connection.transport.write(held)

    def _write(self, body: bytes, *, more: bool) -> None:
        if self._chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more and not self._trailers:
                body += b"0\r\n\r\n"
        elif self._bodiless:
            body = b""
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("The answer's body is not as long as its Content-Length says.")
        held, self._held = self._held, b""
        if held or body:
            self._connection.transport.write(held + body if held else body)
        if not more and not self._trailers:
            self._finish()

    def _finish(self) -> None:
        self.complete = True
        self._wake()
        self._connection.answered(self)
