"""`Idempotency-Key` and repeats, through the whole shim."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import MemoryGuard
from tests.support.agent import METADATA, UNTIL_LEFT, Agent, held, read, reply, resume, says, shimmed, streamed
from tests.support.calling import CLIENT
from tests.support.waiting import eventually

KEY = {"Idempotency-Key": "8e03978e"}
SAME = ("content-type", "content-location", "content-length")
every_route = pytest.mark.parametrize("route", ["", "/wait"])


def same(first: httpx.Response, again: httpx.Response) -> bool:
    return (first.status_code, first.content) == (again.status_code, again.content) and all(
        first.headers.get(name) == again.headers.get(name) for name in SAME
    )


@every_route
def test_a_retry_gets_the_first_answer(route: str) -> None:
    with shimmed(agent := Agent()) as url:
        first, again = resume(url, route, KEY), resume(url, route, {"Idempotency-Key": '"8e03978e"'})
    assert first.status_code == 200
    assert same(first, again)
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert len(agent.resumes) == 1


@every_route
def test_a_deletion_that_fails_after_the_answer_does_not_take_its_place(route: str) -> None:
    agent, deletions = Agent(), []

    async def thread(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "DELETE":
            await reply(send, {"detail": "not now"}, 500)
            deletions.append(scope)
        else:
            await reply(send, agent.thread)

    agent.extra["/threads/t"] = thread
    with shimmed(agent) as url:
        first = resume(url, route, KEY, on_completion="delete")
        eventually(lambda: deletions)
        time.sleep(0.1)  # what follows a deletion is not seen from outside
        agent.status = "interrupted"
        again = resume(url, route, KEY, on_completion="delete")
    assert first.status_code == 200
    assert same(first, again)


@every_route
def test_a_retry_of_what_failed_on_its_way_gets_the_same_failure(route: str) -> None:
    """It may have been taken: it is never sent again."""
    with shimmed(agent := Agent(says(b"oops", status=500))) as url:
        first = resume(url, route, KEY)
        agent.status = "interrupted"
        again = resume(url, route, KEY)
    assert (first.status_code, first.json()["metadata"]["resume_state"]) == (502, "unknown")
    assert same(first, again) and again.headers["idempotency-replayed"] == "true"
    assert len(agent.resumes) == 1


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_a_resume_that_was_refused_may_come_again(route: str) -> None:
    with shimmed(agent := Agent(says(b"{}", kind="application/json", status=422))) as url:
        refused = resume(url, route, KEY)
        agent.answering, agent.status = None, "interrupted"
        again = resume(url, route, KEY)
    assert (refused.status_code, again.status_code) == (422, 200)
    assert "idempotency-replayed" not in again.headers


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_a_verdict_is_not_kept(route: str) -> None:
    with shimmed(agent := Agent(status="idle")) as url:
        refused = resume(url, route, KEY)
        agent.status = "interrupted"
        again = resume(url, route, KEY)
    assert (refused.json()["code"], again.status_code) == ("thread_not_interrupted", 200)


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_another_body_is_refused(route: str) -> None:
    with shimmed(agent := Agent()) as url:
        assert resume(url, route, KEY).status_code == 200
        other = resume(url, route, KEY, input="no")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(agent.resumes) == 1


@every_route
def test_a_retry_that_comes_too_early_is_told(route: str) -> None:
    with shimmed(agent := Agent(held)) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(resume, url, route, KEY)
        eventually(lambda: agent.resumes)
        early = resume(url, route, KEY)
        agent.go.set()
        assert same(first.result(), resume(url, route, KEY))
    assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (409, "resume_in_progress", "1")
    assert "Idempotency-Key" in early.json()["message"]


def test_a_key_means_another_resume_for_another_route_thread_or_caller() -> None:
    with shimmed(agent := Agent(), commit=0.1) as url:
        for route, headers, body in (
            ("", {}, {}),
            ("/wait", {}, {}),
            ("", {"Authorization": "Bearer bob"}, {}),
            ("", {}, {"thread_id": "t2"}),
        ):
            agent.status = "interrupted"
            answer = resume(url, route, {**KEY, **headers}, **body)
            assert (answer.status_code, "idempotency-replayed" in answer.headers) == (200, False)
    assert len(agent.resumes) == 4


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_who_may_not_read_the_thread_never_gets_a_kept_answer(status: int) -> None:
    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        await read(receive)
        await reply(send, {"detail": "no"}, status)

    with shimmed(agent := Agent()) as url:
        assert resume(url, "", KEY).status_code == 200
        agent.extra["/threads/t"] = refuses
        again = resume(url, "", KEY)
    assert (again.status_code, "idempotency-replayed" in again.headers) == (status, False)


@pytest.mark.parametrize("key", ["", '"open', "two words"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with shimmed(agent := Agent()) as url:
        refused = resume(url, "", {"Idempotency-Key": key})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert not agent.seen


def test_a_stream_whose_client_left_is_joined_again() -> None:
    agent = Agent(says(METADATA, b"event: values\ndata: {}\n\n", UNTIL_LEFT))

    async def running(scope: Any, receive: Any, send: Any) -> None:
        await read(receive)
        await reply(send, {"run_id": "r2", "status": "running"})

    async def joined(scope: Any, receive: Any, send: Any) -> None:
        await says(b'event: values\ndata: {"n": 3}\n\n')(agent, receive, send)

    agent.extra |= {"/runs/r2": running, "/runs/r2/stream": joined}
    with shimmed(agent) as url:
        body = {"thread_id": "t", "input": "yes", "on_disconnect": "continue"}
        with CLIENT.stream("PATCH", f"{url}/runs/resume/stream", json=body, headers=KEY) as first:
            next(first.iter_raw())
        again = resume(url, "/stream", KEY, on_disconnect="continue")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert again.headers["content-location"] == first.headers["content-location"]
    assert again.text == 'event: metadata\ndata: {"run_id":"r2"}\n\nevent: values\ndata: {"n": 3}\n\n'
    assert len(agent.resumes) == 1


def test_a_stream_whose_run_has_ended_is_answered_with_the_run() -> None:
    with shimmed(agent := Agent()) as url:
        with streamed(url) as first:
            first.read()
        agent.status = "interrupted"
        assert resume(url, "/stream", KEY).status_code == 200
        again = resume(url, "/stream", KEY)
    assert (again.status_code, again.json()["code"]) == (409, "resume_in_progress")
    assert again.json()["metadata"] == {"run_id": "r2", "resume_state": "consumed"}
    assert "retry-after" not in again.headers


@pytest.mark.parametrize("routes", [("", ""), ("/wait", "/stream")])
def test_a_double_click_within_the_window_is_refused(routes: tuple[str, str]) -> None:
    with shimmed(agent := Agent(), guard=MemoryGuard(duplicate_window=60), commit=0.1) as url:
        first = resume(url, routes[0])
        agent.status = "interrupted"
        second, other = resume(url, routes[1]), resume(url, input="another answer")
    assert (first.status_code, second.status_code, other.status_code) == (200, 409, 200)
    assert "double click" in second.json()["message"]


def test_a_retry_with_its_key_is_no_double_click() -> None:
    with shimmed(Agent(), guard=MemoryGuard(duplicate_window=60)) as url:
        first, again = resume(url, "", KEY), resume(url, "", KEY)
    assert same(first, again)
