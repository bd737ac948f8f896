"""Logs: one line for each resume and, if enabled, one for every other request; for `serve`, the format of all logs.

The library configures no logging: lines go to the standard library's loggers, with their fields as attributes of the
record. No line contains credentials, a query string (which may contain a token), or a person's answer.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from ap_resume_shim.core.asgi import TUNNEL, shown_path
from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.runtime.log_lines import Stopwatch, milliseconds, printable, write
from ap_resume_shim.runtime.trace_context import request_id, trace_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ap_resume_shim.core.protocol import Mode
    from ap_resume_shim.core.steps import Step
    from ap_resume_shim.runtime.client import Client
    from ap_resume_shim.runtime.resume_policy import ResumePolicy

resumes = logging.getLogger("ap_resume_shim.resume")
access = logging.getLogger("ap_resume_shim.access")

RESUME = "ap_resume_shim.resume"
"""ASGI scope key that marks a request as a resume, which has a log line of its own."""

ACCEPTED, REPLAYED, CANCELLED = "accepted", "replayed", "cancelled"
BACKEND_REFUSED = "backend_refused"
"""Values of `verdict`, in addition to error codes, `NEW_TURN` and `CLIENT_LEFT`."""

COMPLETE, CLIENT_LEFT, BROKEN, UNANSWERED, CUT = "complete", "client_left", "broken", "unanswered", "cut"
"""Values of `ended`: how a response ended."""


class ResumeLine:
    """The log line of one resume. Its fields are set during the resume; it is written once the response has ended."""

    def __init__(self, scope: Scope, mode: Mode, client: Client, convention: str | None = None) -> None:
        """`convention`: that of a vendor resume."""
        self.backend: str | None = None
        self.thread_id: str | None = None
        self.run_id: str | None = None
        self.verdict: str | None = None
        """`accepted`, `replayed`, `new_turn` or an error's code; None until it is decided."""
        self.upstream = Stopwatch()
        """Runs while the shim waits for the backend."""
        self.resume_state: str | None = None
        """The `resume_state` of the error, if there is one."""
        self.reason: str | None = None
        """The reason of the error, for operators."""
        self.policy: ResumePolicy | None = None
        """The operator's policy for this resume; None without one."""
        self._scope, self._mode, self._client, self._convention = scope, mode, client, convention
        self._since = perf_counter()
        self._level = logging.INFO
        self._written = False

    @property
    def status(self) -> int | None:
        """The status of the response; None if none has begun."""
        return self._client.status

    @property
    def outcome(self) -> str:
        """The verdict. Without one, the client left before, or the backend's own response refused a vendor resume."""
        return self.verdict or (BACKEND_REFUSED if self._client.ended == COMPLETE else CLIENT_LEFT)

    def record_failure(self, error: BaseException) -> None:
        """Record that the resume was refused or failed. If the response was broken off, the reason is the error's
        cause.
        """
        if isinstance(error, asyncio.CancelledError):
            self.verdict = self.verdict or CANCELLED
            return
        known = next((e for e in (error, error.__cause__) if isinstance(e, ResumeError)), None)
        known = known or ResumeError(f"The app raised {type(error).__name__}.")  # its text may quote private data
        self.resume_state = known.metadata.get("resume_state", "unknown" if self.verdict == ACCEPTED else None)
        self.reason = known.reason
        self._level = logging.WARNING if known.http_status >= 500 else logging.INFO
        self.verdict = known.code

    def observed(self, do: Callable[[Step], Awaitable[Any]]) -> Callable[[Step], Awaitable[Any]]:
        """Return `do`, which carries out a step of the resume, unchanged: no telemetry observes this resume."""
        return do

    def write(self) -> None:
        """Write the line, once."""
        if self._written:
            return
        self._written = True
        write(
            resumes,
            self._level,
            "resume",
            thread_id=self.thread_id,
            run_id=self.run_id,
            backend=self.backend,
            mode=self._mode.name.lower(),
            convention=self._convention,
            verdict=self.outcome,
            resume_state=self.resume_state,
            reason=self.reason,
            status=self._client.status,
            ended=self._client.ended,
            upstream_ms=milliseconds(self.upstream.seconds),
            total_ms=milliseconds(perf_counter() - self._since),
            request_id=request_id(self._scope),
            trace_id=trace_id(self._scope),
        )
        if self.policy is not None:
            self.policy.end()


def write_observed(
    scope: Scope, *, thread_id: str | None, backend: str, mode: Mode | None, convention: str, verdict: str
) -> None:
    """Write the line of a vendor resume that passed. Its verdict is estimated."""
    write(
        resumes,
        logging.INFO,
        "observed",
        thread_id=thread_id,
        backend=backend,
        mode=None if mode is None else mode.name.lower(),
        convention=convention,
        verdict=verdict,
        estimated="true",
        request_id=request_id(scope),
        trace_id=trace_id(scope),
    )


class AccessLog:
    """Logs each request that is not a resume, WebSockets included: `app = AccessLog(ResumeShim(...))`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the app, and write its line when it has ended."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        recorder = _Recorder(receive, send)
        if TUNNEL in (scope.get("extensions") or {}):
            opening = {"open": recorder.record_opening(scope["extensions"][TUNNEL]["open"])}
            scope["extensions"] = {**scope["extensions"], TUNNEL: opening}
        try:
            await self.app(scope, recorder.receive, recorder.send)
        except asyncio.CancelledError:
            recorder.record_end(CUT)
            raise
        finally:
            if RESUME not in scope:
                recorder.write(scope)


class _Recorder:
    """Wraps the `receive` and `send` of one request to record its status, size and end."""

    __slots__ = ("_bytes", "_ended", "_receive", "_send", "_since", "_status")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._since = perf_counter()
        self._status: int | None = None
        self._bytes = 0
        self._ended: str | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.record_end(CLIENT_LEFT)
        elif message["type"] == "websocket.disconnect":
            self.record_end(CLIENT_LEFT if message.get("code") == 1006 else COMPLETE)  # 1006: there was no close frame
        return message

    async def send(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            self.record_end(CLIENT_LEFT)
            raise
        match message["type"]:
            case "http.response.start" | "websocket.http.response.start":
                self._status = message["status"]
            case "http.response.body" | "websocket.http.response.body":
                self._bytes += len(message.get("body", b""))
                if not message.get("more_body", False):
                    self.record_end(COMPLETE)
            case "websocket.accept":
                self._status = 101
            case "websocket.send":
                self._bytes += len(message.get("bytes") or (message.get("text") or "").encode())
            case "websocket.close":
                self._status = self._status or 403  # closed before it was accepted
                self.record_end(COMPLETE)

    def record_opening(self, opened: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """Wrap the callback that opens a tunnel; bytes inside the tunnel are not counted."""

        async def opens(*connection: Any, **options: Any) -> None:
            self._status = 101
            await opened(*connection, **options)
            self.record_end(COMPLETE)

        return opens

    def write(self, scope: Scope) -> None:
        client = scope.get("client")
        write(
            access,
            logging.INFO,
            "request",
            method=scope.get("method", "WEBSOCKET"),
            path=shown_path(scope),
            status=self._status,
            ended=self._ended or (UNANSWERED if self._status is None else BROKEN),
            bytes=self._bytes,
            total_ms=milliseconds(perf_counter() - self._since),
            peer=client[0] if client else None,
            request_id=request_id(scope),
        )

    def record_end(self, how: str) -> None:
        """Record how the request ended; only the first call counts."""
        self._ended = self._ended or how


class _Human(logging.Formatter):
    """Formats a record as `INFO:     event`, in one line unless it has a traceback."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s:     %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record).rstrip())


def configure(
    level: str = "info",
    format: Literal["auto", "human", "json"] = "auto",  # noqa: A002 - as the option is called
    access_log: bool = False,
) -> None:
    """Write all logs of this process to standard error; used by `serve`.

    - `level`: level of the shim's own loggers. Other libraries start at `info`: below it, some log header fields.
    - `format`: "human", "json" (one object per line; needs python-json-logger), or "auto": human on a terminal.
    - `access_log`: whether lines of `AccessLog` are written, whatever the level.
    """
    handler = logging.StreamHandler()
    human = format == "human" or (format == "auto" and sys.stderr.isatty())
    handler.setFormatter(_Human() if human else _json())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    own = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(own, logging.INFO))
    logging.getLogger("ap_resume_shim").setLevel(own)
    access.setLevel(logging.INFO if access_log else logging.CRITICAL)
    logging.getLogger("websockets").setLevel(logging.WARNING)  # at `info`, it logs the end of each connection


def _json() -> logging.Formatter:
    from pythonjsonlogger.core import RESERVED_ATTRS
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        "%(timestamp)s%(levelname)s%(name)s%(message)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp=True,
        reserved_attrs=[*RESERVED_ATTRS, "taskName"],  # exists since Python 3.12
    )
