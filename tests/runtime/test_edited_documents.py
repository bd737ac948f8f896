"""Documents of the backend that the shim changes: the OpenAPI file (`merge_openapi`), and A2A's card (`public_url`)."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ap_resume_shim import ResumeShim, ReverseProxy
from ap_resume_shim.backends.a2a.public_card import PublicCard
from ap_resume_shim.http1.server_connection import Http1Protocol
from ap_resume_shim.runtime import edited_documents
from tests.support.agent import PROTOCOL, Agent, resume
from tests.support.calling import CLIENT, Call, Recorder, http
from tests.support.serving import serving

ROUTES = {"/runs/resume", "/runs/resume/wait", "/runs/resume/stream"}
FILE: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/threads": {}}}
PLACEMENTS = ["in process", "sidecar"]


@contextmanager
def merging(app: ASGIApp, placement: str = "in process", **options: Any) -> Iterator[str]:
    """Serve an app with the shim in front of it."""
    options = {"merge_openapi": True, "backend": PROTOCOL, **options}
    if placement == "in process":
        with serving(ResumeShim(app, **options)) as url:
            yield url
    else:
        with (
            serving(app) as upstream,
            serving(ResumeShim(ReverseProxy(upstream), **options), http=Http1Protocol) as url,
        ):
            yield url


def answering(response: Response) -> ASGIApp:
    """A backend with this response at `/openapi.json`."""

    async def describe(request: Request) -> Response:
        return response

    return Starlette(routes=[Route("/openapi.json", describe, methods=["GET", "POST"])])


async def conditional(request: Request) -> Response:
    """The file with an ETag, and 304 for those who have it."""
    headers = {"etag": '"v1"', "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT", "accept-ranges": "bytes"}
    if request.headers.get("if-none-match") or request.headers.get("if-modified-since"):
        return Response(status_code=304, headers=headers)
    if request.headers.get("range"):
        return Response(b"{", 206, headers, "application/json")
    return JSONResponse(FILE, headers={**headers, "cache-control": "max-age=60", "x-own": "1"})


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_file_of_a_fastapi_app_has_the_routes(placement: str) -> None:
    app = FastAPI()
    app.add_api_route("/threads", lambda: [])
    with merging(app, placement) as url:
        response = CLIENT.get(f"{url}/openapi.json")
    file = response.json()
    assert response.headers["content-length"] == str(len(response.content))
    assert set(file["paths"]) == {"/threads", *ROUTES}
    schemathesis.openapi.from_dict(file).validate()


def test_off_is_the_default_and_hands_over_the_same_objects() -> None:
    app = Recorder()
    scope = http(path="/openapi.json")
    call = Call()
    asyncio.run(ResumeShim(app, PROTOCOL)(scope, call.receive, call.send))
    ((seen, receive, send),) = app.calls
    assert (seen is scope, receive, send) == (True, call.receive, call.send)


@pytest.mark.parametrize(
    "scope",
    [
        http(path="/openapi.json", method="POST"),
        http(path="/openapi.json", method="PATCH"),
        http(path="/openapi.yaml"),
        http(path="/docs/openapi.json"),
        {"type": "websocket", "path": "/openapi.json", "headers": []},
    ],
)
def test_other_requests_pass_untouched(scope: Scope) -> None:
    app, call = Recorder(), Call()
    asyncio.run(ResumeShim(app, PROTOCOL, merge_openapi=True)(scope, call.receive, call.send))
    ((seen, receive, send),) = app.calls
    assert (seen is scope, receive, send) == (True, call.receive, call.send)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(
    "condition",
    [{}, {"if-none-match": '"v1"'}, {"if-modified-since": "Sun, 06 Nov 2094 08:49:37 GMT"}, {"range": "bytes=0-0"}],
)
def test_a_condition_on_the_backends_bytes_is_not_applied_to_the_merged_ones(
    condition: dict[str, str], placement: str
) -> None:
    with merging(Starlette(routes=[Route("/openapi.json", conditional)]), placement) as url:
        response = CLIENT.get(f"{url}/openapi.json", headers=condition)
    assert response.status_code == 200
    assert set(response.json()["paths"]) > ROUTES
    assert not {"etag", "last-modified", "accept-ranges"} & set(response.headers)
    assert (response.headers["cache-control"], response.headers["x-own"]) == ("max-age=60", "1")


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_backend_that_compresses_sends_the_file_in_no_coding(placement: str) -> None:
    app = FastAPI()
    app.add_middleware(GZipMiddleware, minimum_size=1)
    with merging(app, placement) as url:
        response = CLIENT.get(f"{url}/openapi.json", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in response.headers
    assert set(response.json()["paths"]) == ROUTES


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_head_has_nothing_of_the_backends_bytes(placement: str) -> None:
    with merging(Starlette(routes=[Route("/openapi.json", conditional)]), placement) as url:
        response = CLIENT.head(f"{url}/openapi.json", headers={"if-none-match": '"v1"'})
    assert (response.status_code, response.content, response.headers["x-own"]) == (200, b"", "1")
    assert not {"etag", "last-modified", "accept-ranges", "content-length"} & set(response.headers)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(
    "response",
    [
        JSONResponse(FILE, 404, {"etag": '"a"'}),
        JSONResponse(FILE, 401, {"www-authenticate": "Basic"}),
        JSONResponse(FILE, 203, {"etag": '"a"'}),
        RedirectResponse("/login"),
        Response(b"<html>", media_type="text/html", headers={"etag": '"a"'}),
        Response(gzip.compress(json.dumps(FILE).encode()), headers={"content-encoding": "gzip", "etag": '"a"'}),
    ],
)
def test_another_response_passes_unchanged(response: Response, placement: str, method: str) -> None:
    assert _with_shim(response, placement, method) == _without_shim(response, method)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(
    "body",
    [b"", b"no JSON", b"[1]", b'"text"', b'{"swagger":"2.0"}', b'{"openapi":"3.1.0","paths":{},"x":NaN}', b"\xff{}"],
)
def test_a_body_that_is_no_openapi_3_file_passes_unchanged(body: bytes, placement: str) -> None:
    response = Response(body, media_type="application/json", headers={"etag": '"a"'})
    assert _with_shim(response, placement) == _without_shim(response)


def _with_shim(response: Response, placement: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    with merging(answering(response), placement) as url:
        return _got(url, method)


def _without_shim(response: Response, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    with serving(answering(response)) as url:
        return _got(url, method)


def _got(url: str, method: str) -> tuple[int, dict[str, str], bytes]:
    with CLIENT.stream(method, f"{url}/openapi.json") as got:
        headers = {name: value for name, value in got.headers.items() if name not in ("date", "connection")}
        return got.status_code, headers, b"".join(got.iter_raw())


def test_a_native_backend_describes_its_routes_itself() -> None:
    with merging(answering(JSONResponse(FILE)), backend="native") as url:
        assert CLIENT.get(f"{url}/openapi.json").json() == FILE


def test_a_backend_that_is_detected_as_native_describes_its_routes_itself() -> None:
    file = {**FILE, "paths": {route: {"patch": {}} for route in ROUTES}}

    async def describe(request: Request) -> Response:
        return JSONResponse(file)

    with merging(Starlette(routes=[Route("/openapi.json", describe)]), backend="auto") as url:
        assert CLIENT.patch(f"{url}/runs/resume", json={}).status_code == 404
        file["paths"].pop("/runs/resume/wait")
        assert CLIENT.get(f"{url}/openapi.json").json() == file


def test_detection_reads_the_backends_own_file() -> None:
    agent = Agent(extra={"/openapi.json": answering(JSONResponse(FILE)), "/info": answering(Response(status_code=404))})
    with merging(agent, backend="auto") as url:
        assert set(CLIENT.get(f"{url}/openapi.json").json()["paths"]) > ROUTES
        response = CLIENT.patch(f"{url}/runs/resume", json={"thread_id": "t"})
    assert (response.status_code, response.json()["code"]) == (502, "upstream_unrecognised")


def test_a_mounted_app_keeps_its_own_paths() -> None:
    app = FastAPI()
    app.add_api_route("/threads", lambda: [])
    with serving(Starlette(routes=[Mount("/below/here", app=ResumeShim(app, PROTOCOL, merge_openapi=True))])) as url:
        file = CLIENT.get(f"{url}/below/here/openapi.json").json()
    assert set(file["paths"]) == {"/threads", *ROUTES}
    assert file["servers"] == [{"url": "/below/here"}]


def test_a_router_with_a_prefix_is_described_at_the_root() -> None:
    app = FastAPI()
    router = APIRouter(prefix="/agents")
    router.add_api_route("/threads", lambda: [])
    app.include_router(router)
    with merging(app, prefix="/agents") as url:
        file = CLIENT.get(f"{url}/openapi.json").json()
    assert set(file["paths"]) == {"/agents/threads", *(f"/agents{route}" for route in ROUTES)}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_an_app_below_a_prefix_is_described_there(placement: str) -> None:
    inner, outer = FastAPI(), FastAPI()
    inner.add_api_route("/threads", lambda: [])
    outer.mount("/api", inner)
    with merging(outer, placement, prefix="/api") as url:
        assert set(CLIENT.get(f"{url}/api/openapi.json").json()["paths"]) == {"/threads", *ROUTES}
        assert CLIENT.get(f"{url}/openapi.json").json()["paths"] == {}


def test_a_file_from_the_disk_is_merged_where_the_server_could_send_it_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text(json.dumps(FILE))
    app, scope = answering(FileResponse(tmp_path / "file.json")), http(path="/openapi.json")
    assert "http.response.pathsend" in scope["extensions"]
    call = Call()
    asyncio.run(call(ResumeShim(app, PROTOCOL, merge_openapi=True), scope))
    assert set(json.loads(call.answer)["paths"]) > ROUTES


def test_a_file_that_cannot_be_read_is_no_failure_of_the_app() -> None:
    call = Call()
    app = answering(Response(b"no JSON", media_type="application/json"))
    asyncio.run(call(ResumeShim(app, PROTOCOL, merge_openapi=True), http(path="/openapi.json")))
    assert (call.status, call.answer) == (200, b"no JSON")


def test_a_large_file_is_merged_and_a_larger_one_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    file = {**FILE, "x-large": "ü" * 100_000}
    with merging(answering(JSONResponse(file))) as url:
        merged = CLIENT.get(f"{url}/openapi.json").json()
        assert (merged["x-large"], set(merged["paths"]) > ROUTES) == (file["x-large"], True)
        monkeypatch.setattr(edited_documents, "LARGEST", 100_000)
        assert CLIENT.get(f"{url}/openapi.json").json() == file


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_response_that_breaks_off_looks_broken(placement: str) -> None:
    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"openapi"', "more_body": True})
        raise RuntimeError("the backend breaks off")

    with merging(breaks_off, placement) as url, CLIENT.stream("GET", f"{url}/openapi.json") as response:
        assert (response.status_code, response.headers["content-length"]) == (200, "100")
        with pytest.raises(httpx.RemoteProtocolError):
            response.read()


def test_messages_of_an_unknown_type_pass_in_order() -> None:
    async def odd(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.debug", "info": {}})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    call = Call()
    asyncio.run(call(ResumeShim(odd, PROTOCOL, merge_openapi=True), http(path="/openapi.json")))
    assert [message["type"].rpartition(".")[2] for message in call.sent] == ["debug", "start", "body"]


def test_a_page_of_another_origin_reads_the_file_as_the_backend_allows() -> None:
    headers = {"access-control-allow-origin": "https://app.example", "vary": "Origin"}
    with merging(answering(JSONResponse(FILE, headers=headers))) as url:
        response = CLIENT.get(f"{url}/openapi.json", headers={"origin": "https://app.example"})
    assert {name: response.headers[name] for name in headers} == headers


def test_resumes_work_beside_it() -> None:
    with merging(Agent()) as url:
        assert resume(url).status_code == 200


CARD: dict[str, Any] = {
    "name": "helper",
    "supportedInterfaces": [
        {"protocolBinding": "HTTP+JSON", "protocolVersion": "1.0", "url": "http://agent.example/a2a"}
    ],
}


WELL_KNOWN = "/.well-known/agent-card.json"


@contextmanager
def leading(card: Response, placement: str = "in process", **options: Any) -> Iterator[str]:
    """Serve an A2A agent without tasks, with the shim in front of it and the option `public_url`."""

    async def show(request: Request) -> Response:
        return card

    async def tasks(request: Request) -> Response:
        return JSONResponse({"tasks": []})

    app = Starlette(routes=[Route(WELL_KNOWN, show), Route("/a2a/tasks", tasks)])
    options = {"backend": "a2a", "options": {"public_url": "https://shim.example/edge"}, **options}
    with merging(app, placement, merge_openapi=False, **options) as url:
        yield url


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_card_leads_clients_to_the_shim_which_reads_the_agents_own(placement: str) -> None:
    with leading(JSONResponse(CARD), placement) as url:
        (interface,) = CLIENT.get(url + WELL_KNOWN).json()["supportedInterfaces"]
        response = CLIENT.patch(f"{url}/runs/resume", json={"thread_id": "c", "input": "yes"})
    assert interface["url"] == "https://shim.example/edge/a2a"
    assert response.json()["code"] == "thread_not_found", "the tasks are those of /a2a/tasks"


RAW = json.dumps(CARD).encode()
NO_INTERFACES = {"name": "helper", "supportedInterfaces": []}
SIGNED = {**CARD, "signatures": [{"protected": "e30", "signature": "QQ"}]}


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (JSONResponse(SIGNED), "The card is signed"),
        (JSONResponse(NO_INTERFACES), "The agent's card offers none"),
        (Response(gzip.compress(RAW), headers={"content-encoding": "gzip"}), "encoded as 'gzip'"),
        (Response(RAW, media_type="text/html"), "media type 'text/html'"),
        (Response(RAW, 203, media_type="application/json"), "status is 203"),
        (Response(RAW + b" " * 5000), "larger than 4000 bytes"),
        (Response(RAW[:-1]), "not JSON"),
        (Response(RAW[:-1] + b', "x": NaN}'), "NaN is not JSON"),
        (Response(RAW[:-1] + b', "name": ""}'), "'name' occurs twice"),
        (Response(RAW[:-1] + b', "x": ' + b"[" * 300 + b"]" * 300 + b"}"), "nested deeper"),
    ],
)
def test_a_card_that_cannot_be_changed_passes_and_the_log_has_the_reason_once(
    card: Response, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(edited_documents, "LARGEST", 4000)
    with leading(card) as url:
        for _ in range(2):
            with CLIENT.stream("GET", url + WELL_KNOWN) as response:
                assert b"".join(response.iter_raw()) == card.body
    (line,) = logged(caplog)
    assert line.startswith(f"{WELL_KNOWN} passes unchanged, although `public_url` is set. ")
    assert reason in line


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "ap_resume_shim"]


def test_a_fault_of_an_edit_is_logged_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(PublicCard, "apply", lambda *_, **__: 1 / 0)
    with leading(JSONResponse(CARD)) as url:
        assert CLIENT.get(url + WELL_KNOWN).json() == CARD
    (record,) = [each for each in caplog.records if each.name == "ap_resume_shim"]
    assert record.exc_info is not None and record.exc_info[0] is ZeroDivisionError


def test_a_response_that_is_no_document_passes_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with leading(JSONResponse({"detail": "Not Found"}, 404)) as url:
        assert CLIENT.get(url + WELL_KNOWN).status_code == 404
    assert logged(caplog) == []


def test_a_card_with_a_byte_order_mark_is_changed_since_lookups_read_it() -> None:
    with leading(Response(b"\xef\xbb\xbf" + RAW)) as url:
        (interface,) = CLIENT.get(url + WELL_KNOWN).json()["supportedInterfaces"]
    assert interface["url"] == "https://shim.example/edge/a2a"


def helper(url: str, binding: str, below: str) -> ASGIApp:
    """An A2A agent without tasks at `/a2a`, whose card has this URL; all of it is below a path."""
    interface = {"protocolBinding": binding, "protocolVersion": "1.0", "url": url}

    async def show(request: Request) -> Response:
        return JSONResponse({"name": "helper", "supportedInterfaces": [interface]})

    async def tasks(request: Request) -> Response:
        return JSONResponse({"jsonrpc": "2.0", "result": {"tasks": []}} if binding == "JSONRPC" else {"tasks": []})

    rpc = Route(f"{below}/a2a", tasks, methods=["POST"])
    return Starlette(routes=[Route(below + WELL_KNOWN, show), Route(f"{below}/a2a/tasks", tasks), rpc])


def mounted(app: ASGIApp, options: dict[str, str]) -> ASGIApp:
    return Starlette(routes=[Mount("/helper", app=ResumeShim(app, "a2a", options=options))])


@pytest.mark.parametrize("binding", ["HTTP+JSON", "JSONRPC"])
@pytest.mark.parametrize(
    ("url", "public", "option"),
    [
        ("http://h/helper/a2a", "/helper/a2a", {}),
        ("../a2a", "/helper/a2a", {}),
        ("http://h/a2a", "/a2a", {}),
        ("http://h/wrong", "/helper/a2a", {"path": "/a2a"}),
    ],
)
@pytest.mark.parametrize("placement", ["mount", "prefix"])
def test_the_path_in_a_card_may_contain_the_mount_point(
    url: str, public: str, option: dict[str, str], placement: str, binding: str
) -> None:
    options = {"public_url": "https://shim.example", **option}
    if placement == "prefix":
        app: ASGIApp = ResumeShim(helper(url, binding, "/helper"), "a2a", prefix="/helper", options=options)
    else:
        app = mounted(helper(url, binding, ""), options)
    with serving(app) as served:
        (interface,) = CLIENT.get(f"{served}/helper{WELL_KNOWN}").json()["supportedInterfaces"]
        response = CLIENT.patch(f"{served}/helper/runs/resume", json={"thread_id": "c", "input": "yes"})
    assert interface["url"] == f"https://shim.example{public}"
    assert response.json()["code"] == "thread_not_found", "the tasks are those of /helper/a2a"


@pytest.mark.parametrize("path", ["/edge/helper/a2a", "/helper/a2a", "/a2a"])
def test_the_mount_point_may_contain_a_path_that_a_proxy_has_removed(path: str) -> None:
    app = mounted(helper(f"http://h{path}", "HTTP+JSON", ""), {"public_url": "https://shim.example"})

    async def behind_a_proxy(scope: Scope, receive: Receive, send: Send) -> None:  # as uvicorn with --root-path
        await app({**scope, "root_path": "/edge", "path": f"/edge{scope['path']}", "raw_path": None}, receive, send)

    with serving(behind_a_proxy) as served:
        (interface,) = CLIENT.get(f"{served}/helper{WELL_KNOWN}").json()["supportedInterfaces"]
        response = CLIENT.patch(f"{served}/helper/runs/resume", json={"thread_id": "c", "input": "yes"})
    assert interface["url"] == f"https://shim.example{path}"
    assert response.json()["code"] == "thread_not_found"
