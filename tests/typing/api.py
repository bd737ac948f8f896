"""The public API, as a user with a strict type checker writes it. Never run: `mypy` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import httpx
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from ap_resume_shim import (
    ConfigurationError,
    Guard,
    Http1Transport,
    Limits,
    MemoryGuard,
    ResumeError,
    ResumeShim,
    ReverseProxy,
)
from ap_resume_shim.dialects import Dialect, backend_names, load_backend
from ap_resume_shim.proxy import Forwarding, HttpxTransport


def added(starlette: Starlette, fastapi: FastAPI) -> None:
    """To an app that is there."""
    starlette.add_middleware(ResumeShim)
    starlette.add_middleware(ResumeShim, profile=Path("my.toml"))
    starlette.add_middleware(ResumeShim, backend="langgraph", lenient=True, settle=2)
    fastapi.add_middleware(ResumeShim, backend="agent-protocol", resume_at="/command/resume", prefix="/api")


def listed() -> Starlette:
    """In the list of an app's middleware."""
    return Starlette(middleware=[Middleware(ResumeShim, backend="aegra", guard=MemoryGuard(remembered=5))])


def wrapped(app: ASGIApp) -> ASGIApp:
    """Around any app, and around another shim."""
    shim = ResumeShim(app, "native", limits=Limits(lookup=5, keepalive=1.5, body=1000))
    assert_type(shim, ResumeShim)
    return ResumeShim(shim)


async def proxied(network: httpx.AsyncBaseTransport) -> ASGIApp:
    """In front of a server elsewhere."""
    proxy = ReverseProxy("http://127.0.0.1:2024", transport=lambda address: HttpxTransport(address, network))
    proxy = ReverseProxy("unix:/run/agents.sock", transport=Http1Transport, forwarding=Forwarding(via="shim"))
    assert_type(await proxy.aclose(), None)
    return ResumeShim(ReverseProxy("http://127.0.0.1:2024"))


def told(app: ASGIApp) -> ASGIApp:
    """By a dialect, and with what may go wrong."""
    dialect: Dialect = load_backend(backend_names()[0])
    guard: Guard = MemoryGuard()
    try:
        return ResumeShim(app, dialect, guard=guard)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error


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
