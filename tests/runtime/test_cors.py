"""CORS on the three routes: who is answered what, and that nobody else notices."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.errors import ConfigurationError
from ap_resume_shim.core.protocol import ROUTES
from ap_resume_shim.demo import create_app
from tests.support.agent import resume
from tests.support.calling import CLIENT, Call, Recorder, http
from tests.support.serving import serving

OURS = "https://app.example"
ASKS_FOR_PATCH = (b"access-control-request-method", b"PATCH")
PAGE = (b"origin", OURS.encode())


def called(app: Any, scope: Any) -> Call:
    call = Call()
    asyncio.run(call(app, scope))
    return call


def fields(call: Call) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in call.sent[0]["headers"]}


@pytest.mark.parametrize("below", ["", "/api"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_named_origin_may_patch_with_credentials_and_any_field(route: str, below: str) -> None:
    app = ResumeShim(recorder := Recorder(), "langgraph", cors=["https://other.example", OURS], prefix=below)
    wanted = (b"access-control-request-headers", b"authorization, x-tenant")
    answer = called(app, http("OPTIONS", below + route, headers=[PAGE, ASKS_FOR_PATCH, wanted]))
    assert answer.status == 200
    assert (
        fields(answer).items()
        >= {
            "access-control-allow-origin": OURS,
            "access-control-allow-methods": "PATCH",
            "access-control-allow-headers": "authorization, x-tenant",
            "access-control-allow-credentials": "true",
        }.items()
    )
    assert not recorder.calls, "the backend is not asked"


def test_a_single_origin_may_be_a_string() -> None:
    answer = called(
        ResumeShim(Recorder(), "langgraph", cors=OURS), http("OPTIONS", "/runs/resume", headers=[PAGE, ASKS_FOR_PATCH])
    )
    assert fields(answer)["access-control-allow-origin"] == OURS


def test_another_origin_may_not() -> None:
    app = ResumeShim(Recorder(), "langgraph", cors=[OURS])
    answer = called(
        app, http("OPTIONS", "/runs/resume", headers=[(b"origin", b"https://app.example.org"), ASKS_FOR_PATCH])
    )
    assert (answer.status, fields(answer).get("access-control-allow-origin")) == (400, None)


def test_any_origin_may_but_without_cookies() -> None:
    app = ResumeShim(Recorder(), "langgraph", cors=["*"])
    answer = fields(called(app, http("OPTIONS", "/runs/resume", headers=[PAGE, ASKS_FOR_PATCH])))
    assert answer["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
@pytest.mark.parametrize(("thread_id", "status"), [("", 422), ("unknown", 404)])
@pytest.mark.parametrize("mounted", [False, True])
def test_a_page_may_read_refusals_and_what_stands_in_their_head(
    route: str, thread_id: str, status: int, mounted: bool
) -> None:
    app: Any = ResumeShim(create_app(), "agent-protocol", cors=[OURS])
    below = "/api" if mounted else ""
    with serving(Starlette(routes=[Mount("/api", app=app)]) if mounted else app) as url:
        answer = resume(url + below, route, {"origin": OURS}, thread_id=thread_id)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, OURS)
    assert answer.headers["vary"] == "Origin"
    exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
    assert {"content-location", "idempotency-replayed", "ap-resume-ignored", "retry-after"} <= set(exposed)


@pytest.mark.parametrize(
    "scope",
    [
        http("OPTIONS", "/runs/resume", headers=[PAGE, (b"access-control-request-method", b"GET")]),
        http("OPTIONS", "/runs/resume", headers=[PAGE]),
        http("OPTIONS", "/runs/resume/", headers=[PAGE, ASKS_FOR_PATCH]),
        http("OPTIONS", "/threads/1", headers=[PAGE, ASKS_FOR_PATCH]),
        http("PATCH", "/threads/1", headers=[PAGE]),
        http("GET", "/runs/resume", headers=[PAGE]),
        http("GET", "/runs/resume", type="websocket", headers=[PAGE]),
    ],
    ids=["asks for GET", "asks for nothing", "slash", "another path", "PATCH", "GET", "websocket"],
)
def test_everything_else_reaches_the_app_as_it_is(scope: Any) -> None:
    call, recorder = Call(), Recorder()
    asyncio.run(ResumeShim(recorder, "langgraph", cors=[OURS])(scope, call.receive, call.send))
    assert recorder.calls == [(scope, call.receive, call.send)]


def test_without_the_option_the_backend_answers_preflights() -> None:
    backend = Response("its own", 418, {"x-any": "field"})
    scope = http("OPTIONS", "/runs/resume", headers=[PAGE, ASKS_FOR_PATCH])
    answer, itself = called(ResumeShim(backend, "langgraph"), scope), called(backend, scope)
    assert answer.sent == itself.sent


def test_a_backend_that_answers_the_routes_itself_is_open_to_pages_too() -> None:
    app = ResumeShim(
        Response("its own", headers={"access-control-allow-origin": "https://its.own"}), "native", cors=[OURS]
    )
    answer = called(app, http("PATCH", "/runs/resume", headers=[PAGE]))
    assert answer.answer == b"its own"
    assert fields(answer)["access-control-allow-origin"] == OURS


@pytest.mark.parametrize("origin", ["app.example", f"{OURS}/", "https://App.example", "https://*.example", ""])
def test_what_no_browser_would_call_an_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write it as https://app\.example"):
        ResumeShim(Recorder(), cors=[OURS, origin])


def test_a_program_that_is_no_browser_sees_no_difference() -> None:
    with serving(ResumeShim(create_app(), "agent-protocol", cors=[OURS])) as url:
        answer = CLIENT.patch(f"{url}/runs/resume", json={"thread_id": "unknown"})
    assert answer.status_code == 404
    assert not [name for name in answer.headers if name.startswith("access-control")]
