"""Observes a request that passes unchanged: records its body, and the outcome of its response."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ap_resume_shim.core.http import Response
from ap_resume_shim.core.vendor_resume import VendorResume
from ap_resume_shim.runtime.bodies import Bodies

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Send

logger = logging.getLogger("ap_resume_shim")

_LARGEST_RESPONSE = 64 * 1024
"""Maximum size of the part of a response that shows whether the backend took the answer, in bytes."""


class ObservedExchange:
    """The messages of a request and its response, as they pass."""

    def __init__(self, receive: Receive, send: Send, bodies: Bodies, received: Callable[[bytes | None], None]) -> None:
        """`received` is called with the whole body of the request, or None if it is too large or memory is short."""
        self._receive, self._send, self._bodies, self._received = receive, send, bodies, received
        self._parts: list[bytes] | None = []
        self._size = 0
        self._response: Response | None = Response(0, (), b"")
        """The response so far; None once it is no longer needed."""
        loop = asyncio.get_running_loop()
        self._head: asyncio.Future[Response | None] = loop.create_future()
        self._whole: asyncio.Future[Response] = loop.create_future()

    @property
    def responded(self) -> bool:
        """True if the response has begun."""
        return self._head.done()

    async def receive(self) -> Message:
        """Return the next message; when the body of the request is complete, call `received`."""
        message = await self._receive()
        if message["type"] == "http.request" and self._parts is not None:
            part = message.get("body", b"")
            if self._size + len(part) > self._bodies.each or not self._bodies.take(len(part)):
                self._hand_over(None)
            else:
                self._size += len(part)
                self._parts.append(part)
                if not message.get("more_body", False):
                    self._hand_over(b"".join(self._parts))
        return message

    def _hand_over(self, body: bytes | None) -> None:
        self._parts = None
        try:
            self._received(body)
        except Exception:  # a fault of the shim must not disturb a request that passes
            logger.exception("a request could not be examined")

    async def send(self, message: Message) -> None:
        """Pass a message on, and record it."""
        await self._send(message)
        if self._response is not None:
            self._note(message, self._response)

    def _note(self, message: Message, so_far: Response) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", ())  # ASGI allows their absence
            fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
            self._response = Response(message["status"], fields, b"")
            self._resolve(self._response)
        elif message["type"] == "http.response.body":
            self._response = so_far = replace(so_far, body=so_far.body + message.get("body", b""))
            if not message.get("more_body", False) or len(so_far.body) > _LARGEST_RESPONSE:
                self._resolve(so_far, whole=so_far)

    def _resolve(self, head: Response | None, whole: Response | None = None) -> None:
        if not self._head.done():
            self._head.set_result(head)
        if whole is not None and not self._whole.done():
            self._whole.set_result(whole)
            self._response = None

    def made(self, run_id: str | None) -> bool | None:
        """Return True if the response so far names this run, False if it names another one, None if it names none."""
        if run_id is None or not self._head.done() or (head := self._head.result()) is None:
            return None
        body = (self._whole.result() if self._whole.done() else self._response or head).body
        names = f"{head.header('content-location')} {body.decode('utf-8', 'replace')}"
        return run_id in names or (False if "/runs/" in names or '"run_id"' in names else None)

    async def took(self, vendor: VendorResume) -> bool:
        """Wait until the response shows whether the backend took the answer; True if it may have."""
        head, convention = await self._head, vendor.convention
        if head is None or not head.ok:
            return head is None or head.status >= 500
        try:
            return not convention.reads_body(vendor, head) or convention.took(vendor, await self._whole)
        except Exception:
            return True

    def forget(self) -> None:
        """Discard the request and the response, which are no longer needed."""
        self._bodies.give_back(self._size)
        self._size, self._parts, self._response = 0, None, None

    def end(self) -> None:
        """Called at the end of the exchange: no further part of the response will arrive."""
        self._resolve(None, whole=self._response or Response(0, (), b""))
        if self._parts is not None:  # the client left
            self.forget()
