"""The shim among other middleware, in front of a real app: nothing else changes, and nothing else changes it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from ap_resume_shim import ResumeShim
from ap_resume_shim.demo import create_app
from tests.support.agent import METADATA, PROTOCOL, RUN, UNTIL_LEFT, Agent, resume, says, streamed
from tests.support.calling import CLIENT
from tests.support.serving import serving
from tests.support.waiting import eventually

ORIGIN = {"origin": "https://app.example"}
Wrapping = Any


def waiting(url: str, agent: str = "ask", **state: Any) -> str:
    """A thread of the legacy server that waits for an answer."""
    thread = str(CLIENT.post(f"{url}/threads", json={}).json()["thread_id"])
    body = {"thread_id": thread, "agent_id": agent, "input": {"topic": "lunch", **state}}
    CLIENT.post(f"{url}/runs/wait", json=body).raise_for_status()
    return thread


@contextmanager
def legacy(*outside: tuple[Any, dict[str, Any]], inside: Any = None) -> Iterator[str]:
    """The legacy server with the shim, and middleware around both; the last is the outermost."""
    app = create_app()
    if inside is not None:
        app.add_middleware(inside[0], **inside[1])
    app.add_middleware(ResumeShim, backend=PROTOCOL)
    for middleware, options in outside:
        app.add_middleware(middleware, **options)
    with serving(app) as url:
        yield url


def as_starlette() -> ASGIApp:
    app = create_app()
    app.add_middleware(ResumeShim)
    return app


def as_fastapi() -> ASGIApp:
    app = FastAPI(openapi_url=None)  # its own description would hide that of the server below
    app.mount("/", create_app())
    app.add_middleware(ResumeShim)
    return app


def mounted(app: ASGIApp) -> ASGIApp:
    return Starlette(routes=[Mount("/api/{tenant}", app=app)])


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
@pytest.mark.parametrize(
    ("app", "below"),
    [
        (as_starlette(), ""),
        (as_fastapi(), ""),
        (mounted(as_starlette()), "/api/acme"),
        (mounted(as_fastapi()), "/api/acme%20%C3%BC"),
        (ResumeShim(create_app()), ""),
        (ResumeShim(as_starlette(), PROTOCOL), ""),
    ],
    ids=["starlette", "fastapi", "mounted starlette", "mounted fastapi", "around", "two shims"],
)
def test_a_resume_is_answered_once(app: ASGIApp, below: str, route: str) -> None:
    with serving(app) as url:
        answer = resume(url + below, route, thread_id=(thread := waiting(url + below)))
        assert (answer.status_code, answer.headers["content-location"].startswith(below + "/runs/")) == (200, True)
        eventually(lambda: values(url + below, thread).get("answer") == "yes")
        assert values(url + below, thread)["runs"] == 1, "continued, not started anew"


def routed(prefix: str) -> FastAPI:
    """A FastAPI app with the routes of an agent server below a path: they are described at the root alone."""
    router = APIRouter(prefix=prefix)
    for path in ("/threads", "/runs", "/runs/wait", "/runs/stream"):
        router.post(path)(lambda: {})
    router.get("/threads/{thread_id}")(lambda thread_id: Agent().thread)
    app = FastAPI()
    app.include_router(router)
    return app


@pytest.mark.parametrize("root", ["", "/api"])
def test_a_backend_below_a_prefix_is_detected_by_the_description_at_the_root(root: str) -> None:
    shim = ResumeShim(routed("/agents"), prefix="/agents")
    with serving(shim, root_path=root) as url:
        assert resume(f"{url}/agents", thread_id="").json()["code"] == "invalid_request"
    assert shim.backend == "agent-protocol"


def values(url: str, thread: str) -> dict[str, Any]:
    found: dict[str, Any] = CLIENT.get(f"{url}/threads/{thread}").json()["values"]
    return found


CORS: tuple[Any, dict[str, Any]] = (
    CORSMiddleware,
    {"allow_origins": ["https://app.example"], "allow_methods": ["GET", "PATCH"]},
)


def test_a_browser_may_ask_for_patch() -> None:
    with legacy(CORS) as url:
        asked = {**ORIGIN, "access-control-request-method": "PATCH"}
        answer = CLIENT.options(f"{url}/runs/resume", headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN["origin"])


@pytest.mark.parametrize(("thread", "status"), [("unknown", 404), ("idle", 409), ("", 422), ("asks", 200)])
@pytest.mark.parametrize("route", ["", "/stream"])
def test_a_browser_may_read_every_answer(thread: str, status: int, route: str) -> None:
    with legacy(CORS) as url:
        CLIENT.post(f"{url}/threads", json={"thread_id": "idle"})
        answer = resume(url, route, ORIGIN, thread_id=waiting(url) if thread == "asks" else thread)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ORIGIN["origin"])


def test_a_browser_may_read_that_the_backend_failed() -> None:
    app = Starlette(routes=[Mount("/", app=Agent(says(b"{}", kind="application/json", status=500)))])
    app.add_middleware(ResumeShim, backend=PROTOCOL)
    app.add_middleware(CORS[0], **CORS[1])
    with serving(app) as url:
        answer = resume(url, "", ORIGIN)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (502, ORIGIN["origin"])


SHRINK = (GZipMiddleware, {"minimum_size": 1})


@pytest.mark.parametrize("route", ["", "/wait"])
@pytest.mark.parametrize("outside", [True, False], ids=["outside", "inside"])
def test_answers_with_compression(outside: bool, route: str) -> None:
    """Inside, the legacy app would compress its answers to lookups, if it were told that we take that."""
    with legacy(*[SHRINK][: int(outside)], inside=None if outside else SHRINK) as url:
        answer = resume(url, route, {"accept-encoding": "gzip"}, thread_id=waiting(url))
    assert answer.status_code == 200
    assert answer.headers.get("content-encoding") == ("gzip" if outside else None)
    assert "run_id" in answer.text


class NeedsToken:
    """Authentication: a GET or a PATCH without a token is 401."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        allowed = (b"authorization", b"Bearer mine") in scope.get("headers", ())
        refused = scope["type"] == "http" and scope["method"] in ("GET", "PATCH") and not allowed
        await (JSONResponse({}, 401) if refused else self.app)(scope, receive, send)


@pytest.mark.parametrize(("headers", "status"), [({}, 401), ({"authorization": "Bearer mine"}, 200)])
@pytest.mark.parametrize("outside", [True, False], ids=["outside", "inside"])
def test_authentication_may_be_on_either_side(outside: bool, headers: dict[str, str], status: int) -> None:
    token: tuple[Any, dict[str, Any]] = (NeedsToken, {})
    with legacy(*[token][: int(outside)], inside=None if outside else token) as url:
        assert resume(url, "", headers, thread_id=waiting(url)).status_code == status


@pytest.mark.parametrize("middleware", [SHRINK, CORS], ids=["gzip", "cors"])
@pytest.mark.parametrize("outside", [True, False], ids=["outside", "inside"])
def test_a_stream_is_live_through_middleware(outside: bool, middleware: Any) -> None:
    app = Starlette(routes=[Mount("/", app=Agent(says(METADATA, UNTIL_LEFT)))])
    for each, options in [(ResumeShim, {"backend": PROTOCOL}), middleware][:: 1 if outside else -1]:
        app.add_middleware(each, **options)
    with serving(app) as url, streamed(url) as response:
        began = time.monotonic()
        assert next(response.iter_bytes()) == METADATA
        assert time.monotonic() - began < 5, "the agent is silent for ever"


def passing(name: str) -> Any:
    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            response: Response = await call_next(request)
            response.headers[f"x-{name}"] = "1"
            return response

    return (Passing, {})


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_a_resume_below_a_stack_of_base_http_middleware(route: str) -> None:
    with legacy(passing("one"), passing("two")) as url:
        answer = resume(url, route, thread_id=(thread := waiting(url)))
        assert (answer.status_code, answer.headers["x-one"], answer.headers["x-two"]) == (200, "1", "1")
        eventually(lambda: values(url, thread).get("answer") == "yes")


def test_a_client_that_leaves_is_noticed_below_base_http_middleware() -> None:
    app = Starlette(routes=[Mount("/", app=(agent := Agent(says(METADATA, UNTIL_LEFT))))])
    app.add_middleware(ResumeShim, backend=PROTOCOL)
    for name in ("one", "two"):
        app.add_middleware(passing(name)[0])
    with serving(app) as url:
        with streamed(url) as response:
            assert next(response.iter_raw()) == METADATA
        eventually(lambda: agent.cancelled and agent.left.is_set())


@contextmanager
def agent_app(*routes: Route, **options: Any) -> Iterator[tuple[str, Agent]]:
    """A Starlette app with the shim, whose routes stand before those of an agent server."""
    app = Starlette(routes=[*routes, Mount("/", app=(agent := Agent()))], **options)
    app.add_middleware(ResumeShim, backend=PROTOCOL)
    with serving(app) as url:
        yield url, agent


def test_an_error_of_the_app_in_a_lookup_reaches_its_own_handler() -> None:
    """An ExceptionGroup would miss it."""
    seen: list[Exception] = []

    async def fails(request: Request) -> Response:
        raise ZeroDivisionError("in the lookup")

    async def handler(request: Request, error: Exception) -> Response:
        seen.append(error)
        return JSONResponse({"handled": True}, 500)

    with agent_app(Route("/threads/t", fails), exception_handlers={Exception: handler}) as (url, _):
        assert resume(url).json() == {"handled": True}
    assert [repr(error) for error in seen] == ["ZeroDivisionError('in the lookup')"]


def test_an_answer_of_a_handler_of_the_app_is_a_lookups_answer() -> None:
    async def fails(request: Request) -> Response:
        raise PermissionError

    async def handler(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "not yours"}, 403)

    with agent_app(Route("/threads/t", fails), exception_handlers={PermissionError: handler}) as (url, _):
        answer = resume(url)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_background_task_runs_after_the_reply() -> None:
    hold, ran = threading.Event(), threading.Event()

    async def task() -> None:
        await asyncio.to_thread(hold.wait, 10)
        ran.set()

    async def create_run(request: Request) -> Response:
        return JSONResponse(RUN, background=BackgroundTask(task))

    with agent_app(Route("/runs", create_run, methods=["POST"])) as (url, _):
        assert resume(url).status_code == 200
        assert not ran.is_set()
        hold.set()
        assert ran.wait(10)


def test_an_error_of_a_lookups_background_task_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def task() -> None:
        raise ZeroDivisionError("in the background")

    async def thread(request: Request) -> Response:
        return JSONResponse({"status": "interrupted"}, background=BackgroundTask(task))

    with agent_app(Route("/threads/t", thread)) as (url, _):
        assert resume(url).status_code == 200
    assert "in the background" in caplog.text


def test_lookups_answered_by_streams_and_files_are_read(tmp_path: Any) -> None:
    (tmp_path / "thread.json").write_text('{"status": "interrupted", "interrupts": [{"id": "q1"}]}')

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"[", b'{"run_id": "r1", "agent_id": "a"}', b"]"):
            yield piece
            await asyncio.sleep(0.01)

    async def thread(request: Request) -> Response:
        return FileResponse(tmp_path / "thread.json")

    async def runs(request: Request) -> Response:
        return StreamingResponse(pieces(), media_type="application/json")

    routes = [Route("/threads/t", thread), Route("/runs/search", runs, methods=["POST"])]
    with agent_app(*routes) as (url, _):
        assert resume(url).status_code == 200


def test_the_state_of_the_lifespan_reaches_the_shims_own_requests() -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        yield {"pool": "of the lifespan"}

    with agent_app(lifespan=lifespan) as (url, agent):
        assert resume(url).status_code == 200
    assert [seen.scope["state"]["pool"] for seen in agent.seen] == ["of the lifespan"] * 3


def test_what_a_mount_found_in_the_path_reaches_the_shims_own_requests() -> None:
    agent = Agent()
    app = Starlette(routes=[Mount("/{tenant}", app=ResumeShim(agent, PROTOCOL))])
    with serving(app) as url:
        assert resume(f"{url}/acme").status_code == 200
    assert [seen.scope["path_params"]["tenant"] for seen in agent.seen] == ["acme"] * 3


def test_a_native_server_behind_detection_answers_itself() -> None:
    async def describe(request: Request) -> Response:
        routes = ("/runs/resume", "/runs/resume/wait", "/runs/resume/stream")
        return JSONResponse({"paths": {route: {"patch": {}} for route in routes}})

    async def native(request: Request) -> Response:
        return JSONResponse({"native": await request.json()})

    app = Starlette(routes=[Route("/openapi.json", describe), Route("/runs/resume", native, methods=["PATCH"])])
    app.add_middleware(ResumeShim)
    with serving(app) as url:
        assert resume(url).json() == {"native": {"thread_id": "t", "input": "yes"}}
