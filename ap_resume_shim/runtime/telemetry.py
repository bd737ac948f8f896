"""Telemetry: the interface by which metrics and traces observe the resumes of a shim, and its other requests.

A shim without telemetry creates plain `ResumeLine`s and wraps nothing, so it has no cost.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from ap_resume_shim.core.steps import Ask, CallGuard, MarkAccepted, ReadLedger, ReadUntilIdle, Send, SendOriginal, Step
from ap_resume_shim.guard import Guard
from ap_resume_shim.runtime.resume_log import ResumeLine
from ap_resume_shim.runtime.vendor_counts import DRAFT

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope

    from ap_resume_shim.core.protocol import Mode
    from ap_resume_shim.runtime.client import Client

logger = logging.getLogger("ap_resume_shim")

FAILED = "the telemetry failed; the resume is not affected"
"""The line of the log for an exception of the telemetry."""

Event = Literal["lookup", "claimed", "sending", "accepted"]
"""A lookup has ended; the thread is held; the resume is about to be sent; the backend has accepted it."""


@dataclass(frozen=True, slots=True)
class ResumeRecord:
    """The outcome of one resume; the fields are those of its log line."""

    backend: str | None
    convention: str
    """`DRAFT` for the three routes, else that of a vendor resume."""
    mode: str
    verdict: str
    status: int | None
    ended: str
    seconds: float
    upstream_seconds: float
    thread_id: str | None
    run_id: str | None


class Telemetry:
    """Observes a shim. Subclasses override the methods that they need; these do nothing.

    The scope of its request identifies a resume; a subclass can store its own data of the resume there.
    """

    def around_clients(self, app: ASGIApp) -> ASGIApp:
        """Wrap an app that serves clients' requests; a resume is one whose scope has `RESUME` when it has ended."""
        return app

    def around_backend(self, app: ASGIApp, origin: str) -> ASGIApp:
        """Wrap the app that receives the requests of resumes. `origin` is a `ReverseProxy`'s address, else empty."""
        return app

    def around_guard(self, guard: Guard) -> Guard:
        """Wrap the guard."""
        return guard

    def resume_began(self, scope: Scope, convention: str) -> None:
        """Called when a resume has arrived."""

    def resume_reached(self, scope: Scope, event: Event) -> None:
        """Called when a resume has reached a stage."""

    def resume_ended(self, scope: Scope, record: ResumeRecord) -> None:
        """Called when the response to a resume has ended."""

    def vendor_resume_passed(self, backend: str, convention: str, verdict: str) -> None:
        """Called when a vendor resume has passed, with an estimated verdict."""


class Combined(Telemetry):
    """Several telemetries as one. An exception in one of them is logged: it must not break a resume."""

    def __init__(self, each: Sequence[Telemetry]) -> None:
        self._each = tuple(each)

    def lines(self) -> Callable[..., ResumeLine]:
        """Return the function that creates the log line of a resume; its arguments are those of `ResumeLine`."""
        return partial(ObservedLine, self) if self._each else ResumeLine

    def around_clients(self, app: ASGIApp) -> ASGIApp:
        """Wrap the app in each."""
        for one in self._each:
            app = one.around_clients(app)
        return app

    def around_backend(self, app: ASGIApp, origin: str) -> ASGIApp:
        """Wrap the app in each."""
        for one in self._each:
            app = one.around_backend(app, origin)
        return app

    def around_guard(self, guard: Guard) -> Guard:
        """Wrap the guard in each."""
        for one in self._each:
            guard = one.around_guard(guard)
        return guard

    def resume_began(self, scope: Scope, convention: str) -> None:
        """Notify each."""
        self._notify(lambda one: one.resume_began(scope, convention))

    def resume_reached(self, scope: Scope, event: Event) -> None:
        """Notify each."""
        self._notify(lambda one: one.resume_reached(scope, event))

    def resume_ended(self, scope: Scope, record: ResumeRecord) -> None:
        """Notify each."""
        self._notify(lambda one: one.resume_ended(scope, record))

    def vendor_resume_passed(self, backend: str, convention: str, verdict: str) -> None:
        """Notify each."""
        self._notify(lambda one: one.vendor_resume_passed(backend, convention, verdict))

    def _notify(self, call: Callable[[Telemetry], None]) -> None:
        for one in self._each:
            try:
                call(one)
            except Exception:
                logger.exception(FAILED)


class ObservedLine(ResumeLine):
    """A line whose resume is observed."""

    def __init__(
        self, telemetry: Telemetry, scope: Scope, mode: Mode, client: Client, convention: str | None = None
    ) -> None:
        super().__init__(scope, mode, client, convention)
        self._telemetry = telemetry
        telemetry.resume_began(scope, convention or DRAFT)

    def observed(self, do: Callable[[Step], Awaitable[Any]]) -> Callable[[Step], Awaitable[Any]]:
        """Return `do`, which carries out a step, with a call of `resume_reached` for each event."""

        async def observed(step: Step) -> Any:
            if isinstance(step, Send) or (isinstance(step, SendOriginal) and step.fenced):
                self._telemetry.resume_reached(self._scope, "sending")
            result = await do(step)
            if (event := _event(step, result)) is not None:
                self._telemetry.resume_reached(self._scope, event)
            return result

        return observed

    def write(self) -> None:
        """Write the line, and notify the telemetry, once."""
        if self._written:
            return
        super().write()
        record = ResumeRecord(
            backend=self.backend,
            convention=self._convention or DRAFT,
            mode=self._mode.name.lower(),
            verdict=self.outcome,
            status=self._client.status,
            ended=self._client.ended,
            seconds=perf_counter() - self._since,
            upstream_seconds=self.upstream.seconds,
            thread_id=self.thread_id,
            run_id=self.run_id,
        )
        self._telemetry.resume_ended(self._scope, record)


def _event(step: Step, result: Any) -> Event | None:
    match step:
        case Ask() | ReadUntilIdle() | ReadLedger():
            return "lookup"
        case CallGuard(method="claim") if result is None:
            return "claimed"
        case MarkAccepted():
            return "accepted"
        case _:
            return None
