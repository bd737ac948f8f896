"""One resume under way: does the steps of its flow, and answers the client.

It runs as a task of its own, so that neither a client that leaves nor an outer middleware that gives up can cut a
resume off between sending and answer. What a leaving client means is decided by `on_disconnect`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

from ap_resume_shim.core import sse
from ap_resume_shim.core.asgi import FENCE
from ap_resume_shim.core.errors import (
    Broken,
    HoldLapsed,
    ResumeError,
    ShutDown,
    ShuttingDown,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnrecognised,
)
from ap_resume_shim.core.http import Headers, Request, Response
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.reframer import Reframer
from ap_resume_shim.core.responses import REPLAYED
from ap_resume_shim.core.steps import (
    Answer,
    Ask,
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
    Pause,
    Poll,
    ReadBody,
    ReadEvents,
    ReadHead,
    ReadLedger,
    ReadUntilIdle,
    Reply,
    Send,
    SendChunk,
    StartStream,
    Step,
    StreamReply,
)
from ap_resume_shim.runtime import client as replies
from ap_resume_shim.runtime import resume_log as logs
from ap_resume_shim.runtime.exchange import Exchange, ask, peek, synthesise
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.stepping import drive

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope

    from ap_resume_shim.guard import GuardSession

logger = logging.getLogger("ap_resume_shim")

T = TypeVar("T")

_LEAVING = 0.5
"""Seconds that a resume on its way is given to be accepted when its client has left."""


class Resumption:
    """A flow, its client, and the wrapped app."""

    def __init__(
        self,
        flow: Flow,
        arrival: GuardSession,
        *,
        app: ASGIApp,
        scope: Scope,
        prefix: str,
        client: replies.Client,
        mode: Mode,
        cancels: bool,
        limits: Limits,
        large: bool,
        line: logs.ResumeLine,
        ledger: Callable[[str | None], Awaitable[list[Entry]]],
    ) -> None:
        self._flow, self._arrival, self._limits, self._line = flow, arrival, limits, line
        self._large = large
        self._app, self._scope, self._prefix = app, scope, prefix
        self._client, self._mode, self._cancels = client, mode, cancels
        self._ledger = ledger
        self._sent: Exchange | None = None
        self._commit: asyncio.Task[None] | None = None
        self._head: Headers = ()
        self._resume: Exchange | None = None
        self._accepted = self._kept = self._late = self._telling = self._ends = False
        self._deadline = self._silent_since = 0.0

    async def run(self) -> None:
        """Do everything: the answer, and what is left to do after it."""
        try:
            await drive(self._flow, self._do_or_end, large=self._large)
        except ResumeError as error:
            if self._ends:  # a second cancellation leaves the flow no time to say it
                error.metadata.setdefault("resume_state", "consumed" if self._accepted else "unknown")
            if isinstance(error, UpstreamUnrecognised) and error.__cause__ is not None:
                logger.error("an answer of the backend could not be read", exc_info=error.__cause__)
            self._line.failed(error)
            await self._keep(Reply(error.http_status, error.body(), error.headers))
            await self._client.refuse(error)
        except ClientGone:
            pass
        except BaseException as error:
            self._line.failed(error)
            if self._sent is not None:
                self._sent.forget()
            raise
        finally:
            self._line.write()
            self._flow.close()
            if self._sent is not None:
                self._sent.leave()
            if self._commit is not None:
                if self._ends:
                    self._commit.cancel()
                await asyncio.wait({self._commit})
            await self._arrival.close()
        if self._sent is not None and not self._late:
            # The app may go on after its answer, as without the shim; what it raises then is not swallowed.
            await self._sent.end()

    async def _do_or_end(self, step: Step) -> Any:
        """Do a step. This task is cancelled only when the process ends: the flow is told, and answers for itself."""
        try:
            return await self._do(step)
        except asyncio.CancelledError:
            raise self._end() from None

    def _end(self) -> ShuttingDown | ShutDown:
        """Nothing more is sent, and nothing waited for."""
        self._ends = self._late = True
        unsent = self._resume is None or self._resume.withdraw()
        if self._sent is not None:
            self._sent.forget()
        return ShuttingDown() if unsent else ShutDown()

    async def _do(self, step: Step) -> Any:
        match step:
            case Ask() | ReadUntilIdle() | ReadLedger():
                with self._line.upstream:
                    return await self._look(step)
            case Poll(seconds):
                return await self._poll(seconds)
            case Pause(seconds):
                return await self._wait_or_disconnect(asyncio.sleep(seconds))
            case CallGuard():
                result = await step.on(self._arrival)
                self._line.run_id = self._arrival.run_id
                return result
            case MarkIdle():
                return await self._mark_idle()
            case Send(request, grace):
                return await self._send(request, grace)
            case ReadHead():
                return await self._read_head(self._open)
            case MarkAccepted(run_id, headers, commit):
                self._head, self._accepted = headers, True
                self._line.verdict, self._line.run_id = logs.ACCEPTED, run_id
                await self._arrival.mark_accepted(run_id, hold=commit is not None)
                if commit is not None:
                    self._commit = asyncio.create_task(self._see_committed(commit))
                return None
            case AwaitCommit():
                if self._commit is not None:
                    await self._wait_with_keepalive(asyncio.wait({self._commit}))
                return None
            case Join(request):
                return await self._open_exchange(request)
            case ReadBody():
                with self._line.upstream:
                    return await self._wait_with_keepalive(self._open.read())
            case ReadEvents(grace, begun):
                with self._line.upstream:
                    return await self._wait_or_disconnect(self._read_events(grace, begun))
            case Drain(reframer):
                return await self._drain(reframer)
            case Answer(reply):
                await self._answer(reply)
                return self._line.write()
            case StartStream(headers):
                self._telling = True
                return await self._client.start_stream(headers)
            case SendChunk(chunk):
                self._silent_since = asyncio.get_running_loop().time()
                return await self._client.send_bytes(chunk)
            case EndStream():
                self._telling = False
                await self._client.finish()
                return self._line.write()
            case _:
                assert_never(step)

    async def _answer(self, reply: Reply | StreamReply) -> None:
        if REPLAYED in reply.headers:
            self._line.verdict = logs.REPLAYED
        if isinstance(reply, StreamReply):
            await self._relay(reply)
        else:
            self._line.run_id = reply.value.get("run", reply.value).get("run_id") or self._line.run_id
            await self._keep(reply)
            await self._client.answer(reply)

    @property
    def _open(self) -> Exchange:
        assert self._sent is not None, "a flow reads after it sent"
        return self._sent

    async def _ask(self, requests: tuple[Request, ...]) -> tuple[Response, ...]:
        async with asyncio.TaskGroup() as group:
            # One failed lookup fails them all; the first failure is the one that counts.
            tasks = [group.create_task(self._one(request)) for request in requests]
        answers = [task.result() for task in tasks]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return tuple(answer for answer in answers if isinstance(answer, Response))

    async def _one(self, request: Request) -> Response | Exception:
        """One lookup. What only reads is asked again if it broke off: a kept connection may have been closing."""
        attempts = 2 if request.method == "GET" else 1
        while True:
            attempts -= 1
            try:
                return await ask(self._app, self._scope, self._prefix, request, self._limits.lookup)
            except Exception as error:
                if not attempts or not isinstance(error, UpstreamError):
                    return error

    async def _see_committed(self, commit: Flow) -> None:
        """Do the lookups that show the resume in the thread's state, and release the thread after them."""
        try:
            async with asyncio.timeout(self._limits.commit):
                await drive(commit, self._look)
        except TimeoutError:
            pass
        finally:
            commit.close()
        await self._arrival.mark_committed()

    async def _look(self, step: Step) -> Any:
        """A step of a lookup."""
        match step:
            case Ask(requests):
                return await self._ask(requests)
            case ReadUntilIdle():
                return await peek(self._app, self._scope, self._prefix, step, self._limits.lookup)
            case ReadLedger(thread_id):
                return await self._ledger(thread_id)
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case _:
                raise TypeError(f"{type(step).__name__} is no step of a lookup")

    async def _mark_idle(self) -> None:
        """A thread that was seen at rest after its run shows the resume."""
        await self._arrival.mark_idle()
        if self._commit is not None and not self._commit.done():
            self._commit.cancel()
            await self._arrival.mark_committed()

    async def _keep(self, reply: Reply) -> None:
        """Keep the first answer for those who ask again, if the backend took the resume: else it may come again."""
        if self._accepted and not self._kept:
            self._kept = True
            await self._arrival.keep(reply)

    async def _send(self, request: Request, grace: float | None) -> Response | None:
        await self._arrival.forward()
        return await self._open_exchange(request, fence=self._fence, grace=grace)

    def _fence(self) -> None:
        if not self._arrival.still_held():
            raise HoldLapsed("This resume was held up until its hold on the thread was over, and was not sent.")

    async def _open_exchange(
        self, request: Request, fence: Callable[[], None] | None = None, grace: float | None = None
    ) -> Response | None:
        """Send the request whose answer the client gets, up to the answer's head; None if the grace was too short."""
        scope = synthesise(self._scope, request, self._prefix)
        if fence is not None:
            scope[FENCE] = fence
        if fence is not None or not self._deadline:
            self._silent_since = asyncio.get_running_loop().time()
            self._deadline = self._silent_since + self._limits.resume
        if self._sent is not None:
            self._sent.forget()  # it found no connection, or has been read
        self._sent = exchange = Exchange(self._app, scope, request.body)
        if fence is not None:
            self._resume = exchange
        if grace is not None and not await exchange.answers_within(grace):
            return None
        return await self._read_head(exchange)

    async def _read_head(self, exchange: Exchange) -> Response:
        with self._line.upstream:
            status, headers = await self._wait_with_keepalive(exchange.head(), leaving=_LEAVING)
            if Response(status).ok:
                return Response(status, headers)
            return Response(status, headers, await self._wait_with_keepalive(exchange.read(), leaving=_LEAVING))

    async def _read_events(self, grace: float | None, begun: Callable[[bytes], bool]) -> bytes | None:
        read = b""
        left = self._deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(left if grace is None else grace):
                while not begun(read):
                    if (chunk := await self._open.chunk()) is None:
                        return read or None
                    read += chunk
        except TimeoutError:
            if grace is None:
                raise self._too_late(f"said nothing in its stream for {self._limits.resume:g} seconds.") from None
        return read

    async def _drain(self, reframer: Reframer) -> None:
        """Read a stream for what it tells; who waits for its end is kept company."""
        while not reframer.over:
            with self._line.upstream:
                chunk = await self._wait_with_keepalive(self._open.chunk())
            if chunk is None:
                reframer.finish()
                return
            reframer.feed(chunk)
        self._open.leave()

    async def _poll(self, seconds: float) -> None:
        with self._line.upstream:
            await self._wait_with_keepalive(asyncio.sleep(seconds))

    async def _wait_with_keepalive(self, awaitable: Awaitable[T], leaving: float = 0.0) -> T:
        """Await what may take as long as the agent does; a client that waits for JSON gets white space meanwhile."""
        task = asyncio.ensure_future(awaitable)
        gone = asyncio.create_task(self._client.gone.wait()) if self._cancels else None
        both = {task, gone} if gone is not None else {task}
        now = asyncio.get_running_loop().time
        try:
            while not task.done():
                left = self._deadline - now()
                if left <= 0:
                    raise self._too_late(f"did not answer the resume within {self._limits.resume:g} seconds.")
                timeout = min(max(0.0, self._silent_since + self._limits.keepalive - now()), left)
                await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if not task.done() and gone is not None and gone.done():
                    await asyncio.wait({task}, timeout=leaving)
                    if not task.done():
                        raise ClientGone
                elif not task.done() and self._deadline > now():
                    await self._send_keepalive()
            return task.result()
        finally:
            for pending in both:
                pending.cancel()

    async def _send_keepalive(self) -> None:
        """A byte for the client who waits, where one may be put: white space before JSON, a comment in a stream."""
        now = asyncio.get_running_loop().time()
        if now < self._silent_since + self._limits.keepalive:
            return
        self._silent_since = now
        if self._mode is Mode.WAIT:
            await self._client.keep_alive(self._head)
        elif self._telling:
            await self._client.send_bytes(b": keep-alive\n\n")

    def _too_late(self, what: str) -> UpstreamTimeout:
        """Nobody waits any longer for an exchange that is too late."""
        self._open.forget()
        self._late = True
        return UpstreamTimeout(f"The backend {what}")

    async def _wait_or_disconnect(self, awaitable: Awaitable[T]) -> T:
        """Await, unless the client leaves and that matters."""
        if not self._cancels:
            return await awaitable
        task = asyncio.ensure_future(awaitable)
        gone = asyncio.create_task(self._client.gone.wait())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not gone.done():
                return task.result()
            if task.done():  # as with a stream that never pauses: there is always something to read
                task.exception()
            raise ClientGone
        finally:
            task.cancel()
            gone.cancel()

    async def _relay(self, reply: StreamReply) -> None:
        """Pass the stream on as it comes. A stream that breaks upstream breaks for the client too."""
        reframer = reply.reframer
        await self._client.start_stream(reply.headers)
        try:
            await self._client.send_bytes(reframer.feed(reply.head))
            while not reframer.over and (chunk := await self._next_chunk(reply)) is not None:
                await self._client.send_bytes(reframer.feed(chunk))
            await self._client.send_bytes(reframer.finish())
        except ClientGone:
            raise
        except (Exception, asyncio.CancelledError) as raised:
            error = raised
            if isinstance(raised, asyncio.CancelledError):
                self._end()
                error = ShutDown()
            if reframer.between_events:
                failure = error if isinstance(error, ResumeError) else UpstreamError("The backend broke off.")
                failure.metadata["resume_state"] = "consumed"
                await self._client.send_bytes(sse.encode("error", failure.body()))
            if isinstance(error, ResumeError):
                raise Broken(error) from error
            raise
        await self._client.finish()
        if reframer.over:
            self._open.leave()

    async def _next_chunk(self, reply: StreamReply) -> bytes | None:
        chunk = asyncio.ensure_future(self._open.chunk())
        silent, now = asyncio.get_running_loop().time(), asyncio.get_running_loop().time
        try:
            while True:
                left = silent + self._limits.idle - now()
                if left <= 0:
                    raise self._too_late(f"said nothing in its stream for {self._limits.idle:g} seconds.")
                limit = asyncio.timeout(min(self._limits.keepalive, left))
                try:
                    async with limit:
                        with self._line.upstream:
                            return await self._wait_or_disconnect(asyncio.shield(chunk))
                except TimeoutError:
                    if not limit.expired():
                        raise  # the app's own
                    if reply.reframer.between_events and left > self._limits.keepalive:
                        await self._client.send_bytes(b": keep-alive\n\n")
        finally:
            chunk.cancel()
