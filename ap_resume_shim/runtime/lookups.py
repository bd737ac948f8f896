"""Lookups: requests that read a thread, and the repeated ones of a commit, which wait until the thread's state shows an
accepted resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core import sse
from ap_resume_shim.core.asgi import escape
from ap_resume_shim.core.dialect import Dialect
from ap_resume_shim.core.errors import UpstreamError, UpstreamTimeout
from ap_resume_shim.core.http import Request, Response
from ap_resume_shim.core.steps import Ask, Entry, Flow, Pause, ReadLedger, ReadUntilIdle, Step
from ap_resume_shim.runtime.exchange import WrappedApp
from ap_resume_shim.runtime.stepping import drive
from ap_resume_shim.runtime.waiting import Expired, wait

if TYPE_CHECKING:
    from starlette.types import Scope

    from ap_resume_shim.guard import GuardSession


class _Lookup:
    """One lookup, sent at once."""

    def __init__(
        self,
        app: WrappedApp,
        scope: Scope,
        request: Request,
        largest: int | None = None,
        *,
        once: bool = False,
    ) -> None:
        """`largest`: maximum size of the response in bytes. `once`: it is not retried."""
        self._send, self._largest, self._once = partial(app.send, scope, request), largest, once
        self._name, self._limit = f"{request.method} {request.target}", app.limits.lookup
        mount = scope.get("root_path", "") + app.prefix
        self._mount = escape(mount) if mount else ""
        self._in_time = partial(wait, until=asyncio.get_running_loop().time() + self._limit)
        self._exchange = self._send(_permit if once else None)

    async def response(self) -> Response:
        """Read the whole response. If it breaks off, retry the lookup, on a new connection: the server may have closed
        an idle one.

        Raises what the app raises, `UpstreamTimeout`, and `UpstreamError` for a body of more than `largest` bytes.
        """
        try:
            try:
                return await self._read()
            except UpstreamError:
                if self._once:
                    raise
            self.abandon()
            self._exchange = self._send(_permit)
            return await self._read()
        except Expired:
            raise UpstreamTimeout(
                f"The backend did not respond to {self._name} within {self._limit:g} seconds."
            ) from None
        finally:
            self.abandon()

    async def _read(self) -> Response:
        status, headers = await self._exchange.head(self._in_time)
        return Response(status, headers, await self._exchange.read(self._in_time, self._largest), self._mount)

    def abandon(self) -> None:
        """Disconnect."""
        self._exchange.abandon()


async def ask(app: WrappedApp, scope: Scope, request: Request) -> Response:
    """Send one lookup and read the whole response. Raises `UpstreamTimeout`."""
    return await _Lookup(app, scope, request).response()


async def read_until_idle(app: WrappedApp, scope: Scope, step: ReadUntilIdle) -> Response:
    """Send one lookup whose response may never end; read until `step` has enough, or until nothing arrives for a while.

    Raises `UpstreamTimeout`, and `UpstreamError` if the response is too large.
    """
    exchange = app.send(scope, step.request)
    read = bytearray()
    now = asyncio.get_running_loop().time
    deadline = now() + app.limits.lookup
    try:
        status, headers = await exchange.head(partial(wait, until=deadline))
        chunk: bytes | None = b""
        while chunk is not None and not step.enough(bytes(read)):
            chunk = await exchange.chunk(partial(wait, until=min(now() + step.quiet, deadline)))
            read += chunk or b""
            if len(read) > sse.MAX_EVENT:
                raise UpstreamError(f"The backend's response to a lookup is larger than {sse.MAX_EVENT} bytes.")
    except Expired:
        if not exchange.has_head or now() >= deadline:
            raise UpstreamTimeout(
                f"The backend's response to {step.request.method} {step.request.target} did not begin, or did not "
                f"pause, within {app.limits.lookup:g} seconds."
            ) from None
    finally:
        exchange.abandon()
    return Response(status, headers, bytes(read))


async def _no_entries(_: str | None) -> list[Entry]:
    return []


class Lookups:
    """Lookups with the credentials of one client."""

    def __init__(
        self,
        app: WrappedApp,
        scope: Scope,
        ledger: Callable[[str | None], Awaitable[list[Entry]]] = _no_entries,
        largest: int | None = None,
    ) -> None:
        """`ledger` reads the ledger's entries for a thread id; None stands for the thread of the resume.

        `largest`: maximum size of a response in bytes.
        """
        self._app, self._scope, self._ledger, self._largest = app, scope, ledger, largest

    async def do(self, step: Step) -> Any:
        """Carry out a step of a lookup. Raises what the app raises, `UpstreamTimeout`, and `GuardUnavailable`."""
        match step:
            case Ask(requests, once):
                return await self._ask(requests, once)
            case ReadUntilIdle():
                return await read_until_idle(self._app, self._scope, step)
            case ReadLedger(thread_id):
                return await self._ledger(thread_id)
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case _:
                raise TypeError(f"a lookup cannot contain the step {type(step).__name__}")

    async def _ask(self, requests: tuple[Request, ...], once: bool) -> tuple[Response, ...]:
        """Send all lookups, then read their responses in order. The first failure ends the others."""
        lookups = [_Lookup(self._app, self._scope, request, self._largest, once=once) for request in requests]
        try:
            return tuple([await lookup.response() for lookup in lookups])
        finally:
            for lookup in lookups:
                lookup.abandon()


def _permit() -> None:
    """A fence that lets a request pass: a request with a fence is sent once, and on a new connection."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The means to read threads for one client."""

    dialect: Dialect[Any]
    lookups: Lookups
    prefix: str
    """Path in front of the resume routes."""


class Commit:
    """Waits until the thread's state shows an accepted resume, then releases the thread."""

    def __init__(self, session: GuardSession, lookups: Lookups, timeout: float) -> None:
        """`timeout`: seconds after which the thread is released in any case."""
        self._session, self._lookups, self._timeout = session, lookups, timeout
        self._task: asyncio.Task[None] | None = None

    def start(self, flow: Flow) -> None:
        """Start the lookups in the background."""
        self._task = asyncio.create_task(self._run(flow))

    async def _run(self, flow: Flow) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await drive(flow, self._lookups.do)
        except TimeoutError:
            pass
        finally:
            flow.close()
        await self._session.mark_committed()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task of the lookups; None if they have not started."""
        return self._task

    async def stop(self) -> None:
        """Stop the lookups: the thread was seen idle after the run, which shows the resume as well."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await self._session.mark_committed()

    async def end(self, *, at_once: bool) -> None:
        """Wait until the lookups end; with `at_once`, cancel them first."""
        if self._task is not None:
            if at_once:
                self._task.cancel()
            await wait(self._task)
