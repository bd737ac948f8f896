"""Metrics for Prometheus (needs the extra `prometheus`).

    app = ResumeShim(app, telemetry=[Metrics()])

No label contains the name of a thread, a run or a caller; the values of each label are a closed list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder

from ap_resume_shim.core.errors import REFUSAL_CODES, ResumeError
from ap_resume_shim.core.vendor_estimate import WOULD_ACCEPT
from ap_resume_shim.core.vendor_flow import NEW_TURN
from ap_resume_shim.guard import Guard, GuardSession, Moment, ResumeKey
from ap_resume_shim.runtime import resume_log as logs
from ap_resume_shim.runtime.resume_log import RESUME
from ap_resume_shim.runtime.telemetry import ResumeRecord, Telemetry
from ap_resume_shim.runtime.vendor_observation import NOT_EXAMINED, UNCLEAR

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ap_resume_shim.core.steps.guard import Contention

__all__ = ["Metrics"]

PREFIX = "ap_resume_shim_"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds: a background resume takes milliseconds, the run of an agent takes minutes."""
UNKNOWN, OTHER = "unknown", "other"
"""Labels of a backend that was not detected, and of a verdict that is not in the list: an error of another package."""
_LABELS = ("backend", "convention", "mode")


def _codes(kind: type[ResumeError]) -> Iterator[str]:
    if isinstance(kind.code, str):
        yield kind.code
    for each in kind.__subclasses__():
        yield from _codes(each)


class Metrics(Telemetry):
    """The metrics of one shim, or of several in the same process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register the metrics. Raises `ValueError` if `registry` already has them."""
        self.registry = registry
        self._verdicts = {*_codes(ResumeError), *REFUSAL_CODES.values(), NEW_TURN, WOULD_ACCEPT, NOT_EXAMINED, UNCLEAR}
        self._verdicts |= {logs.ACCEPTED, logs.REPLAYED, logs.CANCELLED, logs.BACKEND_REFUSED, logs.CLIENT_LEFT}
        self._resumes = Counter(
            f"{PREFIX}resumes", "Resumes whose response has ended.", (*_LABELS, "verdict"), registry=registry
        )
        self._duration = Histogram(
            f"{PREFIX}resume_duration_seconds",
            "Time from the head of a resume to the end of its response.",
            _LABELS,
            buckets=BUCKETS,
            registry=registry,
        )
        self._upstream = Histogram(
            f"{PREFIX}upstream_seconds",
            "Part of the duration of a resume that the shim waited for the backend.",
            _LABELS,
            buckets=BUCKETS,
            registry=registry,
        )
        self._observed = Counter(
            f"{PREFIX}observed_resumes",
            "Answers in the backend's own convention that passed (vendor_resumes=observe); the verdict is estimated.",
            ("backend", "convention", "verdict"),
            registry=registry,
        )
        self._held = _gauge("held_threads", "Threads that this process holds for a resume.", registry)
        self._errors = Counter(
            f"{PREFIX}guard_errors", "Calls to the shared store of the guard that failed.", registry=registry
        )
        self._streams = _gauge(
            "open_streams", "Event streams that are open to clients, passed ones included.", registry
        )
        self._passed = Counter(
            f"{PREFIX}passed_requests",
            "Requests and WebSockets that have ended and are not resumes.",
            registry=registry,
        )

    def render(self) -> tuple[str, bytes]:
        """Return the metrics of the registry in Prometheus's text format: its media type, and the text."""
        encode, media_type = choose_encoder("")
        return media_type, encode(self.registry)

    def around_clients(self, app: ASGIApp) -> ASGIApp:
        """Count the requests that pass, and the open streams."""
        return _Counted(app, self._passed, self._streams)

    def around_guard(self, guard: Guard) -> Guard:
        """Count the threads that are held, and the errors of the store."""
        if hasattr(guard, "on_error"):
            guard.on_error = self._errors.inc
        return cast("Guard", _CountedGuard(guard, self._held))

    def resume_ended(self, scope: Scope, record: ResumeRecord) -> None:
        """Count a resume."""
        labels = record.backend or UNKNOWN, record.convention, record.mode
        self._resumes.labels(*labels, self._known(record.verdict)).inc()
        self._duration.labels(*labels).observe(record.seconds)
        self._upstream.labels(*labels).observe(record.upstream_seconds)

    def vendor_resume_passed(self, backend: str, convention: str, verdict: str) -> None:
        """Count a vendor resume that was observed."""
        self._observed.labels(backend, convention, self._known(verdict)).inc()

    def _known(self, verdict: str) -> str:
        return verdict if verdict in self._verdicts else OTHER


def process_registry() -> CollectorRegistry:
    """Return a new registry with the metrics of this process: processor time, memory, open files, Python."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


def _gauge(name: str, description: str, registry: CollectorRegistry) -> Gauge:
    return Gauge(PREFIX + name, description, registry=registry, multiprocess_mode="livesum")


class _Counted:
    """An app whose requests and streams are counted."""

    def __init__(self, app: ASGIApp, passed: Counter, streams: Gauge) -> None:
        self.app, self._passed, self._streams = app, passed, streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        streaming = False

        async def counting(message: Message) -> None:
            nonlocal streaming
            if message["type"] == "http.response.start" and _is_stream(message):
                streaming = True
                self._streams.inc()
            elif streaming and message["type"] == "http.response.body" and not message.get("more_body", False):
                streaming = False  # the app may run on after its response
                self._streams.dec()
            await send(message)

        try:
            await self.app(scope, receive, counting)
        finally:
            if streaming:
                self._streams.dec()
            if RESUME not in scope:
                self._passed.inc()


def _is_stream(start: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream")
        for name, value in start.get("headers", ())
    )


class _CountedGuard:
    """A guard whose held threads are counted."""

    def __init__(self, guard: Guard, held: Gauge) -> None:
        self._guard, self._held = guard, held

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guard, name)

    def begin(self, resume_key: ResumeKey, arrived: Moment = None) -> GuardSession:
        return cast("GuardSession", _CountedSession(self._guard.begin(resume_key, arrived), self._held))


class _CountedSession:
    """A session that holds its thread from its claim to its release."""

    def __init__(self, session: GuardSession, held: Gauge) -> None:
        self._session, self._held = session, held
        self._holds = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def claim(self, answered: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> Contention | None:
        contention = await self._session.claim(answered, seen)
        if contention is None and not self._holds:
            self._holds = True
            self._held.inc()
        return contention

    async def mark_accepted(self, run_id: str | None = None, *, hold: bool = False) -> None:
        await self._session.mark_accepted(run_id, hold=hold)
        if not hold:
            self._release()

    async def mark_committed(self) -> None:
        await self._session.mark_committed()
        self._release()

    async def mark_rejected(self) -> None:
        await self._session.mark_rejected()
        self._release()

    async def close(self) -> None:
        try:
            await self._session.close()
        finally:
            self._release()

    def _release(self) -> None:
        if self._holds:
            self._holds = False
            self._held.dec()
