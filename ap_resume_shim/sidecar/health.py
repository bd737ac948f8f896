"""`Health`: liveness and readiness endpoints for process managers and load balancers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core import strictjson
from ap_resume_shim.core.errors import ResumeError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

FRESH = 1.0
"""Seconds for which a result is reused, so that frequent probes do not burden the backend."""
PATIENCE = 2.0
"""Seconds that the backend and the guard's store have to respond."""

Document = tuple[str, bytes]
"""Media type and content."""
HealthReport = tuple[int, dict[str, Any] | Document]
"""Status and body: JSON, or another document."""


class Health:
    """An ASGI app that serves `{prefix}/healthz` and `{prefix}/readyz`, and passes every other request to `app`.

    - `healthz`: 200 while the process serves requests.
    - `readyz`: 200 if `ready` returns the backend's name, else 503 with the reason; 503 while `draining`.
    - `report`, with the argument `report`: the counts of resumes by convention.
    - `metrics`, with the argument `metrics`: the metrics for Prometheus.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        prefix: str = "/-",
        ready: Callable[[], Awaitable[str]],
        report: Callable[[], dict[str, Any]] | None = None,
        metrics: Callable[[], Document] | None = None,
    ) -> None:
        """`ready`: for example `ResumeShim.ready`; its `ResumeError` is reported as the reason.

        `report`: for example `ResumeShim.report`. It has digests of callers, so it is not for the clients' port.

        `metrics`: for example `Metrics.render`.
        """
        self.app = app
        self.draining = False
        """True while the server shuts down; set by the server."""
        prefix = prefix.rstrip("/")
        self._answers = {f"{prefix}/healthz": self._alive, f"{prefix}/readyz": self._ready}
        if report is not None:
            self._answers[f"{prefix}/report"] = self._counts
            self._report = report
        if metrics is not None:
            self._answers[f"{prefix}/metrics"] = self._exposition
            self._metrics = metrics
        self._probe = ready
        self._probing: asyncio.Task[HealthReport] | None = None
        self._stale = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the endpoints; pass any other request on."""
        answer = self._answers.get(scope["path"]) if scope["type"] == "http" else None
        if answer is None:
            await self.app(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD"):
            await _reply(*await answer(), scope, send)
        else:
            await _reply(405, {"status": "unknown", "reason": "Use GET or HEAD."}, scope, send)

    async def _alive(self) -> HealthReport:
        return 200, {"status": "ok"}

    async def _counts(self) -> HealthReport:
        return 200, self._report()

    async def _exposition(self) -> HealthReport:
        return 200, self._metrics()

    async def _ready(self) -> HealthReport:
        """Run one probe at a time: concurrent and immediately following requests share its result."""
        if self.draining:
            return _unready("The sidecar is shutting down.")
        now = asyncio.get_running_loop().time()
        if self._probing is None or (self._probing.done() and now >= self._stale):
            self._probing = asyncio.create_task(self._run_probe())
        return await asyncio.shield(self._probing)

    async def _run_probe(self) -> HealthReport:
        try:
            async with asyncio.timeout(PATIENCE):
                return 200, {"status": "ready", "backend": await self._probe()}
        except ResumeError as error:
            return _unready(error.message)
        except TimeoutError:
            return _unready(f"The backend, or the guard's store, did not respond within {PATIENCE:g} seconds.")
        finally:
            self._stale = asyncio.get_running_loop().time() + FRESH


def _unready(reason: str) -> HealthReport:
    return 503, {"status": "unready", "reason": reason}


async def _reply(status: int, body: dict[str, Any] | Document, scope: Scope, send: Send) -> None:
    media_type, content = body if isinstance(body, tuple) else ("application/json", strictjson.dumps(body))
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI app that responds with 404: the app behind `Health` on a port of its own."""
    reason = "Only healthz, readyz and report exist here, and metrics with the extra prometheus."
    await _reply(404, {"status": "unknown", "reason": reason}, scope, send)
