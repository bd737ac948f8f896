"""`observe`: vendor resumes pass unchanged and without delay, and what became of them is reported.

No request of the shim precedes the original: the lookup starts when the app has received the whole body. The guard
learns of an acceptance, so that it refuses a resume of the draft that was overtaken by one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.errors import GuardUnavailable
from ap_resume_shim.core.http import Response
from ap_resume_shim.core.steps import CallGuard, Flow, Step, Steps
from ap_resume_shim.core.vendor_resume import VendorResume
from ap_resume_shim.runtime.lookups import Lookups
from ap_resume_shim.runtime.stepping import drive

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Send

    from ap_resume_shim.guard import GuardSession

logger = logging.getLogger("ap_resume_shim")

NOT_EXAMINED = "not_examined"
"""The verdict on a request whose body could not be read, or that could not be looked up."""
_LARGEST_RESPONSE = 64 * 1024
"""Bytes of a response that are read to see whether the backend took the answer."""

Recognised = Callable[[bytes | None], "Observation | None"]


class Observation:
    """One vendor resume that passes."""

    def __init__(
        self,
        vendor: VendorResume,
        verdict: Steps[str],
        session: GuardSession,
        lookups: Lookups,
        report: Callable[[str], None],
    ) -> None:
        """`verdict` estimates the verdict; `report` gets it when the response is known, too."""
        self.vendor, self._verdict_flow, self._session, self._lookups = vendor, verdict, session, lookups
        self._report = report
        self._took: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    def decide(self, took: bool) -> None:
        """The backend took the answer, or refused it. Only the first decision counts."""
        if not self._took.done():
            self._took.set_result(took)

    async def _run(self) -> None:
        verdict, _ = await asyncio.gather(self._estimate_or_log(), self._mark_accepted())
        await self._session.close()
        self._report(verdict)

    async def _mark_accepted(self) -> None:
        """Mark the resume as accepted when the response shows it; the lookup may still be in progress."""
        if await self._took:
            await self._session.mark_accepted()

    async def _estimate_or_log(self) -> str:
        try:
            verdict = await self._estimate()
            return NOT_EXAMINED if verdict == GuardUnavailable.code else verdict
        except Exception:
            logger.warning("a vendor resume could not be examined", exc_info=True)
            return NOT_EXAMINED

    async def _estimate(self) -> str:
        verdict = NOT_EXAMINED

        def flow() -> Flow:
            nonlocal verdict
            verdict = yield from self._verdict_flow

        await drive(flow(), self._do)
        return verdict

    async def _do(self, step: Step) -> Any:
        return await (step.on(self._session) if isinstance(step, CallGuard) else self._lookups.do(step))


class ObservedExchange:
    """The messages of a request and its response, as they pass."""

    def __init__(self, receive: Receive, send: Send, limit: int, recognised: Recognised) -> None:
        """`limit`: bytes of a body that are kept; `recognised` gets the whole body, or None if it is larger."""
        self._receive, self._send, self._limit, self._recognised = receive, send, limit, recognised
        self._body: bytearray | None = bytearray()
        self._observation: Observation | None = None
        self._response: tuple[int, Any] | None = None
        self._read = bytearray()

    async def receive(self) -> Message:
        """Return the next message; recognise the request when its body is complete."""
        message = await self._receive()
        if message["type"] == "http.request" and self._body is not None:
            self._body += message.get("body", b"")
            if len(self._body) > self._limit:
                self._body = None
                self._recognise(None)
            elif not message.get("more_body", False):
                body, self._body = bytes(self._body), None
                self._recognise(body)
        return message

    def _recognise(self, body: bytes | None) -> None:
        try:
            self._observation = self._recognised(body)
        except Exception:  # a fault of the shim is no reason to disturb a request that passes
            logger.exception("a request could not be examined")

    async def send(self, message: Message) -> None:
        """Pass a message on; decide whether the backend took the answer."""
        await self._send(message)
        if self._observation is None:
            return
        if message["type"] == "http.response.start":
            self._response = message["status"], message.get("headers", ())
            if not 200 <= message["status"] < 300:
                self._observation.decide(message["status"] >= 500)  # it is unknown after a 5xx
            elif not self._reads_body(self._observation.vendor):
                self._observation.decide(True)
        elif message["type"] == "http.response.body" and self._response is not None:
            if len(self._read) <= _LARGEST_RESPONSE:
                self._read += message.get("body", b"")
            if not message.get("more_body", False):
                self._decide_by_body(self._observation)

    def _reads_body(self, vendor: VendorResume) -> bool:
        return vendor.convention.reads_body(vendor, self._head())

    def _head(self) -> Response:
        status, headers = self._response or (200, ())
        return Response(status, tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers))

    def _decide_by_body(self, observation: Observation) -> None:
        response = replace(self._head(), body=bytes(self._read))
        try:
            observation.decide(observation.vendor.convention.took(observation.vendor, response))
        except Exception:
            observation.decide(True)

    def end(self) -> None:
        """The exchange is over: an answer whose response did not come may have been taken."""
        if self._observation is not None:
            self._observation.decide(True)
