"""The client's side: how a reply, a refusal or a stream is written, and whether the client is still there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ap_resume_shim.core.errors import Broken, ResumeError
from ap_resume_shim.core.http import Headers, Response
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.runtime.log_lines import cut, printable
from ap_resume_shim.runtime.resume_log import BROKEN, CLIENT_LEFT, COMPLETE, CUT, UNANSWERED
from ap_resume_shim.runtime.trace_context import request_id
from ap_resume_shim.runtime.waiting import Signal

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


logger = logging.getLogger("ap_resume_shim")


class Client:
    """Whoever sent the request. The only one who receives and sends from the moment the body was read."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, base: str) -> None:
        """`base` is what stands before the backend's paths, for `Content-Location`."""
        self.gone = Signal()
        """Set when the client has left before its answer was complete."""
        self.cut = False
        """Whether the request was cut off on this side: by the server that ends, or by a middleware that gave up."""
        self.status: int | None = None
        """Of the answer, once its head was sent."""
        self._scope, self._receive, self._send, self._base = scope, receive, send, base
        self._started = self._finished = False

    @property
    def ended(self) -> str:
        """How the answer ended, if nothing more is sent."""
        if self.cut and not self._finished:
            return CUT
        if self.gone.is_set():
            return CLIENT_LEFT
        if self._finished:
            return COMPLETE
        return UNANSWERED if self.status is None else BROKEN

    async def watch(self) -> None:
        """Listen for the disconnect: it is heard only by who listens. One after a complete answer means nothing."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._finished:
            self.gone.set()

    async def answer(self, reply: Reply) -> None:
        """Send a complete answer, or the rest of one that white space has begun."""
        if not self._started:
            length = (("content-length", str(len(reply.body))),)
            await self._start(reply.status, "application/json", (*reply.headers, *length))
        await self._emit({"type": "http.response.body", "body": reply.body, "more_body": False})

    def error_reply(self, error: ResumeError) -> Reply:
        """Return the response that describes an error: the draft's `ErrorResponse`."""
        return Reply(error.http_status, error.body(), error.headers)

    async def refuse(self, error: ResumeError) -> None:
        """Send an error: the draft's `ErrorResponse`, or RFC 9457's problem where `Accept` asks for it."""
        reply, media_type = self.error_reply(error), "application/json"
        if self._prefers_problems():
            media_type = "application/problem+json"
            problem = {
                "type": "about:blank",
                "title": error.code.replace("_", " "),
                "status": error.http_status,
                "detail": error.message,
                **reply.value,
            }
            reply = Reply(reply.status, problem, reply.headers)
        await self._refuse_with(error, reply, media_type)

    async def _refuse_with(self, error: ResumeError, reply: Reply, media_type: str = "application/json") -> None:
        if self._finished:
            logger.error("what was left to do after an answer failed: %s", printable(cut(error.reason)))
            return
        if self._started:
            raise Broken(error) from error
        length = (("content-length", str(len(reply.body))),)
        await self._start(reply.status, media_type, (*reply.headers, *length))
        await self._emit({"type": "http.response.body", "body": reply.body, "more_body": False})

    async def pass_on(self, response: Response) -> None:
        """Send the head of the backend's own response, unchanged."""
        self._started = True
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        await self._emit({"type": "http.response.start", "status": response.status, "headers": headers})
        if not self.gone.is_set():
            self.status = response.status

    async def keep_alive(self, headers: Headers) -> None:
        """Send white space before the JSON that is to come; the status line goes out with the first."""
        if not self._started:
            await self._start(200, "application/json", headers)
        await self.send_bytes(b"\n")

    async def start_stream(self, headers: Headers) -> None:
        """Send the head of a stream of events."""
        await self._start(200, "text/event-stream", headers)

    async def send_bytes(self, chunk: bytes) -> None:
        """Send a part of a body."""
        if chunk:
            await self._emit({"type": "http.response.body", "body": chunk, "more_body": True})

    async def finish(self) -> None:
        """End a body."""
        await self._emit({"type": "http.response.body", "body": b"", "more_body": False})

    def _prefers_problems(self) -> bool:
        accepted = b",".join(value for name, value in self._scope["headers"] if name == b"accept")
        return b"application/problem+json" in accepted.lower()

    async def _start(self, status: int, media_type: str, headers: Headers) -> None:
        self._started = True
        fields = [(b"content-type", media_type.encode())]
        for name, value in headers:
            located = self._base + value if name == "content-location" else value
            fields.append((name.encode("latin-1"), located.encode("latin-1")))
        if (asked_as := request_id(self._scope)) is not None:
            fields.append((b"x-request-id", asked_as.encode()))
        await self._emit({"type": "http.response.start", "status": status, "headers": fields})
        if not self.gone.is_set():
            self.status = status

    async def _emit(self, message: dict[str, Any]) -> None:
        """Send, unless nobody is there: some servers raise then, others say nothing."""
        if self.gone.is_set():
            return
        self._finished = message.get("more_body") is False
        try:
            await self._send(message)
        except OSError:
            self.gone.set()
