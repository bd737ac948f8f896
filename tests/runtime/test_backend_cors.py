"""Without the option `cors`, the backend's own CORS policy is on every answer that the shim makes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ap_resume_shim import Limits, ResumeShim, ReverseProxy
from ap_resume_shim.runtime import cors
from tests.support.agent import PROTOCOL, Agent, resume
from tests.support.calling import CLIENT, Call, http
from tests.support.serving import serving

OURS, OTHER, STRANGER = "https://app.example", "https://admin.example", "https://elsewhere.example"
PREFLIGHT = {"access-control-request-method": "PATCH", "access-control-request-headers": "content-type"}
POLICY: dict[str, Any] = {
    "allow_origins": [OURS, OTHER],
    "allow_methods": ["*"],
    "allow_headers": ["*"],
    "allow_credentials": True,
    "expose_headers": ["x-request-id", "x-pages"],
}
SHIM: dict[str, Any] = {
    "backend": PROTOCOL,
    "settle": 0.0,
    "vendor_resumes": "guard",
    "limits": Limits(body=1000),
}
STATES = {200: "interrupted", 404: "interrupted", 409: "idle", 422: "interrupted"}


@contextmanager
def inside_the_policy(agent: Agent) -> Iterator[str]:
    """The shim is added first, CORS around it."""
    app = FastAPI()
    app.mount("/", agent)
    app.add_middleware(ResumeShim, **SHIM)
    app.add_middleware(CORSMiddleware, **POLICY)
    with serving(app) as url:
        yield url


@contextmanager
def around_the_policy(agent: Agent) -> Iterator[str]:
    """CORS is added first, the shim around it."""
    app = FastAPI()
    app.mount("/", agent)
    app.add_middleware(CORSMiddleware, **POLICY)
    app.add_middleware(ResumeShim, **SHIM)
    with serving(app) as url:
        yield url


@contextmanager
def before_the_server(agent: Agent) -> Iterator[str]:
    """The shim is in front of a server elsewhere."""
    with (
        serving(CORSMiddleware(agent, **POLICY)) as upstream,
        serving(ResumeShim(ReverseProxy(upstream), **SHIM)) as url,
    ):
        yield url


def preflight(url: str, origin: str = OURS) -> httpx.Response:
    return CLIENT.options(f"{url}/runs/resume", headers={"origin": origin, **PREFLIGHT})


def answered(url: str, status: int, route: str = "", origin: str = OURS) -> httpx.Response:
    """A resume from a page, that is answered with this status."""
    threads = {404: "unknown", 422: ""}
    answer = resume(url, route, {"origin": origin}, thread_id=threads.get(status, "t"))
    assert answer.status_code == status
    return answer


VENDOR: dict[str, Any] = {"thread_id": "t", "input": {"command": {"resume": "yes"}}}
REFUSED: dict[int, dict[str, Any]] = {
    404: {"json": {**VENDOR, "thread_id": "unknown"}},
    409: {"json": VENDOR},
    413: {"content": b"x" * 2000},
    415: {"json": VENDOR, "headers": {"content-encoding": "gzip"}},
}
"""Vendor resumes, by the status of their refusal: two of them are not read, so that nothing is looked up."""


def vendor_resume(url: str, origin: str = OURS, *, headers: Any = None, **request: Any) -> httpx.Response:
    """An answer that a page sends in the backend's own convention."""
    return CLIENT.post(f"{url}/runs", headers={"origin": origin, **(headers or {})}, **request)


def allowed(answer: httpx.Response) -> list[str]:
    """The origins that an answer allows: one, or a browser reads nothing."""
    return answer.headers.get_list("access-control-allow-origin")


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize("known", [True, False], ids=["after a preflight", "of another worker"])
@pytest.mark.parametrize("placement", [inside_the_policy, around_the_policy, before_the_server])
def test_a_page_reads_every_answer(placement: Any, known: bool, status: int, route: str) -> None:
    with placement(Agent(status=STATES[status])) as url:
        if known:
            assert preflight(url).status_code == 200
        answer = answered(url, status, route)
    assert (allowed(answer), answer.headers["access-control-allow-credentials"]) == ([OURS], "true")
    assert "Origin" in answer.headers["vary"]
    assert "access-control-max-age" not in answer.headers


@pytest.mark.parametrize("status", REFUSED)
@pytest.mark.parametrize("placement", [inside_the_policy, around_the_policy, before_the_server])
def test_a_page_reads_why_a_vendor_resume_is_refused(placement: Any, status: int) -> None:
    agent = Agent(status="idle")
    with placement(agent) as url:
        answer = vendor_resume(url, **REFUSED[status])
    assert answer.status_code == status
    assert "POST" not in {seen.method for seen in agent.resumes}
    assert (allowed(answer), answer.headers["access-control-allow-credentials"]) == ([OURS], "true")
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("status", REFUSED)
def test_a_page_of_another_origin_does_not_read_why(status: int) -> None:
    with around_the_policy(Agent(status="idle")) as url:
        assert allowed(vendor_resume(url, STRANGER, **REFUSED[status])) == []


def test_a_vendor_resume_that_is_accepted_has_the_fields_of_the_backend_alone() -> None:
    with serving(CORSMiddleware(Agent(), **POLICY)) as plain, around_the_policy(Agent()) as url:
        ours, theirs = (vendor_resume(each, json=VENDOR) for each in (url, plain))
    assert without_date(ours) == without_date(theirs)


def without_date(answer: httpx.Response) -> list[tuple[str, str]]:
    return [field for field in answer.headers.multi_items() if field[0] != "date"]


def test_a_page_that_may_post_but_not_patch_reads_why_its_vendor_resume_is_refused() -> None:
    agent = Agent(status="idle")
    app = ResumeShim(CORSMiddleware(agent, allow_origins=[OURS], allow_methods=["POST"]), **SHIM)
    with serving(app) as url:
        assert preflight(url).status_code == 400
        assert allowed(vendor_resume(url, **REFUSED[413])) == [OURS]


def test_the_option_cors_is_not_for_vendor_resumes() -> None:
    app = ResumeShim(CORSMiddleware(Agent(status="idle"), allow_origins=[OURS]), **SHIM, cors=[OTHER])
    with serving(app) as url:
        assert allowed(vendor_resume(url, **REFUSED[409])) == [OURS]
        assert allowed(vendor_resume(url, OTHER, **REFUSED[409])) == []


@pytest.mark.parametrize("placement", [around_the_policy, before_the_server])
def test_a_page_may_read_the_names_that_the_backend_exposes_and_ours(placement: Any) -> None:
    with placement(Agent()) as url:
        exposed = answered(url, 200).headers["access-control-expose-headers"].lower().split(", ")
    assert {"content-location", "ap-resume-ignored", "retry-after", "x-pages"} <= set(exposed)
    assert exposed.count("x-request-id") == 1


def test_a_page_of_another_origin_may_read_nothing() -> None:
    agent = Agent()
    with around_the_policy(agent) as url:
        assert preflight(url, STRANGER).status_code == 400
        assert agent.seen == []
        assert allowed(answered(url, 422, origin=STRANGER)) == []


def test_a_method_that_the_backend_refuses_to_pages_stays_refused() -> None:
    agent = Agent()
    with serving(ResumeShim(CORSMiddleware(agent, allow_origins=[OURS]), PROTOCOL)) as url:
        answer = preflight(url)
    assert (answer.status_code, answer.text, agent.seen) == (400, "Disallowed CORS method", [])


def test_a_program_that_is_no_browser_sees_no_difference() -> None:
    with around_the_policy(Agent()) as url:
        preflight(url)
        answer = resume(url)
    assert not {name for name in answer.headers if name.startswith("access-control") or name == "vary"}


def test_an_answer_that_is_replayed_has_the_policy_of_the_page_that_gets_it() -> None:
    with around_the_policy(Agent()) as url:
        first, again, program = (
            resume(url, "/wait", {"idempotency-key": "k", **origin})
            for origin in ({"origin": OURS}, {"origin": OTHER}, {})
        )
    assert (again.headers["idempotency-replayed"], again.json()) == ("true", first.json())
    assert (allowed(first), allowed(again), allowed(program)) == ([OURS], [OTHER], [])


def test_a_backend_that_crashes_without_its_policy_is_not_unreadable_for_that() -> None:
    async def crash(scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = agent
        if scope["method"] != "OPTIONS" and scope["path"].startswith("/threads/"):
            app = Response("crashed", 500)
        await app(scope, receive, send)

    agent = CORSMiddleware(Agent(), **POLICY)
    with serving(ResumeShim(crash, PROTOCOL)) as url:
        answer = answered(url, 502)
    assert allowed(answer) == [OURS]


def test_an_answer_of_the_backends_own_is_left_alone() -> None:
    with serving(ResumeShim(Response("its own", headers={"vary": "Accept"}), "native")) as url:
        answer = resume(url, headers={"origin": OURS})
    assert (answer.text, answer.headers["vary"], "access-control-expose-headers" in answer.headers) == (
        "its own",
        "Accept",
        False,
    )


class Preflights:
    """A backend that counts preflights."""

    def __init__(self, *, hang: bool = False) -> None:
        self.asked: list[Scope] = []
        self._hang = hang

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "OPTIONS"
        self.asked.append(scope)
        if self._hang:
            await receive()
            await receive()
        origin = dict(scope["headers"])[b"origin"].decode()
        answer = Response(headers={"access-control-allow-origin": origin, "access-control-max-age": "600"})
        await answer(scope, receive, send)


def refusals(backend: ASGIApp, *origins: str) -> list[dict[str, str]]:
    """The heads of the answers to requests that are refused unread, one after the other."""
    app = ResumeShim(backend, PROTOCOL)

    async def run() -> list[Message]:
        heads = []
        for origin in origins:
            headers = [(b"host", b"here"), (b"origin", origin.encode()), (b"cookie", b"c=1"), (b"authorization", b"x")]
            call = Call(b"{}")
            await call(app, http("PATCH", "/runs/resume", headers=headers))
            heads.append(call.sent[0])
        return heads

    return [{name.decode(): value.decode() for name, value in head["headers"]} for head in asyncio.run(run())]


def test_a_preflight_of_the_shims_own_carries_no_credentials_and_is_sent_once() -> None:
    backend = Preflights()
    heads = refusals(backend, OURS, OURS, OTHER)
    assert [head["access-control-allow-origin"] for head in heads] == [OURS, OURS, OTHER]
    first, _ = backend.asked
    assert first["path"] == "/runs/resume"
    assert dict(first["headers"]) == {
        b"host": b"here",
        b"origin": OURS.encode(),
        b"access-control-request-method": b"PATCH",
        b"access-control-request-headers": b"content-type",
    }


def test_what_is_remembered_of_origins_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cors, "_ORIGINS", 2)
    backend = Preflights()
    refusals(backend, OURS, OTHER, OURS, STRANGER, OURS, OTHER)
    assert [dict(scope["headers"])[b"origin"].decode() for scope in backend.asked] == [OURS, OTHER, STRANGER, OTHER]
    refusals(backend, "https://" + "x" * 300)
    assert len(backend.asked) == 4


def test_an_answer_does_not_wait_for_a_backend_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cors, "_PATIENCE", 0.01)
    backend = Preflights(hang=True)
    heads = refusals(backend, OURS, OURS)
    assert ["access-control-allow-origin" in head for head in heads] == [False, False]
    assert len(backend.asked) == 2, "what is not known is not remembered"
