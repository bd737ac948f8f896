"""`VendorResumes`: finds answers in the conventions of today's clients, and guards them.

Only the body of a request whose method and path a convention matches is read. Every other request passes unchanged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.asgi import REQUEST_TRAILERS, SYNTHESISED, path_below
from ap_resume_shim.core.errors import InvalidRequest, RequestTooLarge, ResumeError
from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.shape_errors import recognising
from ap_resume_shim.core.steps import ClientGone, Reply
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, UnreadableAnswer, VendorResume, read_answer
from ap_resume_shim.guard import Moment
from ap_resume_shim.runtime.bodies import Bodies
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.cors import BackendCors
from ap_resume_shim.runtime.lookups import Lookups
from ap_resume_shim.runtime.offload import LARGE, offload
from ap_resume_shim.runtime.resume_log import RESUME
from ap_resume_shim.runtime.stepping import drive
from ap_resume_shim.runtime.vendor_websocket import VendorWebSocket

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ap_resume_shim.core.dialect import Dialect
    from ap_resume_shim.runtime.vendor_observation import VendorObserver

Guarded = Callable[["Scope", Moment, VendorResume, "VendorClient"], Awaitable[None]]
Count = Callable[["Scope", str, str], None]


class VendorClient(Client):
    """The client of a vendor resume: errors have the form of its convention."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, vendor: VendorResume, cors: BackendCors | None = None
    ) -> None:
        """`cors` is the backend's policy for the refusals; None if they have no header fields."""
        super().__init__(scope, receive, send, base="")
        self._vendor, self._cors = vendor, cors
        if cors is not None:
            cors.learn(scope)

    def error_reply(self, error: ResumeError) -> Reply:
        """Return the refusal in the form of the convention."""
        return self._vendor.convention.refusal(self._vendor, error)

    async def send_error(self, error: ResumeError) -> None:
        """Send the refusal, which pages of the backend's clients can read; a response that has begun breaks off."""
        reply = self.error_reply(error)
        if self._cors is not None and not self._started:
            reply = replace(reply, headers=(*reply.headers, *await self._cors.fields(self._scope)))
        await self._send_error_as(error, reply)


class VendorResumes:
    """The wrapped app, with its vendor resumes guarded or observed."""

    def __init__(
        self,
        app: ASGIApp,
        dialect: Dialect[Any],
        bodies: Bodies,
        prefix: str,
        *,
        guarded: Guarded | None,
        observer: VendorObserver,
        count: Count,
        cors: BackendCors,
        now: Callable[[], Moment],
    ) -> None:
        """`guarded` handles a vendor resume; without it, `observer` observes those that pass. `count` counts a request
        by its convention and its verdict. `cors` is the backend's policy for the refusals; `now` is the guard's, for
        the moment of an arrival.

        `prefix` is a path that precedes the backend's routes.
        """
        self._conventions = [each for each in dialect.conventions if not each.websocket]
        self.app, self._dialect, self._bodies, self._prefix = app, dialect, bodies, prefix
        self._guarded, self._observer, self._count, self._cors, self._now = guarded, observer, count, cors, now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard or observe a vendor resume; pass anything else on. A WebSocket is not observed."""
        if scope["type"] == "websocket" and self._guarded is not None:
            await self._guard_messages(self._guarded, scope, receive, send)
            return
        if scope["type"] != "http" or SYNTHESISED in scope:
            await self.app(scope, receive, send)
            return
        path = path_below(scope, self._prefix)
        conventions = [] if path is None else [c for c in self._conventions if c.matches(scope["method"], path)]
        if path is None or not conventions:
            await self.app(scope, receive, send)
            return
        request = _head(scope, scope["method"], path)
        if self._guarded is None:
            exchange = self._observer.exchange(conventions, request, scope, receive, send)
            try:
                await self.app(scope, exchange.receive, exchange.send)
            finally:
                exchange.end()
        else:
            await self._guard(self._guarded, conventions, request, scope, receive, send)

    async def _guard(
        self,
        guarded: Guarded,
        conventions: list[Convention],
        request: ClientRequest,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Read the body, and guard the request if it is an answer."""
        received, arrived = _Recording(receive), self._now()
        with self._bodies.body() as body:
            try:
                vendor = await read_vendor(conventions, replace(request, body=await body.read(scope, received)))
            except ClientGone:
                return
            except ResumeError as error:
                self._count(scope, conventions[0].name, error.code)
                await self._refuse_unread(conventions[0], request, error, scope, receive, send)
                return
            if vendor is not None:
                scope[RESUME] = True
                scope.update(received.trailers)
                await guarded(scope, arrived, vendor, VendorClient(scope, receive, send, vendor, self._cors))
                return
        await self.app(scope, received.replay, send)

    async def _guard_messages(self, guarded: Guarded, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard the answers among the messages of a WebSocket."""
        conventions = websocket_conventions(self._dialect, scope, self._prefix)
        if not conventions:
            await self.app(scope, receive, send)
            return
        request = _head(scope, "GET", path_below(scope, self._prefix) or "")

        async def guard(message: Scope, vendor: VendorResume, receive: Receive, send: Send) -> None:
            await guarded(message, self._now(), vendor, VendorClient(message, receive, send, vendor))

        socket = VendorWebSocket(
            scope,
            receive,
            send,
            limit=self._bodies.each,
            recognise=lambda content: read_vendor(conventions, replace(request, body=content)),
            guarded=guard,
            too_large=lambda: self._count(scope, conventions[0].name, RequestTooLarge.code),
        )
        await socket.run(self.app)

    async def _refuse_unread(
        self,
        convention: Convention,
        request: ClientRequest,
        error: ResumeError,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Refuse a body that cannot be read: it may be an answer."""
        if isinstance(error, InvalidRequest) and not isinstance(error, UnreadableAnswer):
            error = _Encoded(error.message)
        vendor = VendorResume(convention, request, None, Mode.BACKGROUND)
        await VendorClient(scope, receive, send, vendor, self._cors).send_error(error)


def _head(scope: Scope, method: str, path: str) -> ClientRequest:
    """Return a request without its body."""
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return ClientRequest(method, path, scope["query_string"].decode("latin-1"), headers)


def websocket_conventions(dialect: Dialect[Any], scope: Scope, prefix: str) -> list[Convention]:
    """Return the conventions of the answers in a WebSocket; none if it contains no answers."""
    if (path := path_below(scope, prefix)) is None:
        return []
    return [each for each in dialect.conventions if each.websocket and each.matches("GET", path)]


async def read_vendor(conventions: list[Convention], request: ClientRequest) -> VendorResume | None:
    """Return the answer that a request carries, as `read_answer` does; a large body is read in the worker thread."""
    reading = partial(read_answer, conventions, request)
    return await offload(reading) if len(request.body) >= LARGE else reading()


class _Encoded(InvalidRequest):
    """A body with a content coding: the shim cannot read whether it is an answer."""

    status = 415


class _Recording:
    """Records the messages of a body, to replay them for the app."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: list[Message] = []

    async def __call__(self) -> Message:
        message = await self._receive()
        self._messages.append(message)
        return message

    @property
    def trailers(self) -> dict[str, Any]:
        """The trailer fields of the request, by their key; empty if there are none."""
        return {key: value for key, value in self._messages[-1].items() if key == REQUEST_TRAILERS}

    async def replay(self) -> Message:
        """Return the recorded messages, then those that follow."""
        return self._messages.pop(0) if self._messages else await self._receive()


async def locate(vendor: VendorResume, dialect: Dialect[Any], lookups: Lookups) -> str:
    """Return the thread of a vendor resume that names only a run or a task. Raises `ResumeError`."""
    return await drive(recognising(dialect).locate(vendor), lookups.do)
