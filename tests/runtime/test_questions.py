"""`Questions` in front of a server that fails, shrinks or floods, and of callers whom it does not know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from ap_resume_shim import Limits, Questions, ResumeShim
from ap_resume_shim.core.errors import UpstreamUnreachable
from ap_resume_shim.runtime import questions
from tests.support.agent import read, reply
from tests.support.calling import Call, http

pytestmark = pytest.mark.anyio

ALICE = (b"authorization", b"Bearer alice")
Broken = Callable[[Send], Awaitable[None]]


class Server:
    """A server of the Agent Protocol; `odd` are threads with a response of their own."""

    def __init__(self, count: int = 3, value: Any = "sure?", odd: dict[str, Broken] | None = None) -> None:
        self.count, self.value, self.odd = count, value, odd or {}
        self.users: set[bytes] | None = None
        self.seen: list[tuple[str, str]] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        self.seen.append((scope["method"], path))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.respond(
                path.removeprefix(scope["root_path"]),
                dict(scope["headers"]),
                json.loads(await read(receive) or b"null"),
                send,
            )
        finally:
            self.at_once -= 1

    async def respond(self, path: str, headers: dict[bytes, bytes], body: Any, send: Send) -> None:
        await asyncio.sleep(0)
        if self.users is not None and headers.get(b"authorization") not in self.users:
            await reply(send, {"detail": "who are you?"}, 401)
        elif path == "/threads/search":
            first, last = body["offset"], min(body["offset"] + body["limit"], self.count)
            await reply(send, [{"thread_id": f"t{number}", "agent_id": "a"} for number in range(first, last)])
        elif path == "/runs/search":
            await reply(send, [{"run_id": "r", "agent_id": "a"}])
        elif path.removeprefix("/threads/") in self.odd:
            await self.odd[path.removeprefix("/threads/")](send)
        elif path.startswith("/threads/t"):
            asks = [{"id": f"q{path[10:]}", "value": self.value}]
            await reply(send, {"status": "interrupted", "interrupts": asks, "values": {"secret": "input"}})
        else:
            await reply(send, {"detail": "not found"}, 404)


def vanished(send: Send) -> Awaitable[None]:
    return reply(send, {"detail": "not found"}, 404)


def failed(send: Send) -> Awaitable[None]:
    return reply(send, {"detail": "no disk"}, 500)


def answered(send: Send) -> Awaitable[None]:
    return reply(send, {"status": "idle", "interrupts": []})


def busy(send: Send) -> Awaitable[None]:
    return reply(send, {"status": "busy", "interrupts": [{"id": "q", "value": "old"}]})


def at_breakpoint(send: Send) -> Awaitable[None]:
    return reply(send, {"status": "interrupted", "interrupts": []})


def flooded(send: Send) -> Awaitable[None]:
    return reply(send, {"status": "interrupted", "interrupts": [{"id": "q", "value": "x" * 40_000}]})


async def crashed(_: Send) -> None:
    raise RuntimeError("crash")


async def unreachable(_: Send) -> None:
    raise UpstreamUnreachable("No connection to the backend.")


async def silent(_: Send) -> None:
    await asyncio.sleep(60)


def shim(server: ASGIApp, **options: Any) -> ResumeShim:
    return ResumeShim(server, "agent-protocol", **options)


async def get(app: ASGIApp, path: str = "/", query: str = "", *headers: tuple[bytes, bytes], **more: Any) -> Call:
    call = Call()
    await call(app, http(path=path, query_string=query.encode(), headers=[(b"host", b"here"), *headers], **more))
    return call


async def listed(server: Server, query: str = "") -> dict[str, Any]:
    call = await get(Questions(shim(server)), query=query)
    assert call.status == 200, call.answer
    assert (b"cache-control", b"no-store") in call.sent[0]["headers"]
    page: dict[str, Any] = json.loads(call.answer)
    return page


def threads_of(page: dict[str, Any]) -> list[str]:
    return [question["thread_id"] for question in page["questions"]]


async def test_the_threads_of_a_page_are_read_side_by_side() -> None:
    server = Server(1000)
    page = await listed(server)
    assert threads_of(page) == [f"t{number}" for number in range(20)]
    assert (len(server.seen), server.most_at_once) == (21, 20)
    assert threads_of(await listed(server, f"limit=5&cursor={page['next']}")) == [f"t{n}" for n in range(20, 25)]


async def test_a_question_has_its_answers_request_and_nothing_of_the_threads_values() -> None:
    (question,) = (await listed(Server(1)))["questions"]
    assert question["resume"] == {
        "method": "PATCH",
        "path": "/runs/resume",
        "body": {"thread_id": "t0", "interrupt_id": "q0", "input": {"$choice": "value"}},
    }
    assert (question["kind"], question["agent_id"], question["asked_at"]) == ("text", "a", None)
    assert "secret" not in json.dumps(question)


@pytest.mark.parametrize("gone", [vanished, answered, busy, at_breakpoint])
async def test_threads_that_vanish_or_move_on_leave_the_page(gone: Broken) -> None:
    page = await listed(Server(3, odd={"t0": gone, "t2": gone}))
    assert (threads_of(page), page["notes"]) == (["t1"], [])


@pytest.mark.parametrize("fault", [failed, crashed, unreachable, silent])
async def test_a_thread_that_cannot_be_read_is_named_and_the_others_are_shown(fault: Broken) -> None:
    server = Server(3, odd={"t1": fault})
    call = await get(Questions(shim(server, limits=Limits(lookup=0.2))))
    page = json.loads(call.answer)
    assert threads_of(page) == ["t0", "t2"]
    (note,) = page["notes"]
    assert note.startswith("These threads could not be read: t1. ")


def refused(send: Send) -> Awaitable[None]:
    return reply(send, {"detail": "slow down"}, 429)


@pytest.mark.parametrize(
    ("fault", "status", "code"), [(unreachable, 502, "upstream_unreachable"), (refused, 429, "rate_limited")]
)
async def test_a_backend_that_is_gone_or_refuses_the_caller_is_an_error(fault: Broken, status: int, code: str) -> None:
    server = Server(2, odd={"t0": fault, "t1": fault})
    call = await get(Questions(shim(server)))
    assert (call.status, json.loads(call.answer)["code"]) == (status, code)


@pytest.mark.parametrize("fault", [failed, crashed, silent])
async def test_threads_that_can_never_be_read_do_not_hide_the_next_page(fault: Broken) -> None:
    server = Server(22, odd={f"t{number}": fault for number in range(20)})
    page = json.loads((await get(Questions(shim(server, limits=Limits(lookup=0.2))))).answer)
    assert (page["questions"], len(page["notes"])) == ([], 1)
    assert threads_of(await listed(server, f"cursor={page['next']}")) == ["t20", "t21"]


async def test_a_page_of_threads_that_all_vanished_is_empty() -> None:
    page = await listed(Server(2, odd={"t0": vanished, "t1": vanished}))
    assert page == {"listed": True, "questions": [], "next": None, "notes": []}


async def test_questions_that_are_too_large_for_the_list_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MOST_BYTES", 20_000)
    server = Server(3, odd={"t1": flooded})
    page = await listed(server)
    assert threads_of(page) == ["t0", "t2"]
    assert page["notes"] == ["The questions of these threads are too large for a list: t1."]
    whole = json.loads((await get(Questions(shim(server)), "/t1")).answer)
    assert len(whole["questions"][0]["value"]) == 40_000


async def test_a_response_that_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "LARGEST_STATE", 20_000)
    page = await listed(Server(3, odd={"t1": flooded}))
    assert threads_of(page) == ["t0", "t2"]
    assert page["notes"][0].startswith("These threads could not be read: t1. ")


@pytest.mark.parametrize("path", ["/", "/t0"])
async def test_a_caller_whom_the_server_refuses_is_refused(path: str) -> None:
    server = Server()
    server.users = {ALICE[1]}
    app = Questions(shim(server))
    refused = await get(app, path)
    assert (refused.status, json.loads(refused.answer)["code"]) == (401, "unauthorized")
    assert (await get(app, path, "", ALICE)).status == 200


async def test_one_thread_has_its_status_and_its_questions() -> None:
    call = await get(Questions(shim(Server())), "/t1")
    page = json.loads(call.answer)
    assert (page["thread_id"], page["status"], page["notes"]) == ("t1", "interrupted", [])
    assert [question["interrupt_id"] for question in page["questions"]] == ["q1"]


@pytest.mark.parametrize(
    ("odd", "status", "note"),
    [
        (answered, "idle", None),
        (busy, "busy", "The thread is running: read it again when it has stopped."),
        (at_breakpoint, "interrupted", "The thread stopped at a breakpoint, which has no question."),
    ],
)
async def test_a_thread_without_a_question_says_why(odd: Broken, status: str, note: str | None) -> None:
    page = json.loads((await get(Questions(shim(Server(odd={"t": odd}))), "/t")).answer)
    assert page == {"thread_id": "t", "status": status, "questions": [], "notes": [] if note is None else [note]}


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/unknown", "", 404, "thread_not_found"),
        ("/a/b", "", 422, "invalid_request"),
        ("/..", "", 422, "invalid_request"),
        ("/t0", "agent_id=a&agent_id=b", 422, "invalid_request"),
        ("/", "limit=0", 422, "invalid_request"),
        ("/", "limit=21", 422, "invalid_request"),
        ("/", "limit=x", 422, "invalid_request"),
        ("/", "limit=1&limit=2", 422, "invalid_request"),
        ("/", "cursor=x", 422, "invalid_request"),
        ("/", "cursor=bnVsbA", 200, None),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(path: str, query: str, status: int, code: str | None) -> None:
    call = await get(Questions(shim(Server())), path, query)
    assert (call.status, json.loads(call.answer).get("code")) == (status, code)
    assert (b"cache-control", b"no-store") in call.sent[0]["headers"]


async def test_only_get_and_head_are_allowed() -> None:
    server = Server()
    app = Questions(shim(server))
    refused = await get(app, method="POST")
    assert (refused.status, (b"allow", b"GET, HEAD") in refused.sent[0]["headers"]) == (405, True)
    assert server.seen == []
    head = await get(app, method="HEAD")
    assert (head.status, head.answer) == (200, b"")


@pytest.mark.parametrize("mount", ["", "/questions", "/deep/below"])
@pytest.mark.parametrize("root", ["", "/proxy"])
async def test_it_is_mounted_at_any_path_beside_the_shim(mount: str, root: str) -> None:
    server = Server(1)
    made = shim(server)
    app: ASGIApp = Starlette(routes=[Mount(mount, Questions(made))]) if mount else Questions(made)
    page = json.loads((await get(app, f"{root}{mount}/", root_path=root)).answer)
    assert threads_of(page) == ["t0"]
    assert page["questions"][0]["resume"]["path"] == f"{root}/runs/resume"
    assert [path for _, path in server.seen] == [f"{root}/threads/search", f"{root}/threads/t0"]


async def test_an_app_with_both_may_be_mounted_itself() -> None:
    server = Server(1)
    made = shim(server)
    both = Starlette(routes=[Mount("/questions", Questions(made, root_path="/api")), Mount("/", made)])
    page = json.loads((await get(Starlette(routes=[Mount("/api", both)]), "/api/questions/")).answer)
    assert page["questions"][0]["resume"]["path"] == "/api/runs/resume"
    assert [path for _, path in server.seen] == ["/api/threads/search", "/api/threads/t0"]


async def test_the_prefix_of_the_backend_is_in_front_of_its_routes_and_the_shims() -> None:
    server = Server(1)
    inner = server.respond
    server.respond = lambda path, *rest: inner(path.removeprefix("/api"), *rest)  # type: ignore[method-assign]
    page = json.loads((await get(Questions(shim(server, prefix="/api")))).answer)
    assert page["questions"][0]["resume"]["path"] == "/api/runs/resume"


async def test_a_server_with_routes_of_its_own_is_not_read() -> None:
    app = Questions(ResumeShim(Server(), "native"))
    assert json.loads((await get(app)).answer)["listed"] is False
    assert json.loads((await get(app, "/t")).answer)["questions"] == []


async def test_pages_of_an_allowed_origin_may_read_it() -> None:
    app = Questions(shim(Server(1)), cors=["https://app.example"])
    origin = (b"origin", b"https://app.example")
    answer = await get(app, "/", "", origin)
    assert dict(answer.sent[0]["headers"])[b"access-control-allow-origin"] == b"https://app.example"
    preflight = await get(app, "/", "", origin, (b"access-control-request-method", b"GET"), method="OPTIONS")
    assert preflight.status == 200


async def test_it_serves_http_alone() -> None:
    await Questions(shim(Server()))({"type": "lifespan"}, Call().receive, Call().send)
