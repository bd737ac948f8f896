"""`Health`: whether the sidecar is alive, and whether it is of use, for those who start and stop it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import ResumeError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

FRESH = 1.0
"""Seconds for which what was found out is told again: those who ask often do not burden the backend."""
PATIENCE = 2.0
"""Seconds that the backend and the guard's store have to answer."""

HealthReport = tuple[int, dict[str, Any]]


class Health:
    """An ASGI app around another: answers `{prefix}/healthz` and `{prefix}/readyz`, and passes on what is none of them.

    - `healthz` is 200 as long as the process serves.
    - `readyz` is 200 when `ready` tells the name of the backend, else 503 with the reason; 503 while `draining`.
    """

    def __init__(self, app: ASGIApp, *, prefix: str = "/-", ready: Callable[[], Awaitable[str]]) -> None:
        """`ready`: such as `ResumeShim.ready`; a `ResumeError` is the reason why not."""
        self.app = app
        self.draining = False
        """Whether what is under way is the last; set from outside."""
        prefix = prefix.rstrip("/")
        self._answers = {f"{prefix}/healthz": self._alive, f"{prefix}/readyz": self._ready}
        self._ask = ready
        self._asking: asyncio.Task[HealthReport] | None = None
        self._stale = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        answer = self._answers.get(scope["path"]) if scope["type"] == "http" else None
        if answer is None:
            await self.app(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD"):
            await _reply(*await answer(), scope, send)
        else:
            await _reply(405, {"status": "unknown", "reason": "Ask with GET or HEAD."}, scope, send)

    async def _alive(self) -> HealthReport:
        return 200, {"status": "ok"}

    async def _ready(self) -> HealthReport:
        """One question at a time: whoever asks meanwhile, or soon after, is told its outcome."""
        if self.draining:
            return _unready("The sidecar is shutting down.")
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and now >= self._stale):
            self._asking = asyncio.create_task(self._find_out())
        return await asyncio.shield(self._asking)

    async def _find_out(self) -> HealthReport:
        try:
            async with asyncio.timeout(PATIENCE):
                return 200, {"status": "ready", "backend": await self._ask()}
        except ResumeError as error:
            return _unready(error.message)
        except TimeoutError:
            return _unready(f"The backend, or the guard's store, did not answer within {PATIENCE:g} seconds.")
        finally:
            self._stale = asyncio.get_running_loop().time() + FRESH


def _unready(reason: str) -> HealthReport:
    return 503, {"status": "unready", "reason": reason}


async def _reply(status: int, body: dict[str, Any], scope: Scope, send: Send) -> None:
    content = strictjson.dumps(body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """The app that has nothing: what is around health on a port of its own."""
    await _reply(404, {"status": "unknown", "reason": "There is nothing here but healthz and readyz."}, scope, send)
