"""Runs one resume: carries out the steps of its flow.

It runs in a task of its own, so that neither a client that disconnects nor a middleware that times out can interrupt a
resume between sending and response. `on_disconnect` decides whether a disconnect cancels the run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, assert_never

from ap_resume_shim.core.errors import HoldLapsed, ResumeError, ShutDown, ShuttingDown, UpstreamUnrecognised
from ap_resume_shim.core.http import Headers
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.responses import REPLAYED
from ap_resume_shim.core.steps import (
    Ask,
    Attempt,
    AwaitCommit,
    CallGuard,
    ClientGone,
    Drain,
    EndStream,
    Entry,
    Flow,
    Join,
    MarkAccepted,
    MarkIdle,
    Now,
    OriginalResponse,
    Pause,
    Poll,
    ReadBody,
    ReadEvents,
    ReadHead,
    ReadLedger,
    ReadUntilIdle,
    RepeatClaim,
    Reply,
    Review,
    Send,
    SendChunk,
    SendOriginal,
    SendReply,
    StartStream,
    Step,
    StreamReply,
)
from ap_resume_shim.core.vendor_flow import NEW_TURN
from ap_resume_shim.runtime import clock
from ap_resume_shim.runtime import resume_log as logs
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.exchange import WrappedApp
from ap_resume_shim.runtime.incoming import IncomingResume
from ap_resume_shim.runtime.lookups import Commit, Lookups
from ap_resume_shim.runtime.relay import COMMENT, relay, relay_original
from ap_resume_shim.runtime.stepping import drive
from ap_resume_shim.runtime.turns import claim_in_turn
from ap_resume_shim.runtime.upstream import Upstream
from ap_resume_shim.runtime.waiting import KeepAlive

if TYPE_CHECKING:
    from ap_resume_shim.guard import GuardSession

logger = logging.getLogger("ap_resume_shim")


class Resumption:
    """One resume: its flow, its guard session, its client, and the wrapped app."""

    def __init__(
        self,
        flow: Flow,
        session: GuardSession,
        incoming: IncomingResume,
        *,
        app: WrappedApp,
        client: Client,
        line: logs.ResumeLine,
        ledger: Callable[[str | None], Awaitable[list[Entry]]],
    ) -> None:
        self._flow, self._session, self._client, self._line = flow, session, client, line
        self._mode, self._large, self._limits = incoming.resume.mode, incoming.large, app.limits
        self._thread, self._original, self._vendor = incoming.key.thread, incoming.original, incoming.vendor
        if line.policy is not None:
            line.policy.incoming = incoming
        self._lookups = Lookups(app, incoming.scope, ledger)
        self._commit = Commit(session, self._lookups, app.limits.commit)
        # Nothing may precede the backend's own response.
        interval = app.limits.keepalive if incoming.vendor is None else inf
        self._keepalive = KeepAlive(interval, self._send_keepalive)
        gone = client.gone if incoming.cancels else None
        self._upstream = Upstream(app, incoming.scope, gone=gone, keepalive=self._keepalive)
        self._head: Headers = ()
        self._accepted = self._reply_stored = self._streaming = False

    async def run(self) -> None:
        """Run the flow to its end: the response, and the work after it."""
        try:
            await drive(self._flow, self._line.observed(self._do), large=self._large)
        except ResumeError as error:
            await self._send_error(error)
        except ClientGone:
            pass
        except BaseException as error:
            self._line.record_failure(error)
            self._upstream.abandon()
            raise
        finally:
            self._line.write()
            self._flow.close()
            self._upstream.disconnect()
            await self._commit.end(at_once=self._upstream.shut_down)
            await self._session.close()
        # The app may run on after its response, as without the shim. An exception that it raises then is not swallowed.
        await self._upstream.wait_closed()

    async def _send_error(self, error: ResumeError) -> None:
        if self._upstream.shut_down:  # after a second cancellation the flow had no time to set it
            error.metadata.setdefault("resume_state", "consumed" if self._accepted else "unknown")
        if isinstance(error, UpstreamUnrecognised) and error.__cause__ is not None:
            logger.error("a response of the backend could not be read", exc_info=error.__cause__)
        self._line.record_failure(error)
        await self._store(self._client.error_reply(error))
        await self._client.send_error(error)

    async def _do(self, step: Step) -> Any:
        """Carry out a step. This task is cancelled only at shutdown; the flow then receives an error."""
        try:
            match step:  # the commonest steps first
                case CallGuard() | RepeatClaim() | MarkAccepted() | AwaitCommit() | MarkIdle():
                    return await self._guard(step)
                case Ask() | ReadUntilIdle() | ReadLedger():
                    with self._line.upstream:
                        return await self._lookups.do(step)
                case Send() | SendOriginal() | ReadHead() | Join() | ReadBody() | ReadEvents() | Drain() | Poll():
                    return await self._exchange(step)
                case Pause(seconds):
                    return await self._upstream.pause(seconds)
                case Now():
                    return clock.now()
                case SendReply() | StartStream() | SendChunk() | EndStream():
                    return await self._respond(step)
                case Review(attempt):
                    return await self._review(attempt)
                case _:
                    assert_never(step)
        except asyncio.CancelledError:
            raise (ShuttingDown() if self._upstream.cut() else ShutDown()) from None

    async def _review(self, attempt: Attempt) -> None:
        """Let the policy decide, which may take seconds: an answer whose client has left meanwhile is not sent."""
        assert self._line.policy is not None, "only a policy reviews"
        await self._line.policy.review(attempt)
        if self._vendor is None:  # else the backend decides what it means that the client has left
            self._upstream.check_client()

    async def _exchange(
        self, step: Send | SendOriginal | ReadHead | Join | ReadBody | ReadEvents | Drain | Poll
    ) -> Any:
        """Carry out a step that waits for the backend."""
        if isinstance(step, Send) or (isinstance(step, SendOriginal) and step.fenced):
            if self._line.policy is not None:
                await self._line.policy.before_send()
            await self._session.forward()
        with self._line.upstream:
            match step:
                case Send(request, grace):
                    return await self._upstream.send(request, self._fence, grace)
                case SendOriginal(fenced):
                    self._line.verdict = None if fenced else NEW_TURN
                    self._line.policy = self._line.policy if fenced else None  # a new turn is no resume
                    fence = self._fence if fenced else None
                    return await self._upstream.send_original(self._original, fence, self._client.send_interim)
                case ReadHead():
                    return await self._upstream.read_head()
                case Join(request):
                    return await self._upstream.join(request)
                case ReadBody():
                    return await self._upstream.read()
                case ReadEvents(grace, begun):
                    return await self._upstream.read_events(grace, begun)
                case Drain(reframer):
                    return await self._upstream.drain(reframer)
                case Poll(seconds):
                    return await self._upstream.poll(seconds)

    def _fence(self) -> None:
        if not self._session.still_held():
            raise HoldLapsed("The hold on the thread ended before this resume could be sent: nothing was sent.")

    async def _guard(self, step: CallGuard[Any] | RepeatClaim | MarkAccepted | AwaitCommit | MarkIdle) -> Any:
        """Carry out a step on the guard session."""
        match step:
            case CallGuard():
                result = await step.on(self._session)
                self._line.run_id = self._session.run_id
                return result
            case RepeatClaim(claim, seconds):
                attempt = partial(claim.on, self._session)
                return await claim_in_turn(self._thread, attempt, seconds, self._upstream.pause)
            case MarkAccepted(run_id, headers, commit):
                self._head, self._accepted = headers, True
                self._line.verdict, self._line.run_id = logs.ACCEPTED, run_id
                await self._session.mark_accepted(run_id, hold=commit is not None)
                if commit is not None:
                    self._commit.start(commit)
            case AwaitCommit():
                if (lookups := self._commit.task) is not None:
                    await self._upstream.wait(lookups)
            case MarkIdle():
                await self._session.mark_idle()
                await self._commit.stop()
        return None

    async def _respond(self, step: SendReply | StartStream | SendChunk | EndStream) -> None:
        """Carry out a step on the client's side."""
        match step:
            case SendReply(reply):
                await self._reply(reply)
                if self._line.verdict is not None:  # else it may follow: some answers are committed by their response
                    self._line.write()
            case StartStream(headers):
                self._streaming = True
                await self._client.start_stream(headers)
            case SendChunk(chunk):
                self._keepalive.restart()
                await self._client.send_bytes(chunk)
            case EndStream():
                self._streaming = False
                await self._client.finish()
                self._line.write()

    async def _reply(self, reply: Reply | StreamReply | OriginalResponse) -> None:
        if isinstance(reply, OriginalResponse):
            ended = self._session.mark_response_ended
            await relay_original(reply, self._client, self._upstream, self._line.upstream, ended)
            return
        if REPLAYED in reply.headers:
            self._line.verdict = logs.REPLAYED
        if isinstance(reply, StreamReply):
            await relay(reply, self._client, self._upstream, self._limits.keepalive, self._line.upstream)
        else:
            self._line.run_id = reply.value.get("run", reply.value).get("run_id") or self._line.run_id
            await self._store(reply)
            await self._client.send_reply(reply)

    async def _store(self, reply: Reply) -> None:
        """Store the first response for retries if the backend accepted the resume; else a retry is a new attempt.

        A retry of a vendor resume is refused.
        """
        if self._accepted and self._vendor is None and not self._reply_stored:
            self._reply_stored = True
            await self._session.keep(reply)

    async def _send_keepalive(self) -> None:
        """Send a keep-alive where one is allowed: white space before JSON, a comment in a stream."""
        if self._mode is Mode.WAIT:
            await self._client.keep_alive(self._head)
        elif self._streaming:
            await self._client.send_bytes(COMMENT)
