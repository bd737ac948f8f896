"""Requests that the shim makes, and how the wrapped app is called with them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim.core.asgi import escape
from ap_resume_shim.core.errors import UpstreamError
from ap_resume_shim.core.http import Request
from ap_resume_shim.runtime.exchange import Exchange, synthesise
from tests.support.calling import http

pytestmark = pytest.mark.anyio

LOOKUP = Request.get("/threads/a%2Fb?x=1")


def made(request: Request = LOOKUP, prefix: str = "", **scope: Any) -> Scope:
    return synthesise(http("PATCH", "/runs/resume", **scope), request, prefix)


@pytest.mark.parametrize(
    "name",
    ["host", "authorization", "cookie", "traceparent", "tracestate", "x-forwarded-for", "x-api-key", "user-agent"],
)
async def test_credentials_and_tracing_go_on(name: str) -> None:
    assert (name.encode(), b"v") in made(headers=[(name.encode(), b"v")])["headers"]


@pytest.mark.parametrize(
    "name",
    [
        *("accept-encoding", "content-length", "content-type", "content-encoding", "transfer-encoding", "expect"),
        *("range", "if-match", "if-none-match", "if-range", "connection", "idempotency-key", "ap-interrupt-id"),
        "last-event-id",
    ],
)
async def test_what_belongs_to_the_clients_own_request_does_not(name: str) -> None:
    assert (name.encode(), b"v") not in made(headers=[(name.encode(), b"v")])["headers"]


async def test_repeated_headers_keep_their_order() -> None:
    cookies = [(b"cookie", b"a=1"), (b"x-b", b"2"), (b"cookie", b"c=3")]
    assert made(headers=cookies)["headers"][:3] == cookies


async def test_a_lookup_has_no_body_and_wants_json() -> None:
    assert made(headers=[(b"accept", b"text/html")])["headers"] == [
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
    ]


async def test_a_body_is_announced() -> None:
    assert made(Request.post("/runs", {}), headers=[])["headers"] == [
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
    ]


async def test_a_post_without_a_body_says_so() -> None:
    assert (b"content-length", b"0") in made(Request.post("/runs/r/cancel"))["headers"]


async def test_path_and_raw_path_agree() -> None:
    scope = made()
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/threads/a/b", b"/threads/a%2Fb", b"x=1")


@pytest.mark.parametrize(
    ("root", "prefix", "path"), [("", "", "/"), ("/m", "", "/m/"), ("", "/p", "/p"), ("/m", "/p", "/m/p")]
)
async def test_an_empty_target_is_the_root_or_the_prefix_itself(root: str, prefix: str, path: str) -> None:
    scope = synthesise(http("PATCH", f"{root}{prefix}/runs/resume", root_path=root), Request.post(""), prefix)
    assert (scope["path"], scope["raw_path"]) == (path, path.encode())


async def test_root_path_and_prefix_stand_before_both_paths() -> None:
    client = http("PATCH", "/mü x/api/runs/resume", root_path="/mü x", raw_path=None)
    scope = synthesise(client, Request.get("/info"), "/api")
    assert (scope["path"], scope["raw_path"]) == ("/mü x/api/info", b"/m%C3%BC%20x/api/info")
    assert scope["root_path"] == "/mü x"


async def test_the_clients_scope_is_left_alone() -> None:
    original = http("PATCH", "/runs/resume", path_params={"tenant": "acme"}, state={"pool": 1})
    scope = synthesise(original, LOOKUP, "")
    scope["state"]["pool"] = scope["path_params"]["tenant"] = scope["new"] = 2
    assert (original["state"], original["path_params"], "new" in original) == ({"pool": 1}, {"tenant": "acme"}, False)


async def test_extensions_are_not_handed_on() -> None:
    assert made()["extensions"] == {}


async def test_the_route_that_matched_the_client_is_not_handed_on() -> None:
    scope = made(endpoint="e", route="r", app="app")
    assert ("endpoint" in scope, "route" in scope, scope["app"]) == (False, False, "app")


@pytest.mark.parametrize(
    ("path", "escaped"), [("/a b", "/a%20b"), ("/é", "/%C3%A9"), ("/a:b@c", "/a:b@c"), ("/%", "/%25")]
)
async def test_a_path_is_escaped(path: str, escaped: str) -> None:
    assert escape(path) == escaped


def exchange(app: Any, body: bytes | None = None) -> Exchange:
    return Exchange(app, http("GET", "/looked/up"), body)


def answering(*messages: Any, then: Any = None) -> Any:
    """An app that sends messages, and ends by waiting, or by raising."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if isinstance(then, Exception):
            raise then
        if then is not None:
            await then()

    return app


HEAD = {"type": "http.response.start", "status": 201, "headers": [(b"x", b"\xe9")]}
PART = {"type": "http.response.body", "body": b"part", "more_body": True}
LAST = {"type": "http.response.body", "body": b"last"}


async def test_head_and_body_come_one_after_the_other() -> None:
    made = exchange(answering(HEAD, PART, LAST))
    assert await made.head() == (201, (("x", "é"),))
    assert await made.chunk() == b"part"
    assert await made.read() == b"last"


async def test_the_end_stays_the_end() -> None:
    made = exchange(answering(HEAD, LAST))
    await made.read()
    assert [await made.chunk(), await made.chunk()] == [None, None]


async def test_the_app_receives_the_body_and_then_waits() -> None:
    got = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got.append(await receive())
        got.append(await receive())

    made = exchange(app, b"body")
    await asyncio.sleep(0.01)
    assert got == [{"type": "http.request", "body": b"body", "more_body": False}]
    made.disconnect()
    await made.wait_closed()
    assert got[1:] == [{"type": "http.disconnect"}]


async def test_an_answer_is_there_before_the_app_has_returned() -> None:
    hold = asyncio.Event()
    made = exchange(answering(HEAD, LAST, then=hold.wait))
    assert await made.read() == b"last"
    hold.set()
    await made.wait_closed()


async def test_an_error_before_the_head_is_raised_bare() -> None:
    made = exchange(answering(then=KeyError("early")))
    with pytest.raises(KeyError, match="early"):
        await made.head()
    await made.wait_closed()  # told already


async def test_an_error_in_the_body_is_raised_after_what_came() -> None:
    made = exchange(answering(HEAD, PART, then=KeyError("late")))
    assert await made.chunk() == b"part"
    with pytest.raises(KeyError, match="late"):
        await made.chunk()
    await made.wait_closed()  # told already


async def test_an_error_after_the_answer_is_raised_at_the_end() -> None:
    made = exchange(answering(HEAD, LAST, then=KeyError("afterwards")))
    assert await made.read() == b"last"
    with pytest.raises(KeyError, match="afterwards"):
        await made.wait_closed()


async def test_an_error_of_an_app_that_was_forgotten_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    made = exchange(answering(HEAD, LAST, then=KeyError("afterwards")))
    await made.read()
    made.abandon()
    await asyncio.sleep(0.01)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (
        logging.ERROR,
        "the app failed after its response to GET /looked/up",
    )


async def test_a_backend_that_breaks_off_when_nobody_waits_any_more_is_no_error_of_the_app(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = exchange(answering(then=UpstreamError("The backend broke off.")))
    made.abandon()
    await asyncio.sleep(0.01)
    assert not caplog.records


async def test_an_error_that_was_told_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    made = exchange(answering(then=KeyError("early")))
    with pytest.raises(KeyError):
        await made.head()
    made.abandon()
    await asyncio.sleep(0.01)
    assert not caplog.records


async def test_an_app_that_does_not_answer_is_an_upstream_error() -> None:
    with pytest.raises(UpstreamError, match="sent no response"):
        await exchange(answering()).head()


async def test_an_answer_without_an_end_is_an_upstream_error() -> None:
    made = exchange(answering(HEAD, PART))
    with pytest.raises(UpstreamError, match="ended before it was complete"):
        await made.read()


async def test_the_app_is_at_most_two_chunks_ahead() -> None:
    sent = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(HEAD)
        for number in range(100):
            await send(PART)
            sent.append(number)

    made = exchange(app)
    for _ in range(5):
        await made.chunk()
        await asyncio.sleep(0.01)
    assert 5 <= len(sent) <= 7
    made.disconnect()
    await made.wait_closed()
    assert len(sent) == 100, "what nobody takes goes nowhere"


async def test_an_app_that_sends_on_after_its_end_is_not_heard() -> None:
    made = exchange(answering(HEAD, LAST, PART, LAST))
    assert await made.read() == b"last"
    await made.wait_closed()
