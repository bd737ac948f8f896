"""Reads the bodies of resumes within a memory limit. Bodies are read before the client has been authenticated."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ap_resume_shim.core.errors import InvalidRequest, Overloaded, RequestTooLarge
from ap_resume_shim.core.steps import ClientGone

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

_DRAIN = 10.0
"""Seconds that a client has to send the rest of an oversized body before it receives the 413."""


class Bodies:
    """All bodies that are in memory, with two limits in bytes: `each` for one body, `together` for their sum.

    Bytes count when they arrive, not when `Content-Length` announces them. When there is no room for more, the
    incomplete body with the highest cost (bytes times seconds in memory) is dropped. Slow clients are cheap for an
    attacker to run, and this way they cannot lock out the others.
    """

    def __init__(self, each: int, together: int) -> None:
        self.each = each
        self._together, self._held = together, 0
        self._arriving: set[Body] = set()

    @contextmanager
    def body(self) -> Iterator[Body]:
        """Yield a body; its memory is released at the end of the block."""
        body = Body(self)
        try:
            yield body
        finally:
            self.release(body)

    def begin_reading(self, body: Body) -> None:
        """Register a body as incomplete: from now on it may be dropped to make room."""
        self._arriving.add(body)

    def end_reading(self, body: Body) -> None:
        """Unregister a body: it is complete, or its reader gave up."""
        self._arriving.discard(body)

    def reserve(self, body: Body, size: int) -> None:
        """Reserve `size` more bytes for a body. Raises `Overloaded` if there is no room, or if the body was dropped."""
        if body not in self._arriving:
            raise Overloaded(_FULL)  # it was dropped
        while self._held + size > self._together:
            costliest = max(self._arriving, key=Body.cost)
            if costliest is body or not costliest.size:
                raise Overloaded(_FULL)
            costliest.drop()
        self._held += size
        body.size += size

    def take(self, size: int) -> bool:
        """Count `size` bytes of a body that passes in any case. Returns False if more than half of the memory would be
        in use: the rest is for resumes, which would otherwise be refused.
        """
        if self._held + size > self._together // 2:
            return False
        self._held += size
        return True

    def give_back(self, size: int) -> None:
        """Release bytes that `take` has counted."""
        self._held -= size

    def release(self, body: Body) -> None:
        """Release the bytes of a body."""
        self._held -= body.size
        body.size = 0


_FULL = (
    "The shim has no memory left for the bodies of incomplete requests: nothing was sent. Send it again in a moment."
)


class Body:
    """The body of one request."""

    def __init__(self, bodies: Bodies) -> None:
        self.size = 0
        """Bytes in memory."""
        self._bodies = bodies
        self._parts: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._reading = asyncio.timeout(None)

    def cost(self) -> float:
        """The cost of keeping this body: bytes times seconds since its request began."""
        return self.size * (self._loop.time() - self._since)

    def drop(self) -> None:
        """Drop this body: release its memory, and make its `read` raise `Overloaded`."""
        self._bodies.end_reading(self)
        self._release()
        self._reading.reschedule(self._loop.time())

    def _release(self) -> None:
        self._parts.clear()
        self._bodies.release(self)

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """Read the whole body.

        Raises `InvalidRequest` (content encoding), `RequestTooLarge`, `Overloaded`, and `ClientGone`.
        """
        self._refuse_at_head(scope)
        self._bodies.begin_reading(self)
        try:
            async with self._reading:
                return await self._read(receive)
        except TimeoutError:
            if not self._reading.expired():
                raise  # raised by the server's `receive`
            raise Overloaded(_FULL) from None
        finally:
            self._bodies.end_reading(self)

    def _refuse_at_head(self, scope: Scope) -> None:
        """Refuse by the header fields alone: an encoded body, or a `Content-Length` above the limit."""
        for name, value in scope["headers"]:
            if name == b"content-encoding" and value.lower() != b"identity":
                encoding = value.decode("latin-1")
                raise InvalidRequest(f"The body is encoded with {encoding}: send it as plain JSON.")
            if name == b"content-length" and value.isdigit() and int(value) > self._bodies.each:
                raise self._too_large()

    async def _read(self, receive: Receive) -> bytes:
        length, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part, more = message.get("body", b""), message.get("more_body", False)
            length += len(part)
            if length > self._bodies.each:
                self._release()
                await _drain(receive, more=more)
                raise self._too_large()
            self._bodies.reserve(self, len(part))
            self._parts.append(part)
        return b"".join(self._parts)

    def _too_large(self) -> RequestTooLarge:
        limit = self._bodies.each
        return RequestTooLarge(f"The body is larger than {limit} bytes: send less.", {"limit": limit})


async def _drain(receive: Receive, *, more: bool) -> None:
    """Discard the rest of the body for up to `_DRAIN` seconds: a client that is cut off while it writes may never read
    the response.
    """
    try:
        async with asyncio.timeout(_DRAIN):
            while more:
                message = await receive()
                more = message["type"] == "http.request" and message.get("more_body", False)
    except TimeoutError:
        pass
