"""Detects the backend at start.

Some backends have no lookup: the shim learns their threads from the traffic, and must know the dialect before the first
run. A server that is not reachable yet is probed again. One that requires authentication is detected by the first
resume, which carries a client's credentials.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ap_resume_shim.core.errors import ResumeError, UpstreamTimeout, UpstreamUnreachable

logger = logging.getLogger("ap_resume_shim")

PATIENCE = 2.0
"""Seconds that the start waits for the first attempt."""
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between attempts; the last value repeats."""
_UNAVAILABLE = (502, 503, 504)


async def detect_at_start(detect: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
    """Wait up to `PATIENCE` seconds for the first attempt. Returns the task that makes the others, for the caller to
    cancel.
    """
    tried = asyncio.Event()
    task = asyncio.create_task(_until_detected(detect, tried))
    waiting = asyncio.create_task(tried.wait())
    await asyncio.wait((waiting,), timeout=PATIENCE)
    waiting.cancel()
    return task


async def _until_detected(detect: Callable[[], Awaitable[object]], tried: asyncio.Event) -> None:
    pauses = iter(PAUSES)
    while True:
        try:
            await detect()
            return
        except ResumeError as error:
            if not _is_unavailable(error):
                logger.warning(
                    "the backend could not be detected at start: %s Runs that pass before the first resume are not "
                    "observed, which ag-ui, acp and a2a 0.3 need: set the backend.",
                    error,
                )
                return
        finally:
            tried.set()
        await asyncio.sleep(next(pauses, PAUSES[-1]))


def _is_unavailable(error: ResumeError) -> bool:
    away = isinstance(error, UpstreamUnreachable | UpstreamTimeout)
    return away or error.metadata.get("upstream_status") in _UNAVAILABLE
