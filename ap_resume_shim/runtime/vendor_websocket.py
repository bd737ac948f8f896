"""Guards the answers among the messages of a WebSocket; every other message passes unchanged, in its place.

To the flow that guards it, an answer is a request over HTTP, whose body is the message, and whose response is the
message with which the server responds. The messages that follow an answer wait until it is sent or refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING

from ap_resume_shim.core.asgi import FENCE, RECEIVER
from ap_resume_shim.core.errors import ResumeError, UpstreamError, UpstreamUnreachable
from ap_resume_shim.core.vendor_resume import UnreadableAnswer, VendorResume
from ap_resume_shim.runtime.resume_log import RESUME
from ap_resume_shim.runtime.waiting import Signal, wait

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

Guarded = Callable[["Scope", VendorResume, "Receive", "Send"], Awaitable[None]]

UNREADABLE, TOO_BIG, INTERNAL_ERROR = 1008, 1009, 1011
"""Close codes (RFC 6455, section 7.4.1)."""
_OF_THE_HANDSHAKE = frozenset({b"connection", b"upgrade", b"idempotency-key", b"ap-interrupt-id"})
"""Header fields that do not apply to a message."""


def request_scope(scope: Scope) -> Scope:
    """Return the scope of a request over HTTP with the header fields of a WebSocket's handshake.

    The scope of a request is returned as it is.
    """
    if scope["type"] == "http":
        return scope
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name not in _OF_THE_HANDSHAKE and not name.startswith(b"sec-websocket-")
    ]
    made = {name: value for name, value in scope.items() if name != "subprotocols"}
    scheme = "https" if scope.get("scheme") in ("wss", "https") else "http"
    return {**made, "type": "http", "method": "POST", "scheme": scheme, "headers": headers, "extensions": {}}


class VendorWebSocket:
    """A WebSocket whose answers are guarded."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        limit: int,
        recognise: Callable[[bytes], Awaitable[VendorResume | None]],
        guarded: Guarded,
        too_large: Callable[[], None],
    ) -> None:
        """`recognise` returns the answer in a message. `guarded` runs its flow, with ASGI's arguments for a request.

        A message of more than `limit` bytes closes the WebSocket, and `too_large` is called.
        """
        self._scope, self._receive, self._send = scope, receive, send
        self._limit, self._recognise, self._guarded, self._too_large = limit, recognise, guarded, too_large
        self._message: Message | None = None
        """The client's latest message, until it is read."""
        self._undecided: _Answer | None = None
        self._sent: list[_Answer] = []
        """Answers to which the server has not responded."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = copy_context()  # not that of the app, which calls `receive`
        self._sending = asyncio.Lock()  # keeps the server's messages in order while one of them waits
        self._closed = 0
        """The code with which this side has closed the WebSocket; 0 if it has not."""
        self._ended = False

    async def run(self, app: ASGIApp) -> None:
        """Call the app, and wait for the answers that are in progress when it returns."""
        try:
            await app(self._scope, self.receive, self.send)
        except asyncio.CancelledError as cancelled:
            self._cancel(cancelled)
            raise
        finally:
            self._end()
            await self._wait()

    def _end(self) -> None:
        """No further message is received or sent."""
        self._ended = True
        for answer in (*self._sent, *([self._undecided] if self._undecided else ())):
            answer.lose()

    async def _wait(self) -> None:
        while self._tasks:
            try:
                await asyncio.wait(self._tasks)
            except asyncio.CancelledError as cancelled:
                self._cancel(cancelled)
                raise

    def _cancel(self, cancelled: asyncio.CancelledError) -> None:
        for task in self._tasks:
            task.cancel(*cancelled.args)

    # Called by the app.

    async def receive(self) -> Message:
        """Return the next message for the app: that of an answer when it may be sent, and none of a refused one.

        A cancelled call loses no message.
        """
        while True:
            if self._undecided is None:
                if self._message is None:
                    self._message = await self._next()
                answer = await self._read(self._message)
                message, self._message = self._message, None
                if answer is None:
                    return self._disconnect() if self._closed else message
                self._undecided = answer
                task = asyncio.create_task(self._guard(answer), context=self._context.copy())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            answer = self._undecided
            await wait(answer.decided.future)
            if answer.released():
                self._sent.append(answer)
                self._undecided = None
                return answer.message
            await wait(answer.settled.future)
            self._undecided = None

    async def send(self, message: Message) -> None:
        """Pass a message of the app on. The response to an answer waits until the guard has recorded the outcome."""
        async with self._sending:
            if self._sent and message["type"] == "websocket.send":
                await self._record_reply(_content(message))
            if not self._closed:
                await self._send(message)

    async def _record_reply(self, content: bytes) -> None:
        for answer in self._sent:
            if answer.vendor.convention.is_reply(answer.vendor, content):
                self._sent.remove(answer)
                answer.reply(content)
                await wait(answer.settled.future)
                return

    async def _next(self) -> Message:
        """Return the client's next message: the disconnect, if this side has closed the WebSocket."""
        if not self._closed:
            message = await self._receive()
            if message["type"] != "websocket.receive" or len(_content(message)) <= self._limit:
                return message
            self._too_large()
            await self._close(TOO_BIG, f"A message is larger than {self._limit} bytes.")
        return self._disconnect()

    def _disconnect(self) -> Message:
        return {"type": "websocket.disconnect", "code": self._closed}

    async def _read(self, message: Message) -> _Answer | None:
        """Return the answer in a message of the client; None if it is none."""
        if message["type"] != "websocket.receive":
            return None
        try:
            vendor = await self._recognise(_content(message))
        except UnreadableAnswer as error:
            await self._close(UNREADABLE, error.message)
            return None
        return None if vendor is None else _Answer(message, vendor, self._refuse)

    async def _guard(self, answer: _Answer) -> None:
        scope = {**request_scope(self._scope), RESUME: True, RECEIVER: answer.exchange}
        try:
            await self._guarded(scope, answer.vendor, answer.receive, answer.send)
        except Exception:  # as for a request over HTTP, for which the server would respond with 500
            logger.exception("an answer in a WebSocket failed")
            if not answer.replied:
                await self._close(INTERNAL_ERROR, "The shim failed.")
        finally:
            answer.end()

    async def _refuse(self, refusal: bytes) -> None:
        async with self._sending:
            if not self._closed and not self._ended:
                await self._send({"type": "websocket.send", "text": refusal.decode()})

    async def _close(self, code: int, reason: str) -> None:
        if not self._closed and not self._ended:
            self._closed = code
            await self._send({"type": "websocket.close", "code": code, "reason": reason})


class _Answer:
    """An answer, from its message to the server's response."""

    def __init__(self, message: Message, vendor: VendorResume, refuse: Callable[[bytes], Awaitable[None]]) -> None:
        self.message, self.vendor = message, vendor
        self.decided = Signal()
        """Set when the answer may be sent, or is refused."""
        self.settled = Signal()
        """Set when the flow has responded, or ended."""
        self._refuse = refuse
        self._may_send = self._released = False
        self._fence: Callable[[], None] | None = None
        self._reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._response = bytearray()

    @property
    def replied(self) -> bool:
        """True if the server has responded."""
        return self._reply.done() and self._reply.exception() is None

    # Called by the WebSocket.

    def released(self) -> bool:
        """Return True if the app gets the message now: the answer is not refused, and its hold has not lapsed."""
        if not self._may_send or self._reply.done():
            return False
        try:
            if self._fence is not None:
                self._fence()
        except ResumeError as error:
            self._fail(error)
            return False
        self._released = True
        return True

    def reply(self, content: bytes) -> None:
        """The server has responded."""
        if not self._reply.done():
            self._reply.set_result(content)

    def lose(self) -> None:
        """The WebSocket has ended: the server's response does not come."""
        if self._released:
            self._fail(UpstreamError("The WebSocket ended before the backend responded to the answer."))
        else:
            self._fail(UpstreamUnreachable("The WebSocket ended before the answer could be sent."))

    def _fail(self, error: ResumeError) -> None:
        if not self._reply.done():
            self._reply.set_exception(error)
            self._reply.exception()  # marks it as retrieved: the flow may have ended

    def end(self) -> None:
        """The flow has ended."""
        self.decided.set()
        self.settled.set()

    # Called by the flow, as ASGI's: the client's `receive` and `send`, and the app.

    async def receive(self) -> Message:
        """Wait forever: a client that leaves after its answer has sent it nevertheless."""
        await wait(asyncio.get_running_loop().create_future(), until=inf)
        raise AssertionError

    async def send(self, message: Message) -> None:
        """Send the response of the flow to the client, unless it is the server's, which the WebSocket passes on."""
        if message["type"] != "http.response.body":
            return
        self._response += message.get("body", b"")
        if not message.get("more_body", False):
            if not self.replied:
                await self._refuse(bytes(self._response))
            self.end()

    async def exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the WebSocket send the message, and respond with the server's response."""
        await receive()
        self._fence, self._may_send = scope.get(FENCE), True
        self.decided.set()
        await wait(self._reply)
        response = self._reply.result()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": response})


def _content(message: Message) -> bytes:
    """Return the content of a message as UTF-8. JavaScript's server reads binary messages, too, in this way."""
    text = message.get("text")
    if text is None:
        text = message["bytes"].decode("utf-8", "replace")
    content: bytes = text.encode()
    return content
