"""Detects the backend beside a request that passes: in `observe`, nothing may delay it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.runtime.log_lines import printable, truncate
from ap_resume_shim.runtime.vendor_websocket import request_scope

if TYPE_CHECKING:
    from starlette.types import Scope

logger = logging.getLogger("ap_resume_shim")

PAUSE = 30.0
"""Seconds after an attempt that failed, in which there is no other."""


class DetectionBeside:
    """Detects the backend in the background, with the credentials of a request."""

    def __init__(self, detect: Callable[[Scope], Awaitable[object]]) -> None:
        self._detect = detect
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0
        self._reason = ""

    def begin(self, scope: Scope) -> None:
        """Begin an attempt, unless one is in progress, or failed a moment ago."""
        loop = asyncio.get_running_loop()
        if (self._task is None or self._task.done()) and loop.time() >= self._next:
            self._task = loop.create_task(self.attempt(scope))

    async def attempt(self, scope: Scope) -> None:
        """Detect the backend, and log why it is not detected: each reason once in a row."""
        try:
            await self._detect(request_scope(scope))
        except ResumeError as error:
            self._next = asyncio.get_running_loop().time() + PAUSE
            if error.reason != self._reason:
                self._reason = error.reason
                reason = printable(truncate(error.reason))
                logger.warning("the backend was not detected, vendor resumes pass: %s", reason)
