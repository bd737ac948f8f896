"""Traces with OpenTelemetry's API (needs the extra `otel`).

    app = ResumeShim(app, telemetry=[Tracing()])

Each resume has one span, with the client's context as its parent; each request that it sends to the backend has a
client span, whose context the request carries. Names and attributes follow the semantic conventions for HTTP, 1.45.
Passed requests are not traced.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider

from ap_resume_shim import __version__
from ap_resume_shim.core.asgi import FENCE, RECEIVER, HeaderList, shown_path
from ap_resume_shim.core.errors import ResumeError
from ap_resume_shim.runtime import resume_log as logs
from ap_resume_shim.runtime.telemetry import FAILED, Event, ResumeRecord, Telemetry
from ap_resume_shim.runtime.vendor_counts import DRAFT

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Tracing"]

logger = logging.getLogger("ap_resume_shim")

SCHEMA = "https://opentelemetry.io/schemas/1.45.0"
TRACED = "ap_resume_shim.traced"
"""Scope key of a resume and of its requests to the backend: the `_Resume`."""
PORTS = {"http": 80, "https": 443}


@dataclass(slots=True)
class _Resume:
    """One resume that is traced."""

    span: Span
    context: Context
    """The span's context: the parent of the requests to the backend."""
    sending: bool = False
    """True from the step that sends the resume until its first byte is about to be sent."""

    def sent(self) -> None:
        self.sending = False
        self.span.add_event("sent")


class Tracing(Telemetry):
    """Traces the resumes of one shim, or of several."""

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        """Without a provider, the global one of OpenTelemetry is used."""
        self._provider = tracer_provider
        self._tracer = trace.get_tracer("ap_resume_shim", __version__, tracer_provider, SCHEMA)

    @property
    def recorded(self) -> bool:
        """False if no SDK is set up, so that no span is recorded."""
        return self._provider is not None or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)

    def around_backend(self, app: ASGIApp, origin: str) -> ASGIApp:
        """Trace the requests to the backend."""
        return _TracedBackend(app, origin, self._tracer)

    def resume_began(self, scope: Scope, convention: str) -> None:
        """Start the span of a resume: a child of the span that is current in this process, else of the client's."""
        current = trace.get_current_span().get_span_context()  # of an instrumented server around the shim
        parent = contexts.get_current() if current.is_valid else propagate.extract(_carrier(scope["headers"]))
        local = current.is_valid and not current.is_remote
        path, method = shown_path(scope), scope["method"]
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "url.path": path,
            "url.scheme": scope.get("scheme", "http"),
            "network.protocol.version": scope.get("http_version", "1.1"),
            "ap_resume_shim.convention": convention,
            **_server(_host_url(scope)),
        }
        if convention == DRAFT:
            attributes["http.route"] = path
        span = self._tracer.start_span(
            f"{method} {path if convention == DRAFT else convention}",
            context=parent,
            kind=SpanKind.INTERNAL if local else SpanKind.SERVER,
            attributes=attributes,
        )
        scope[TRACED] = _Resume(span, trace.set_span_in_context(span, parent))

    def resume_reached(self, scope: Scope, event: Event) -> None:
        """Add an event to the span: `lookup`, `claimed`, `accepted`. `sent` is added when the first byte is sent."""
        resume: _Resume = scope[TRACED]
        if event != "sending":
            resume.span.add_event(event)
        elif RECEIVER in scope:  # a message in a WebSocket: no request to the backend is made
            resume.sent()
        else:
            resume.sending = True

    def resume_ended(self, scope: Scope, record: ResumeRecord) -> None:
        """End the span. It failed if the status is 5xx, or the response is incomplete although the client stayed."""
        span = scope[TRACED].span
        fields = {
            name: getattr(record, name) for name in ("backend", "mode", "verdict", "ended", "thread_id", "run_id")
        }
        known = {f"ap_resume_shim.{name}": value for name, value in fields.items() if value is not None}
        span.set_attributes(known)
        if record.status is not None:
            span.set_attribute("http.response.status_code", record.status)
        if (record.status or 0) >= 500 or record.ended not in (logs.COMPLETE, logs.CLIENT_LEFT):
            _fail(span, record.ended if record.verdict == logs.ACCEPTED else record.verdict)
        span.end()


class _TracedBackend:
    """The app that receives the requests of resumes."""

    def __init__(self, app: ASGIApp, origin: str, tracer: Tracer) -> None:
        self.app, self._origin, self._tracer = app, origin, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with the context of its span."""
        resume: _Resume | None = scope.get(TRACED)
        if resume is None:
            await self.app(scope, receive, send)
            return
        try:
            made, span, context = self._begin(scope, resume)
        except Exception:
            logger.exception(FAILED)
            await self.app(scope, receive, send)
            return

        async def traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= 400:
                    _fail(span, str(message["status"]))
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                _end(span)  # the app may run on after its response

        with _current(span, context):
            await self.app(made, receive, traced)

    def _begin(self, scope: Scope, resume: _Resume) -> tuple[Scope, Span, Context]:
        """Start the span of a request. Returns the request with its context, the span, and the context."""
        span = self._tracer.start_span(
            scope["method"], context=resume.context, kind=SpanKind.CLIENT, attributes=self._attributes(scope)
        )
        context = trace.set_span_in_context(span, resume.context)
        made = {**scope, "headers": _injected(scope["headers"], context)}
        if resume.sending and FENCE in scope:
            self._observe_sending(resume, made)
        return made, span, context

    def _observe_sending(self, resume: _Resume, made: Scope) -> None:
        """Record the moment at which the resume is sent: past the fence, which only a proxy calls."""
        if not self._origin:
            resume.sent()
            return
        fence = made[FENCE]

        def pass_fence() -> None:
            fence()
            if resume.sending:
                resume.sent()

        made[FENCE] = pass_fence

    def _attributes(self, scope: Scope) -> dict[str, Any]:
        unix = self._origin.startswith("unix:")
        url = _host_url(scope) if unix or not self._origin else self._origin
        server = {"server.address": self._origin.removeprefix("unix:")} if unix else _server(url)
        # Without the query, which may contain a token.
        return {"http.request.method": scope["method"], "url.full": url + shown_path(scope), **server}


@contextmanager
def _current(span: Span, context: Context) -> Iterator[None]:
    """Make a span the current one, for instrumentation inside the app; record the class of an exception and end it."""
    token = contexts.attach(context)
    try:
        yield
    except BaseException as error:
        _fail(span, error.code if isinstance(error, ResumeError) else type(error).__qualname__)
        raise
    finally:
        contexts.detach(token)
        _end(span)


def _end(span: Span) -> None:
    """End a span. Its processor or exporter may fail: that must not break a resume."""
    if span.is_recording():
        try:
            span.end()
        except Exception:
            logger.exception(FAILED)


def _fail(span: Span, error_type: str) -> None:
    if span.is_recording():
        span.set_attribute("error.type", error_type)
        span.set_status(StatusCode.ERROR)


def _carrier(headers: HeaderList) -> dict[str, list[str]]:
    """Return header fields for a propagator. An ambiguous `traceparent` is left out."""
    carrier: dict[str, list[str]] = {}
    for name, value in headers:
        carrier.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    if len(carrier.get("traceparent", ())) > 1:
        del carrier["traceparent"]
    return carrier


def _injected(headers: HeaderList, context: Context) -> HeaderList:
    """Return header fields with a context in place of the client's."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    if not carrier:  # no span is recorded, and the client sent no context
        return headers
    replaced = {name.lower().encode() for name in (*propagate.get_global_textmap().fields, *carrier)}
    ours = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in carrier.items()]
    return [(name, value) for name, value in headers if name not in replaced] + ours


def _host_url(scope: Scope) -> str:
    """Return scheme and host of a request, as its client wrote them."""
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    return f"{scope.get('scheme', 'http')}://{host}"


def _server(url: str) -> dict[str, Any]:
    """Return the attributes that name the server of a URL; none if the URL has no valid host and port."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return {}
    return {"server.address": parts.hostname, "server.port": port} if parts.hostname and port else {}
