"""The client's side of a resume: writes responses, errors and streams, and detects a disconnect."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ap_resume_shim.core.asgi import TRAILERS, HeaderList
from ap_resume_shim.core.errors import Broken, ResumeError
from ap_resume_shim.core.http import Headers, Response
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.runtime.log_lines import printable, truncate
from ap_resume_shim.runtime.resume_log import BROKEN, CLIENT_LEFT, COMPLETE, CUT, UNANSWERED
from ap_resume_shim.runtime.trace_context import request_id
from ap_resume_shim.runtime.waiting import Signal

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send


logger = logging.getLogger("ap_resume_shim")


class Client:
    """The client of one resume. Once the body is read, nothing else calls the request's `receive` and `send`."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, base: str) -> None:
        """`base`: path in front of the backend's paths (mount point and prefix), added to `Content-Location`."""
        self.gone = Signal()
        """Set when the client disconnects before its response is complete."""
        self.cut = False
        """True if this side ended the request early: the server shuts down, or a middleware cancelled it."""
        self.status: int | None = None
        """Status code of the response; None until its head is sent."""
        self._scope, self._receive, self._send, self._base = scope, receive, send, base
        self._started = self._finished = False

    @property
    def ended(self) -> str:
        """How the response ended, given that nothing more is sent: one of the constants in `resume_log`."""
        if self.cut and not self._finished:
            return CUT
        if self.gone.is_set():
            return CLIENT_LEFT
        if self._finished:
            return COMPLETE
        return UNANSWERED if self.status is None else BROKEN

    async def watch(self) -> None:
        """Wait for the disconnect, which ASGI reports only to a caller of `receive`. After a complete response it is
        ignored.
        """
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._finished:
            self.gone.set()

    async def send_reply(self, reply: Reply) -> None:
        """Send a complete response. If keep-alives have already sent the head, send only the body."""
        if not self._started:
            length = (("content-length", str(len(reply.body))),)
            await self._start(reply.status, reply.media_type, (*reply.headers, *length))
        await self._emit({"type": "http.response.body", "body": reply.body, "more_body": False})

    def error_reply(self, error: ResumeError) -> Reply:
        """Return the response that describes an error: the draft's `ErrorResponse`."""
        return Reply(error.http_status, error.body(), error.headers)

    async def send_error(self, error: ResumeError) -> None:
        """Send an error as the draft's `ErrorResponse`, or as an RFC 9457 problem if `Accept` names that type.

        If a response has begun, raises `Broken`. If it is complete, the error is logged.
        """
        reply = self.error_reply(error)
        if self._prefers_problems():
            problem = {
                "type": "about:blank",
                "title": error.code.replace("_", " "),
                "status": error.http_status,
                "detail": error.message,
                **reply.value,
            }
            reply = Reply(reply.status, problem, reply.headers, "application/problem+json")
        await self._send_error_as(error, reply)

    async def _send_error_as(self, error: ResumeError, reply: Reply) -> None:
        if self._finished:
            logger.error("the work after a complete response failed: %s", printable(truncate(error.reason)))
            return
        if self._started:
            raise Broken(error) from error
        await self.send_reply(reply)

    async def send_interim(self, message: Message) -> None:
        """Pass on an interim response of the backend's own."""
        await self._emit(message)

    async def send_head(self, response: Response, *, trailers: bool) -> None:
        """Send the head of the backend's own response, unchanged. `trailers`: True if a trailer section follows."""
        self._started = True
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        start: Message = {"type": "http.response.start", "status": response.status, "headers": headers}
        await self._emit({**start, "trailers": True} if trailers else start)
        if not self.gone.is_set():
            self.status = response.status

    async def keep_alive(self, headers: Headers) -> None:
        """Send a newline, which JSON allows before a value. The first one is preceded by the head, with status 200."""
        if not self._started:
            await self._start(200, "application/json", headers)
        await self.send_bytes(b"\n")

    async def start_stream(self, headers: Headers) -> None:
        """Send the head of an event stream."""
        await self._start(200, "text/event-stream", headers)

    async def send_bytes(self, chunk: bytes) -> None:
        """Send a chunk of the body."""
        if chunk:
            await self._emit({"type": "http.response.body", "body": chunk, "more_body": True})

    async def finish(self, trailers: HeaderList | None = None) -> None:
        """End the body; trailer fields follow it if the head announced them."""
        await self._emit({"type": "http.response.body", "body": b"", "more_body": False})
        if trailers is not None:
            await self._emit({"type": TRAILERS, "headers": trailers, "more_trailers": False})

    def _prefers_problems(self) -> bool:
        accepted = b",".join(value for name, value in self._scope["headers"] if name == b"accept")
        return b"application/problem+json" in accepted.lower()

    async def _start(self, status: int, media_type: str, headers: Headers) -> None:
        self._started = True
        fields = [(b"content-type", media_type.encode())]
        for name, value in headers:
            located = self._base + value if name == "content-location" else value
            fields.append((name.encode("latin-1"), located.encode("latin-1")))
        if (own_id := request_id(self._scope)) is not None:
            fields.append((b"x-request-id", own_id.encode()))
        await self._emit({"type": "http.response.start", "status": status, "headers": fields})
        if not self.gone.is_set():
            self.status = status

    async def _emit(self, message: Message) -> None:
        """Send an ASGI message unless the client has left. After a disconnect some servers raise `OSError`; others
        ignore it.
        """
        if self.gone.is_set():
            return
        self._finished = False in (message.get("more_body"), message.get("more_trailers"))
        try:
            await self._send(message)
        except OSError:
            self.gone.set()
