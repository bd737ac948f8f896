"""Reading the bodies of resumes, in bounded memory: nobody has been authenticated yet."""

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
"""Seconds in which a client may send the rest of a body that is too large, before it is answered."""


class Bodies:
    """The bodies of all resumes at this moment: what each may have, and all of them together, in bytes.

    Bytes count when they come: what is only announced takes no memory. Where there is no room for more, the body that
    has held the most for the longest and is not complete gives up its place, so that slow clients, who cost nothing to
    whoever runs them, cannot lock out the others.
    """

    def __init__(self, each: int, together: int) -> None:
        self.each = each
        self._together, self._held = together, 0
        self._arriving: set[Body] = set()

    @contextmanager
    def body(self) -> Iterator[Body]:
        """A body that is held as long as the block lasts."""
        body = Body(self)
        try:
            yield body
        finally:
            self.free(body)

    def arrives(self, body: Body) -> None:
        """The body is being read."""
        self._arriving.add(body)

    def arrived(self, body: Body) -> None:
        """It is not read any longer."""
        self._arriving.discard(body)

    def take(self, body: Body, size: int) -> None:
        """Make room for more bytes of a body. Raises `Overloaded`."""
        if body not in self._arriving:
            raise Overloaded(_FULL)  # it gave up its place
        while self._held + size > self._together:
            costliest = max(self._arriving, key=Body.cost)
            if costliest is body or not costliest.size:
                raise Overloaded(_FULL)
            costliest.give_up()
        self._held += size
        body.size += size

    def free(self, body: Body) -> None:
        """The bytes of a body are held no longer."""
        self._held -= body.size
        body.size = 0


_FULL = (
    "The bodies of all requests together are as large as they may be, and this one is not complete: nothing was sent. "
    "Send it again in a moment."
)


class Body:
    """One body."""

    def __init__(self, bodies: Bodies) -> None:
        self.size = 0
        """Bytes that are held."""
        self._bodies = bodies
        self._parts: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._reading = asyncio.timeout(None)

    def cost(self) -> float:
        """How much it has held, for how long."""
        return self.size * (self._loop.time() - self._since)

    def give_up(self) -> None:
        """Free its bytes; who reads it raises `Overloaded`."""
        self._bodies.arrived(self)
        self._free()
        self._reading.reschedule(self._loop.time())

    def _free(self) -> None:
        self._parts.clear()
        self._bodies.free(self)

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises `InvalidRequest`, `RequestTooLarge`, `Overloaded`, and `ClientGone`."""
        self._refuse_at_head(scope)
        self._bodies.arrives(self)
        try:
            async with self._reading:
                return await self._read(receive)
        except TimeoutError:
            if not self._reading.expired():
                raise  # the server's own
            raise Overloaded(_FULL) from None
        finally:
            self._bodies.arrived(self)

    def _refuse_at_head(self, scope: Scope) -> None:
        """Refuse what the head tells of, unread."""
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
                self._free()
                await _drain(receive, more=more)
                raise self._too_large()
            self._bodies.take(self, len(part))
            self._parts.append(part)
        return b"".join(self._parts)

    def _too_large(self) -> RequestTooLarge:
        limit = self._bodies.each
        return RequestTooLarge(f"The body is larger than {limit} bytes: send less.", {"limit": limit})


async def _drain(receive: Receive, *, more: bool) -> None:
    """Let the client send the rest for a while, unread: one that is cut off would not see the answer."""
    try:
        async with asyncio.timeout(_DRAIN):
            while more:
                message = await receive()
                more = message["type"] == "http.request" and message.get("more_body", False)
    except TimeoutError:
        pass
