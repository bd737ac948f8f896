"""What is the shim's and what is not, and how it finds out what it stands in front of."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
from typing import Any

import pytest
from starlette.types import Message, Scope

from ap_resume_shim import ConfigurationError, Limits, ResumeShim
from ap_resume_shim.backends import load_backend
from ap_resume_shim.core.asgi import escape
from ap_resume_shim.core.errors import UpstreamRefused
from ap_resume_shim.runtime import bodies
from tests.support.agent import Agent, reply, resume
from tests.support.calling import Call, Recorder, http
from tests.support.serving import serving

BODY = json.dumps({"thread_id": "t", "input": "yes"}).encode()
LANGGRAPH = {"langgraph_py_version": "1.2"}


async def passed(scope: Scope, **options: Any) -> bool:
    """Whether the app is called with the very objects that the shim was called with."""
    app, receive, send = Recorder(), object(), object()
    await ResumeShim(app, **{"backend": "agent-protocol", **options})(scope, receive, send)  # type: ignore[arg-type]
    return [tuple(map(id, call)) for call in app.calls] == [(id(scope), id(receive), id(send))]


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/runs/resume", "/runs/resume/wait", "/runs/resume/stream"])
async def test_other_methods_pass_through(method: str, path: str) -> None:
    assert await passed(http(method, path))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    [
        *("/runs/resume/", "/runs/resume/stream/", "/runs/resume/x", "/runs/resumed", "/RUNS/RESUME", "//runs/resume"),
        *("/x/runs/resume", "/runs", "/threads/t", "/"),
    ],
)
async def test_patch_elsewhere_passes_through(path: str) -> None:
    assert await passed(http("PATCH", path))


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["websocket", "something.new"])
async def test_other_scopes_pass_through(kind: str) -> None:
    assert await passed({"type": kind, "path": "/runs/resume"})


@pytest.mark.anyio
async def test_a_native_backend_answers_itself() -> None:
    assert await passed(http("PATCH", "/runs/resume"), backend="native")


@pytest.mark.anyio
async def test_a_request_of_another_shim_passes_through() -> None:
    assert await passed(http("PATCH", "/runs/resume", ap_resume_shim=True))


@pytest.mark.anyio
async def test_context_variables_that_the_app_sets_survive() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        variable.set("by the app")

    await Call()(ResumeShim(app), http("GET", "/"))
    assert variable.get() == "by the app"


@pytest.mark.anyio
async def test_an_error_of_the_app_passes_through_bare() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        await Call()(ResumeShim(app), http("GET", "/"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("/below", "/below/runs/resume"),
        ("/below", "/runs/resume"),  # servers that do not put root_path before the path
        ("/runs", "/runs/runs/resume"),
    ],
)
async def test_the_routes_are_below_the_root_path(root: str, path: str) -> None:
    assert (await refused(http("PATCH", path, root_path=root)))["code"] == "invalid_request"


@pytest.mark.anyio
@pytest.mark.parametrize(("root", "path"), [("/below", "/belowruns/resume"), ("/runs", "/runs/resume")])
async def test_what_is_not_below_the_root_path_passes_through(root: str, path: str) -> None:
    assert await passed(http("PATCH", path, root_path=root))


async def refused(scope: Scope, **options: Any) -> Any:
    """The body of the shim's own answer to an empty body."""
    await (call := Call())(ResumeShim(Recorder(), **{"backend": "agent-protocol", **options}), scope)
    return json.loads(call.answer)


@pytest.mark.anyio
async def test_a_prefix_stands_before_the_routes() -> None:
    assert (await refused(http("PATCH", "/api/runs/resume"), prefix="/api"))["code"] == "invalid_request"
    assert await passed(http("PATCH", "/runs/resume"), prefix="/api")


@pytest.mark.anyio
async def test_a_prefix_stands_before_lookups_and_the_runs_address() -> None:
    agent = Agent()
    app = ResumeShim(Stripped(agent, "/api"), "agent-protocol", prefix="/api")
    await (call := Call(BODY))(app, http("PATCH", "/api/runs/resume"))
    assert (call.status, [seen.path for seen in agent.resumes]) == (200, ["/runs"])
    assert (b"content-location", b"/api/runs/r2") in call.sent[0]["headers"]


class Stripped:
    """An app below a path, which reads `path` alone, as Falcon does."""

    def __init__(self, app: Any, prefix: str) -> None:
        self.app, self.prefix = app, prefix

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"].startswith(self.prefix), scope["path"]
        await self.app({**scope, "path": scope["path"].removeprefix(self.prefix), "root_path": ""}, receive, send)


MOUNTS = [
    # root_path, path and raw_path of a request; what stands before the routes in both paths
    ("/api", "/api/runs/resume", b"/api/runs/resume", "/api", b"/api"),  # uvicorn --root-path
    ("/api", "/runs/resume", b"/runs/resume", "", b""),  # hypercorn, daphne, granian; FastAPI(root_path=...)
    ("/api/agents", "/agents/runs/resume", b"/agents/runs/resume", "/agents", b"/agents"),  # a mount in such an app
    ("/api/agents", "/api/agents/runs/resume", b"/api/agents/runs/resume", "/api/agents", b"/api/agents"),
    ("/mü", "/mü/runs/resume", b"/m%c3%bc/runs/resume", "/mü", b"/m%C3%BC"),
    ("/api", "/runs/resume", b"/api/runs/resume", "", b"/api"),  # an app that removes its mount from `path` alone
    ("/api", "/api/runs/resume", None, "/api", b"/api"),
    ("/runs", "/runs/runs/resume", b"/runs/runs/resume", "/runs", b"/runs"),
    ("/api/", "/api//runs/resume", b"/api//runs/resume", "/api/", b"/api/"),  # uvicorn --root-path /api/
]


@pytest.mark.anyio
@pytest.mark.parametrize(("root", "path", "raw", "before", "before_raw"), MOUNTS)
async def test_lookups_and_sends_are_below_the_path_that_the_resume_came_with(
    root: str, path: str, raw: bytes | None, before: str, before_raw: bytes
) -> None:
    agent = Agent()
    scope = http("PATCH", path, root_path=root, raw_path=raw)
    await (call := Call(BODY))(ResumeShim(Stripped(agent, before), "agent-protocol"), scope)
    assert call.status == 200
    assert {seen.path for seen in agent.seen} >= {"/threads/t", "/runs"}
    assert [seen.scope["raw_path"] for seen in agent.seen] == [before_raw + seen.path.encode() for seen in agent.seen]
    assert (b"content-location", f"{escape(root)}/runs/r2".encode()) in call.sent[0]["headers"]


@pytest.mark.anyio
@pytest.mark.parametrize(("root", "path", "raw", "before", "before_raw"), MOUNTS)
async def test_a_backend_below_a_mount_is_detected_there(
    root: str, path: str, raw: bytes | None, before: str, before_raw: bytes
) -> None:
    shim = ResumeShim(Stripped(Agent(extra={"/info": info}), before))
    await Call(b"{}")(shim, http("PATCH", path, root_path=root, raw_path=raw))
    assert shim.backend == "langgraph"


async def info(scope: Scope, receive: Any, send: Any) -> None:
    await reply(send, LANGGRAPH)


@pytest.mark.anyio
async def test_a_mount_stands_before_the_runs_address() -> None:
    scope = http("PATCH", "/mü/runs/resume", root_path="/mü")
    await (call := Call(BODY))(ResumeShim(Agent(), "agent-protocol"), scope)
    assert (b"content-location", b"/m%C3%BC/runs/r2") in call.sent[0]["headers"]


@pytest.mark.parametrize(
    ("backend", "says"), [("langraph", "Did you mean 'langgraph'"), ("", "Unknown backend ''"), ("x", "there are auto")]
)
def test_an_unknown_backend_is_refused_at_once(backend: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        ResumeShim(Recorder(), backend)


def test_a_place_for_the_answer_has_no_meaning_elsewhere() -> None:
    with pytest.raises(ConfigurationError, match="resume_at has no meaning for langgraph"):
        ResumeShim(Recorder(), "langgraph", resume_at="/command/resume")


def test_a_dialect_of_ones_own_is_taken_as_it_is() -> None:
    with serving(ResumeShim(Agent(), load_backend("agent-protocol"))) as url:
        assert resume(url).status_code == 200


def described(info: Any = None, openapi: Any = None) -> Agent:
    """A server that tells what it is."""

    def told(value: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            asked.append(scope["path"])
            await reply(send, value, 404 if value is None else 200)

        return app

    asked: list[str] = []
    agent = Agent(extra={"/info": told(info), "/openapi.json": told(openapi)})
    agent.asked = asked  # type: ignore[attr-defined]
    return agent


PATHS: dict[str, Any] = {path: {"post": {}} for path in ("/runs", "/runs/wait", "/runs/stream", "/threads")}
NATIVE: dict[str, Any] = {f"/runs/resume{tail}": {"patch": {}} for tail in ("", "/wait", "/stream")}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("info", "openapi", "name"),
    [
        (None, {"paths": PATHS}, "agent-protocol"),
        (LANGGRAPH, None, "langgraph"),
        ({"langgraph_js_version": "1"}, None, "langgraph"),
        ({"name": "Aegra"}, None, "aegra"),
        (LANGGRAPH, {"paths": NATIVE}, "native"),
    ],
)
async def test_a_backend_is_recognised_and_named_in_the_log(
    info: Any, openapi: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "ap_resume_shim"):
        await Call(b"{}")(ResumeShim(described(info, openapi)), http("PATCH", "/runs/resume"))
    said = [record.getMessage() for record in caplog.records if record.name == "ap_resume_shim"]
    assert [message.split(" (")[0] for message in said] == [f"the backend is {name}"]


@pytest.mark.anyio
async def test_a_recognised_backend_is_asked_once() -> None:
    shim = ResumeShim(agent := described(None, {"paths": PATHS}))
    for _ in range(2):
        agent.status = "interrupted"
        await (call := Call(BODY))(shim, http("PATCH", "/runs/resume"))
        assert call.status == 200
    assert agent.asked == ["/info", "/openapi.json"]  # type: ignore[attr-defined]


@pytest.mark.anyio
async def test_a_backend_found_to_be_native_answers_itself() -> None:
    shim = ResumeShim(agent := described(None, {"paths": NATIVE}))
    await (call := Call(BODY))(shim, http("PATCH", "/runs/resume"))
    ours = [(seen.method, seen.body) for seen in agent.seen if seen.method == "PATCH"]
    assert (call.status, ours) == (200, [("PATCH", BODY)])


@pytest.mark.anyio
async def test_an_unknown_backend_is_said_with_what_to_pass() -> None:
    error = await refused(http("PATCH", "/runs/resume"), backend="auto")
    assert error["code"] == "upstream_error"  # the recorder does not even answer
    await (call := Call(BODY))(ResumeShim(described()), http("PATCH", "/runs/resume"))
    told = json.loads(call.answer)
    assert (call.status, told["code"], told["metadata"]["info_status"]) == (502, "upstream_unrecognised", 404)
    assert "backend=" in told["message"] and "--backend" in told["message"]


@pytest.mark.anyio
async def test_a_failed_detection_is_tried_again() -> None:
    agent = described()
    await Call(BODY)(shim := ResumeShim(agent), http("PATCH", "/runs/resume"))
    agent.extra = described(None, {"paths": PATHS}).extra
    await (call := Call(BODY))(shim, http("PATCH", "/runs/resume"))
    assert call.status == 200


@pytest.mark.anyio
async def test_what_strangers_are_refused_decides_nothing() -> None:
    """LangGraph's server with `/info` for its users alone: its routes are those of the protocol, too."""

    async def for_users(scope: Any, receive: Any, send: Any) -> None:
        knows = any(name == b"authorization" for name, _ in scope["headers"])
        await reply(send, LANGGRAPH if knows else {"detail": "who are you?"}, 200 if knows else 401)

    agent = described(LANGGRAPH, {"paths": PATHS})
    agent.extra["/info"] = for_users
    shim = ResumeShim(agent)
    with pytest.raises(UpstreamRefused):
        await shim.detect()
    await (stranger := Call(BODY))(shim, http("PATCH", "/runs/resume"))
    assert (stranger.status, json.loads(stranger.answer)["code"], shim.backend) == (401, "unauthorized", None)
    await Call(BODY)(shim, http("PATCH", "/runs/resume", headers=[(b"authorization", b"Bearer u")]))
    assert shim.backend == "langgraph"


@pytest.mark.anyio
async def test_options_of_another_backend_than_the_detected_one_are_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    shim = ResumeShim(described(LANGGRAPH), options={"path": "/agent"})
    await (call := Call(BODY))(shim, http("PATCH", "/runs/resume"))
    assert (call.status, json.loads(call.answer)["code"]) == (502, "upstream_unrecognised")
    reason = vars(caplog.records[-1])["reason"]
    assert reason.startswith(
        "The shim is not set up for the backend langgraph: The backend 'langgraph' has no option 'path'"
    )


@pytest.mark.anyio
async def test_of_two_that_come_first_one_finds_out() -> None:
    shim = ResumeShim(agent := described(None, {"paths": PATHS}))
    calls = [Call(BODY), Call(BODY)]
    await asyncio.gather(*(call(shim, http("PATCH", "/runs/resume")) for call in calls))
    assert sorted(call.status for call in calls) == [200, 409]
    assert agent.asked == ["/info", "/openapi.json"]  # type: ignore[attr-defined]


@pytest.mark.anyio
async def test_a_body_too_large_is_answered_although_it_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_DRAIN", 0.1)
    parts = iter([b"x" * 8, b"x" * 8, b"unread"])
    call = Call()

    async def receive() -> Message:
        if part := next(parts, None):
            return {"type": "http.request", "body": part, "more_body": True}
        await asyncio.sleep(60)
        raise AssertionError("the client is not waited for")

    shim = ResumeShim(Recorder(), "agent-protocol", limits=Limits(body=10))
    await shim(http("PATCH", "/runs/resume"), receive, call.send)
    assert (call.status, json.loads(call.answer)["code"], next(parts, "read")) == (413, "request_too_large", "read")


@pytest.mark.anyio
async def test_a_client_that_leaves_in_its_body_is_not_answered() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await ResumeShim(app := Recorder(), "agent-protocol")(http("PATCH", "/runs/resume"), receive, (call := Call()).send)
    assert (app.calls, call.sent) == ([], [])


@pytest.mark.parametrize(("app", "prefix"), [("http://127.0.0.1:2024", ""), (Agent(), "api"), (Agent(), "/api/")])
def test_a_shim_that_no_request_would_reach_cannot_be_made(app: Any, prefix: str) -> None:
    with pytest.raises(ConfigurationError):
        ResumeShim(app, "agent-protocol", prefix=prefix)
