"""`observe`: vendor resumes pass unchanged and without delay, and are counted with the verdict that they would have
received in `guard`.

No request of the shim precedes the original: the examination starts when the app has received the whole body. The guard
records an acceptance, so that it refuses a resume of the draft that arrived before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.errors import GuardUnavailable, ResumeError, ResumeInProgress, ThreadBusy
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import CallGuard, Step
from ap_resume_shim.core.vendor_estimate import MAY_RESULT_FROM_ANSWER, WOULD_ACCEPT, Estimate, estimate
from ap_resume_shim.core.vendor_flow import NEW_TURN
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume
from ap_resume_shim.guard import Guard, GuardSession, Moment, ResumeKey
from ap_resume_shim.runtime.bodies import Bodies
from ap_resume_shim.runtime.incoming import IncomingResume
from ap_resume_shim.runtime.lookups import Lookups
from ap_resume_shim.runtime.naming import DOUBLE_CLICK, Naming
from ap_resume_shim.runtime.observed_exchange import ObservedExchange
from ap_resume_shim.runtime.resume_log import write_observed
from ap_resume_shim.runtime.stepping import drive
from ap_resume_shim.runtime.telemetry import Telemetry
from ap_resume_shim.runtime.vendor_counts import VendorCounts
from ap_resume_shim.runtime.vendor_resumes import locate, read_vendor

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

logger = logging.getLogger("ap_resume_shim")

NOT_EXAMINED = "not_examined"
"""The verdict on a request whose body could not be read, or whose thread could not be looked up."""
UNCLEAR = "unclear"
"""The verdict if the lookup may show the thread after the answer, so that the answer may have caused the state."""
_CLICKS = 10_000
"""Maximum number of answers that are remembered to recognise double clicks."""

LookupsOf = Callable[["Scope", str], Lookups]


@dataclass(frozen=True)
class _Answer:
    """One vendor resume that passes."""

    scope: Scope
    vendor: VendorResume
    exchange: ObservedExchange
    arrived: Moment


class _Clicks:
    """Recent answers of this process: one that is repeated is a double click.

    If two of them are in progress at once, the guard shows which was accepted first.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def repeats(self, key: ResumeKey) -> bool:
        """Return True if an answer repeats one that is remembered."""
        return self._until.get(str(key.repeat), 0.0) > asyncio.get_running_loop().time()

    def remember(self, key: ResumeKey, until: float) -> None:
        """Remember an answer until a time of the loop."""
        self.forget(key)
        self._until |= dict.fromkeys((str(key.repeat), str(key.unnamed)), until)
        while len(self._until) > _CLICKS:
            del self._until[next(iter(self._until))]

    def forget(self, key: ResumeKey) -> None:
        """Forget an answer: the guard would have refused it."""
        for each in (str(key.repeat), str(key.unnamed)):
            self._until.pop(each, None)


class VendorObserver:
    """Observes the vendor resumes of one backend."""

    def __init__(
        self,
        naming: Naming,
        guard: Guard,
        bodies: Bodies,
        lookups: LookupsOf,
        counts: VendorCounts,
        *,
        typed_answers: bool,
        telemetry: Telemetry,
    ) -> None:
        """`lookups` returns the lookups of a request on a thread. `typed_answers`: as in `FlowSettings`."""
        self._naming = replace(naming, window=max(naming.window, DOUBLE_CLICK))
        self._guard, self._bodies, self._lookups, self._counts = guard, bodies, lookups, counts
        self._typed_answers, self._telemetry = typed_answers, telemetry
        self._clicks = _Clicks()
        self._tasks: set[asyncio.Task[None]] = set()

    def exchange(
        self, conventions: list[Convention], request: ClientRequest, scope: Scope, receive: Receive, send: Send
    ) -> ObservedExchange:
        """Return the exchange of a request that may be a vendor resume. It is examined when its body is complete."""

        def received(body: bytes | None) -> None:
            if body is None or request.header("content-encoding") not in (None, "identity"):
                exchange.forget()
                self._report(scope, conventions[0].name, NOT_EXAMINED)
            else:
                self._start(self._observe(scope, conventions, replace(request, body=body), exchange))

        exchange = ObservedExchange(receive, send, self._bodies, received)
        return exchange

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _observe(
        self, scope: Scope, conventions: list[Convention], request: ClientRequest, exchange: ObservedExchange
    ) -> None:
        """Examine a request, and report it if it is a vendor resume."""
        convention, thread_id, verdict, vendor = conventions[0].name, None, NOT_EXAMINED, None
        arrived = self._guard.now()
        try:
            vendor = await read_vendor(conventions, request)
            if vendor is None:
                return
            convention, thread_id = vendor.convention.name, vendor.thread_id
            thread_id = thread_id or await locate(vendor, self._naming.dialect, self._lookups(scope, ""))
            verdict = await self._examine(_Answer(scope, vendor, exchange, arrived), thread_id)
        except ResumeError as error:
            verdict = NOT_EXAMINED if error.http_status >= 500 else error.code
        except Exception:
            logger.warning("a vendor resume could not be examined", exc_info=True)
        finally:
            exchange.forget()
        mode = None if vendor is None else vendor.mode
        self._report(scope, convention, verdict, thread_id=thread_id, mode=mode)

    async def _examine(self, answer: _Answer, thread_id: str) -> str:
        """Return the estimated verdict, and mark an accepted answer in the guard."""
        incoming = IncomingResume.from_vendor(answer.scope, answer.vendor, thread_id, self._naming)
        repeated, window = self._clicks.repeats(incoming.key), self._naming.window
        session = self._guard.begin(incoming.key, answer.arrived)
        try:
            judged = self._judge(answer, incoming.resume, session)
            accepted = self._accepted(answer, session, incoming.key, asyncio.get_running_loop().time() + window)
            (estimated, late), (took, overtaken) = await asyncio.gather(judged, accepted)
        finally:
            await session.close()
        verdict, made = estimated.verdict, answer.exchange.made(estimated.run_id)
        late = late if made is None else made
        # A thread may be busy with the answer before the response begins.
        if took and verdict in MAY_RESULT_FROM_ANSWER and (late or verdict == ThreadBusy.code):
            verdict = UNCLEAR
        if (repeated or overtaken) and verdict in (WOULD_ACCEPT, NEW_TURN, UNCLEAR, *MAY_RESULT_FROM_ANSWER):
            return ResumeInProgress.code
        if verdict not in (WOULD_ACCEPT, UNCLEAR):
            self._clicks.forget(incoming.key)
        return verdict

    async def _accepted(
        self, answer: _Answer, session: GuardSession, key: ResumeKey, repeats_until: float
    ) -> tuple[bool, bool]:
        """Wait for the response, and mark the answer as accepted if the backend took it.

        Returns whether it did, and whether the guard has another acceptance since the arrival.
        """
        took = await answer.exchange.took(answer.vendor)
        try:
            overtaken = await session.rival() == "accepted"
        except GuardUnavailable:
            overtaken = False
        if took:
            self._clicks.remember(key, repeats_until)
            await session.mark_accepted()
        return took, overtaken

    async def _judge(self, answer: _Answer, resume: Resume, session: GuardSession) -> tuple[Estimate, bool]:
        """Return the estimate, and whether the response had begun before the lookup ended. Never raises."""
        lookups = self._lookups(answer.scope, resume.thread_id)

        async def do(step: Step) -> Any:
            return await (step.on(session) if isinstance(step, CallGuard) else lookups.do(step))

        flow = estimate(answer.vendor, resume, self._naming.dialect, typed_answers=self._typed_answers)
        estimated = Estimate(NOT_EXAMINED)
        try:
            estimated = await drive(flow, do)
        except Exception as error:
            if not isinstance(error, ResumeError):
                logger.warning("a vendor resume could not be examined", exc_info=True)
        return estimated, answer.exchange.responded

    def _report(
        self, scope: Scope, convention: str, verdict: str, *, thread_id: str | None = None, mode: Any = None
    ) -> None:
        self._counts.count(scope, convention, verdict)
        self._telemetry.vendor_resume_passed(self._naming.dialect.name, convention, verdict)
        write_observed(
            scope,
            thread_id=thread_id,
            backend=self._naming.dialect.name,
            mode=mode,
            convention=convention,
            verdict=verdict,
        )
