"""The public API, as a user with a strict type checker writes it. Never run: `mypy` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_type

import httpx
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp

from ap_resume_shim import (
    ConfigurationError,
    Guard,
    Http1Transport,
    Limits,
    MemoryGuard,
    Questions,
    ResumeError,
    ResumeShim,
    ReverseProxy,
)
from ap_resume_shim.dialects import (
    Ask,
    Dialect,
    Found,
    Lookup,
    Request,
    Response,
    Resume,
    Started,
    Steps,
    backend_names,
    load_backend,
)
from ap_resume_shim.metrics import Metrics
from ap_resume_shim.policy import AuditFile
from ap_resume_shim.proxy import (
    Address,
    Forwarding,
    HttpxTransport,
    Transport,
    UpstreamExchange,
    UpstreamRequest,
    unreachable,
)
from ap_resume_shim.tracing import Tracing


def added(starlette: Starlette, fastapi: FastAPI) -> None:
    """To an app that is there."""
    starlette.add_middleware(ResumeShim)
    starlette.add_middleware(ResumeShim, profile=Path("my.toml"))
    starlette.add_middleware(ResumeShim, backend="langgraph", lenient=True, settle=2)
    starlette.add_middleware(ResumeShim, cors="https://app.example", credentials="x-user")
    starlette.add_middleware(ResumeShim, backnd="langgraph")  # type: ignore[call-arg]
    fastapi.add_middleware(ResumeShim, backend="agent-protocol", resume_at="/command/resume", prefix="/api")


def asked(app: ASGIApp) -> Starlette:
    """With the list of questions beside it."""
    shim = ResumeShim(app)
    return Starlette(routes=[Mount("/questions", Questions(shim)), Mount("/", shim)])


async def managers_only(attempt: dict[str, Any]) -> str | None:
    """A hook: the reason to refuse a resume, or None."""
    return None if attempt["caller"].get("authorization") == "Bearer manager" else "Only managers answer."


def with_a_policy(app: ASGIApp) -> tuple[ResumeShim, ResumeShim]:
    """With a hook and an audit file."""
    audit = AuditFile("audit.jsonl", who="x-forwarded-user", answers=True, required=False)
    audit.reopen()
    return ResumeShim(app, authorize=managers_only, audit=audit), ResumeShim(
        app, authorize="http://here/", audit="a.jsonl"
    )


def listed() -> Starlette:
    """In the list of an app's middleware."""
    return Starlette(middleware=[Middleware(ResumeShim, backend="aegra", guard=MemoryGuard(remembered=5))])


def wrapped(app: ASGIApp) -> ASGIApp:
    """Around any app, and around another shim."""
    shim = ResumeShim(app, "native", limits=Limits(lookup=5, keepalive=1.5, body=1000))
    assert_type(shim, ResumeShim)
    return ResumeShim(shim, telemetry=[Metrics(CollectorRegistry()), Tracing(TracerProvider())])


async def proxied(network: httpx.AsyncBaseTransport) -> ASGIApp:
    """In front of a server elsewhere."""
    proxy = ReverseProxy("http://127.0.0.1:2024", transport=lambda address: HttpxTransport(address, network))
    proxy = ReverseProxy("unix:/run/agents.sock", transport=Http1Transport, forwarding=Forwarding(via="shim"))
    assert_type(await proxy.aclose(), None)
    return ResumeShim(ReverseProxy("http://127.0.0.1:2024", transport=Unreachable))


class Unreachable(Transport):
    """A transport of another package."""

    upgrades = trailers = False

    def __init__(self, address: Address) -> None:
        self.address = address

    def start(self, request: UpstreamRequest) -> UpstreamExchange:
        """Errors have one place."""
        raise unreachable(self.address, OSError(request.method))

    async def aclose(self) -> None:
        """Nothing is open."""


async def exchanged(exchange: UpstreamExchange) -> bytes:
    """The order of an exchange's calls."""
    try:
        await exchange.head()
        assert_type(exchange.status, int)
        return b"" if exchange.eof else await exchange.read()
    finally:
        exchange.close()


def told(app: ASGIApp) -> ASGIApp:
    """By a dialect, and with what may go wrong."""
    dialect: Dialect[Any] = load_backend(backend_names()[0])
    guard: Guard = MemoryGuard()
    try:
        return ResumeShim(app, dialect, guard=guard)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True)
class TicketContext:
    """What belongs to one resume."""

    url: str


class Tickets(Dialect[TicketContext]):
    """A dialect of another package."""

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[TicketContext]:
        """Results of steps have types."""
        answers = yield from Ask((Request.get("/ticket"),))
        assert_type(answers, tuple[Response, ...])
        return Found("idle", context=TicketContext((yield from self._url())))

    def _url(self) -> Steps[str]:
        url: str = yield Ask((Request.get("/"),))  # type: ignore[assignment]
        return url

    def cancel(self, resume: Resume, started: Started[TicketContext]) -> Request | None:
        """So has the context."""
        assert_type(started.context, TicketContext)
        return Request.get(started.context.address)  # type: ignore[attr-defined]


def reported(error: ResumeError) -> tuple[int, str, str]:
    """An error, as a log would have it."""
    return error.http_status, error.code, error.message


def misused(app: ASGIApp) -> None:
    """What a type checker has to find: an ignore that is not needed is an error."""
    ResumeShim(app, backend=7)  # type: ignore[arg-type]
    ResumeShim(app, unknown=True)  # type: ignore[call-arg]
    ResumeShim(app, "auto", None)  # type: ignore[call-arg]
    ReverseProxy()  # type: ignore[call-arg]
    Limits(lookup="5")  # type: ignore[arg-type]
