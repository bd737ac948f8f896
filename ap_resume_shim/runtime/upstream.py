"""Exchanges with the backend from the resume on: the resume itself, and the streams that are joined after it.

Their responses become the client's response. While it waits for the backend, this module applies the time limits of
`Limits`, sends keep-alives, and detects a client whose disconnect cancels the resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.core.errors import UpstreamTimeout
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.steps import ClientGone
from ap_resume_shim.runtime.exchange import Exchange, Interim, WrappedApp
from ap_resume_shim.runtime.waiting import Expired, Future, KeepAlive, Signal, Wait, timer, wait

if TYPE_CHECKING:
    from starlette.types import Scope

_LEAVING = 0.5
"""Seconds that a resume that was sent has to be accepted after its client has disconnected."""


class Upstream:
    """The exchanges of one resume. Without `gone`, a disconnect of the client cancels nothing."""

    def __init__(self, app: WrappedApp, scope: Scope, *, gone: Signal | None, keepalive: KeepAlive) -> None:
        self._app, self._scope, self._limits = app, scope, app.limits
        self._gone = None if gone is None else gone.future
        self._keepalive = keepalive
        self._exchange: Exchange | None = None
        self._resume: Exchange | None = None
        self._deadline = 0.0
        self.shut_down = False
        """True if the process is shutting down."""
        self._late = False

    async def send(self, request: Request, fence: Callable[[], None], grace: float | None) -> Response | None:
        """Send the resume, and wait for the head of its response; None if it did not arrive within `grace` seconds."""
        self._start_clock()
        self._resume = self._open(request, fence)
        if grace is not None and not await self._resume.responds_within(grace):
            return None
        return await self.read_head()

    async def join(self, request: Request) -> Response:
        """Open the event stream of a run in progress, and wait for the head of the response."""
        if not self._deadline:
            self._start_clock()
        self._open(request)
        return await self.read_head()

    async def send_original(self, body: bytes, fence: Callable[[], None] | None, interim: Interim) -> Response:
        """Send the client's own request, and wait for the head of the response, without a time limit."""
        self._deadline = inf
        self._resume = self._exchange = self._app.send_original(self._scope, body, fence, interim)
        return await self.read_head()

    async def next_original_chunk(self) -> bytes | None:
        """Wait for the next chunk of the response to the client's own request; None at its end."""
        return await self._chunk(partial(wait, gone=self._gone))

    @property
    def trailers(self) -> HeaderList | None:
        """The trailer fields of the response; None if it has no trailer section."""
        return self._current.trailers

    def _start_clock(self) -> None:
        self._keepalive.restart()
        self._deadline = asyncio.get_running_loop().time() + self._limits.resume

    def _open(self, request: Request, fence: Callable[[], None] | None = None) -> Exchange:
        self.abandon()  # the previous exchange found no connection, or was read
        self._exchange = exchange = self._app.send(self._scope, request, fence)
        return exchange

    @property
    def _current(self) -> Exchange:
        assert self._exchange is not None, "a flow reads only after it has sent"
        return self._exchange

    async def read_head(self) -> Response:
        """Wait for the head of the response. If it is a failure, its body is read too."""
        waiting = partial(self.wait, leaving=_LEAVING)
        status, headers = await self._current.head(waiting)
        if Response(status).ok:
            return Response(status, headers)
        return Response(status, headers, await self._current.read(waiting))

    async def read(self) -> bytes:
        """Read the rest of the response."""
        return await self._current.read(self.wait)

    async def read_events(self, grace: float | None, begun: Callable[[bytes], bool]) -> bytes | None:
        """Read the beginning of a stream; `ReadEvents` describes the arguments."""
        until = self._deadline if grace is None else asyncio.get_running_loop().time() + grace
        waiting = partial(wait, until=until, gone=self._gone)
        read = b""
        try:
            while not begun(read):
                if (chunk := await self._chunk(waiting)) is None:
                    return read or None
                read += chunk
        except Expired:
            if grace is None:
                raise self._too_late(f"sent nothing in its stream for {self._limits.resume:g} seconds.") from None
        return read

    async def drain(self, reframer: Reframer) -> None:
        """Read the rest of a stream through a reframer, whose output is discarded."""
        while not reframer.over:
            chunk = await self._current.chunk(self.wait)
            if chunk is None:
                reframer.finish()
                return
            reframer.feed(chunk)
        self.disconnect()

    async def next_chunk(self, keepalive: KeepAlive) -> bytes | None:
        """Wait for the next chunk of a stream that is relayed to the client; None at its end."""
        keepalive.restart()
        until = asyncio.get_running_loop().time() + self._limits.idle
        try:
            return await self._chunk(partial(wait, until=until, gone=self._gone, keepalive=keepalive))
        except Expired:
            raise self._too_late(f"sent nothing in its stream for {self._limits.idle:g} seconds.") from None

    async def _chunk(self, waiting: Wait) -> bytes | None:
        """Wait for the next chunk. Raises `ClientGone` even if there is one: a stream without pauses always has one."""
        try:
            chunk = await self._current.chunk(waiting)
        except Exception:
            self.check_client()
            raise
        self.check_client()
        return chunk

    async def poll(self, seconds: float) -> None:
        """Wait before the next poll of a run in progress."""
        with timer(seconds) as over:
            await self.wait(over)

    async def pause(self, seconds: float) -> None:
        """Wait. Raises `ClientGone` if the client has left, and the disconnect cancels the resume."""
        with timer(seconds) as over:
            await wait(over, gone=self._gone)
        self.check_client()

    async def wait(self, future: Future, leaving: float = 0.0) -> None:
        """Wait for something that takes as long as the agent does. Raises `ClientGone` and `UpstreamTimeout`."""
        try:
            await wait(future, until=self._deadline, gone=self._gone, leaving=leaving, keepalive=self._keepalive)
        except Expired:
            raise self._too_late(f"did not respond to the resume within {self._limits.resume:g} seconds.") from None

    def check_client(self) -> None:
        """Raise `ClientGone` if the client has left, and the disconnect cancels the resume."""
        if self._gone is not None and self._gone.done():
            raise ClientGone

    def _too_late(self, what: str) -> UpstreamTimeout:
        """Give up the current exchange, and return the error for it."""
        self.abandon()
        self._late = True
        return UpstreamTimeout(f"The backend {what}")

    def cut(self) -> bool:
        """Shut down: send nothing more, and wait for nothing. True if the resume was not sent."""
        self.shut_down = self._late = True
        unsent = self._resume is None or self._resume.withdraw()
        self.abandon()
        return unsent

    def disconnect(self) -> None:
        """Disconnect from the current exchange."""
        if self._exchange is not None:
            self._exchange.disconnect()

    def abandon(self) -> None:
        """Disconnect from the current exchange, and log an exception that the app raises later."""
        if self._exchange is not None:
            self._exchange.abandon()

    async def wait_closed(self) -> None:
        """Wait until the app returns, unless the exchange was given up. Raises its exception after the response."""
        if self._exchange is not None and not self._late:
            await self._exchange.wait_closed()
