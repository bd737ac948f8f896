"""Where the shim stands: inside the server, around or below another app, or in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.demo import create_app
from ap_resume_shim.proxy.httpx_transport import HttpxTransport
from ap_resume_shim.proxy.transport import Address
from tests.e2e.drivers import DRIVERS
from tests.servers.apps.py.tap import Tap
from tests.servers.run import running
from tests.support.calling import CLIENT
from tests.support.serving import serving
from tests.support.sidecar import sidecar
from tests.support.world import Place

PLACEMENTS = ("inside", "wrapped", "mounted", "sidecar")
BACKENDS = tuple(DRIVERS)
GRAPHS = tuple(name for name in BACKENDS if name != "agent-protocol")
"""The servers of LangGraph's family."""
MOUNT = "/below/here"


def exists(placement: str, backend: str) -> bool:
    """JavaScript's server cannot load Python middleware; our own legacy server is the wrapped app itself."""
    return placement != "inside" or backend in ("langgraph", "langgraph-old", "aegra")


@contextmanager
def place(placement: str, backend: str) -> Iterator[Place]:
    """Put a shim in front of a backend; the real server is the one of the environment, or is started."""
    if placement == "inside":
        with running(backend, inside=True) as url:
            yield Place(url, lambda: list(CLIENT.get(f"{url}/__tap").json()))
        return
    with app_of(backend) as app:
        tap = Tap(app)
        made: dict[str, Callable[[], Any]] = {
            "wrapped": lambda: serving(_wrapped(tap)),
            "mounted": lambda: serving(_mounted(tap)),
            "sidecar": lambda: _sidecar(tap),
        }
        with made[placement]() as url:
            yield Place(url + (MOUNT if placement == "mounted" else ""), lambda: list(tap.seen))


@contextmanager
def app_of(backend: str) -> Iterator[ASGIApp]:
    """The backend as an app: the legacy server itself, or a proxy to a real server."""
    if backend == "agent-protocol":
        yield create_app()
    else:
        with running(backend) as url:
            yield ReverseProxy(url, transport=_unkept)


def _unkept(address: Address) -> HttpxTransport:
    """A connection for each request: a server that was busy for seconds closes kept ones, requests unread."""
    return HttpxTransport(address, httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0)))


def _wrapped(app: Any) -> ASGIApp:
    outer = Starlette(routes=[Mount("/", app=app)])
    outer.add_middleware(ResumeShim)
    return outer


def _mounted(app: Any) -> ASGIApp:
    return Starlette(routes=[Mount(MOUNT, app=ResumeShim(app))])


@contextmanager
def _sidecar(app: Any) -> Iterator[str]:
    with serving(app) as upstream, sidecar("--upstream", upstream, "--port", "0") as shim:
        yield shim.url
