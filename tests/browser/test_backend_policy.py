"""Pages in a real browser whose backend has a CORS policy of its own, in every placement, without the option `cors`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from ap_resume_shim import ResumeShim
from ap_resume_shim.demo import create_app
from tests.browser.chromium import Pages, pages
from tests.servers.run import start
from tests.support.serving import serving
from tests.support.sidecar import sidecar

LEGACY_THREAD = """
const ask = () => asked("ask");
const answer = (thread_id) => send("/runs/wait", { thread_id, agent_id: "ask", input: { command: { resume: "yes" } } });
"""
LANGGRAPH_THREAD = """
const ask = async () => {
  const { thread_id } = await (await send("/threads")).json();
  await (await send(`/threads/${thread_id}/runs/wait`, { assistant_id: "ask", input: { topic: "lunch" } })).json();
  return thread_id;
};
const answer = (thread_id) =>
  send(`/threads/${thread_id}/runs/wait`, { assistant_id: "ask", command: { resume: "yes" } });
"""
SCENARIO = """
const send = (path, body) => fetch(SHIM + path, {
  method: "POST", credentials: CREDENTIALS, headers: { "content-type": "application/json" },
  body: JSON.stringify(body ?? {}),
});
THREAD
const patch = async (route, body) => {
  const answer = await resume(route, body, { credentials: CREDENTIALS }).catch((error) => ({ failed: error.name }));
  return answer.failed ?? [answer.status, answer.headers.get("content-location") !== null];
};
const early = await patch("/wait", {});
const [thread_id, streamed, background] = [await ask(), await ask(), await ask()];
return [
  early,
  await patch("/wait", { thread_id }),
  await patch("/wait", { thread_id }),
  await patch("/stream", { thread_id: streamed }),
  await patch("", { thread_id: background }),
];
"""
VENDOR = """
const send = (path, body) => fetch(SHIM + path, {
  method: "POST", credentials: CREDENTIALS, headers: { "content-type": "application/json" },
  body: JSON.stringify(body ?? {}),
});
THREAD
const thread_id = await ask();
const first = await answer(thread_id);
await first.text();
const again = await answer(thread_id);
return [first.status, again.status, (await again.json()).detail];
"""
READABLE = [[422, False], [200, True], [409, False], [200, True], [200, True]]
GUARDED = ("--settle", "0", "--vendor-resumes", "guard")


@contextmanager
def before_a_server(origin: str) -> Iterator[str]:
    """A sidecar in front of a server with a policy."""
    with serving(with_policy(create_app(), origin)) as upstream:
        options = ("--upstream", upstream, "--port", "0", "--backend", "agent-protocol", *GUARDED)
        with sidecar(*options) as shim:
            yield shim.url


@contextmanager
def outside_the_policy(origin: str) -> Iterator[str]:
    """In a FastAPI app, added after its CORS middleware: preflights go through the shim."""
    app = fastapi_app()
    app.add_middleware(CORSMiddleware, **policy(origin))
    app.add_middleware(ResumeShim, backend="agent-protocol", settle=0.0, vendor_resumes="guard")
    with serving(app) as url:
        yield url


@contextmanager
def below_the_policy(origin: str) -> Iterator[str]:
    """In a FastAPI app, added before its CORS middleware: preflights do not reach the shim."""
    app = fastapi_app()
    app.add_middleware(ResumeShim, backend="agent-protocol", settle=0.0, vendor_resumes="guard")
    app.add_middleware(CORSMiddleware, **policy(origin))
    with serving(app) as url:
        yield url


@contextmanager
def inside_langgraph(origin: str) -> Iterator[str]:
    """In the custom app of a LangGraph server, as the README has it; the policy is the server's own."""
    with patch.dict(os.environ, CORS_ALLOW_ORIGINS=origin), start("langgraph", inside=True) as server:
        yield server.url


@contextmanager
def before_langgraph(origin: str) -> Iterator[str]:
    """A sidecar in front of a LangGraph server, whose policy of its own lets every page in, without cookies."""
    with (
        start("langgraph") as server,
        sidecar("--upstream", server.url, "--port", "0", "--backend", "langgraph", *GUARDED) as shim,
    ):
        yield shim.url


def policy(origin: str) -> dict[str, Any]:
    return {"allow_origins": [origin], "allow_methods": ["*"], "allow_headers": ["*"], "allow_credentials": True}


def with_policy(app: Any, origin: str) -> Any:
    return CORSMiddleware(app, **policy(origin))


def fastapi_app() -> FastAPI:
    app = FastAPI()
    app.mount("/", create_app())
    return app


Placement = Callable[[str], AbstractContextManager[str]]
SENDING_COOKIES: tuple[Placement, ...] = (before_a_server, outside_the_policy, below_the_policy, inside_langgraph)
CASES = [
    *((placement, credentials) for placement in SENDING_COOKIES for credentials in ("include", "omit")),
    (before_langgraph, "omit"),
]


@dataclass(frozen=True)
class World:
    shim: str
    pages: Pages
    thread: str

    def run(self, scenario: str, credentials: str) -> Any:
        """What a page of the allowed origin can read."""
        return self.pages.run(scenario.replace("THREAD", self.thread), SHIM=self.shim, CREDENTIALS=credentials)


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with pages() as origin, request.param(origin.origin) as shim:
        yield World(shim, origin, LANGGRAPH_THREAD if "langgraph" in request.param.__name__ else LEGACY_THREAD)


@pytest.mark.parametrize(
    ("world", "credentials"), CASES, indirect=["world"], ids=[f"{case[0].__name__}-{case[1]}" for case in CASES]
)
def test_a_page_whose_preflight_the_backend_approves_reads_every_answer(world: World, credentials: str) -> None:
    assert world.run(SCENARIO, credentials) == READABLE


@pytest.mark.parametrize(
    ("world", "credentials"),
    [case for case in CASES if case[0] is not inside_langgraph],
    indirect=["world"],
    ids=[f"{case[0].__name__}-{case[1]}" for case in CASES if case[0] is not inside_langgraph],
)
def test_a_page_reads_why_its_vendor_resume_is_refused(world: World, credentials: str) -> None:
    taken, refused, why = world.run(VENDOR, credentials)
    assert (taken, refused) == (200, 409)
    assert "not interrupted" in why or "double click" in why
