"""Detects the backend when a request that may be a vendor resume arrives: before the request is sent (`guard`), or
concurrently, without a delay (`observe`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from ap_resume_shim.core.errors import ResumeError, UpstreamError, UpstreamFailure, UpstreamUnrecognised
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.log_lines import printable, truncate
from ap_resume_shim.runtime.vendor_websocket import request_scope

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

PAUSE = 30.0
"""Minimum time between a failed attempt and the next one, in seconds, in `observe`."""


class DetectionBeside:
    """Detects the backend in the background, with the credentials of a request."""

    def __init__(
        self, detect: Callable[[Scope], Awaitable[object]], around_clients: Callable[[ASGIApp], ASGIApp]
    ) -> None:
        """`around_clients` is the telemetry's method, for a request that is refused here, before any other app."""
        self._detect, self._around_clients = detect, around_clients
        self._task: asyncio.Task[ResumeError | None] | None = None
        self._next = 0.0
        self._reason = ""

    def begin(self, scope: Scope) -> None:
        """Begin an attempt, unless one is in progress, or one has failed within `PAUSE` seconds."""
        if asyncio.get_running_loop().time() >= self._next:
            self._attempt_in_progress(scope)

    def _attempt_in_progress(self, scope: Scope) -> asyncio.Task[ResumeError | None]:
        """Return the attempt that is in progress; without one, begin it."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._attempt(scope))
        return self._task

    async def admit(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Detect the backend first, and return True if the request may go on.

        If the detection fails, the request is refused, since it may be an answer. It goes on if the backend is of no
        known kind, or if the backend refuses the caller, who must be able to log in.
        """
        failure = await asyncio.shield(self._attempt_in_progress(scope))
        if failure is not None and not isinstance(failure, UpstreamFailure):
            failure = await self._attempt(scope)  # the credentials may have been another caller's
        if not isinstance(failure, UpstreamFailure) or isinstance(failure, UpstreamUnrecognised):
            return True
        await self._around_clients(partial(_refuse, failure))(scope, receive, send)
        return False

    async def _attempt(self, scope: Scope) -> ResumeError | None:
        """Detect the backend; return the reason if it is not detected. A reason that repeats is logged once."""
        raised: Exception | None = None
        try:
            await self._detect(request_scope(scope))
            return None
        except ResumeError as error:
            failure = error
        except Exception as error:  # an app in the same process may raise any exception
            failure, raised = UpstreamError("The backend failed. Look into its log."), error
        self._next = asyncio.get_running_loop().time() + PAUSE
        if failure.reason != self._reason:
            self._reason = failure.reason
            logger.warning("the backend was not detected: %s", printable(truncate(failure.reason)), exc_info=raised)
        return failure


async def _refuse(failure: ResumeError, scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI app that refuses a request."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})
    else:
        await Client(scope, receive, send, base="").send_error(failure)
