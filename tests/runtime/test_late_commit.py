"""A server with a queue and a worker: it answers 200 at once, and its state shows the resume a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from ap_resume_shim import ResumeShim
from ap_resume_shim.profiles.dialect import ProfileDialect
from ap_resume_shim.profiles.loading import load_profile
from ap_resume_shim.runtime.limits import Limits
from tests.support.calling import CLIENT
from tests.support.serving import serving
from tests.support.waiting import eventually

Resume = Callable[..., httpx.Response]

PROFILE = """
name = "queue"
thread_is = "A job."
unsupported = ["metadata", "config", "webhook", "on_completion"]
lookup.job.request = "GET /jobs/{thread_id}"

[found]
status = "/job/status"
interrupts = "/job/asks"
run_id = "/job/run"

[status]
idle = ["done"]
busy = ["busy"]
interrupted = ["waits"]

[resume]
background = "POST /jobs/{thread_id}/answers"
answer = "/answer"
"""


class Queue:
    """One job that asks the same two questions in a row; a worker takes an answer `late` seconds after its 200."""

    def __init__(self, late: float) -> None:
        self.late = late
        self.job: dict[str, Any] = {"status": "waits", "asks": [{"id": "q1", "value": "sure?"}], "run": "r0"}
        self.heard: list[tuple[str, Any]] = []
        self.looks = 0
        self.fails_at: tuple[int, ...] = ()
        self.workers: set[asyncio.Task[None]] = set()
        self.app = Router(
            routes=[Route("/jobs/{job}", self.read), Route("/jobs/{job}/answers", self.answer, methods=["POST"])]
        )

    async def read(self, _: Request) -> Response:
        self.looks += 1
        if self.looks in self.fails_at:
            raise RuntimeError("a bug of the app")
        return JSONResponse(self.job)

    async def answer(self, request: Request) -> Response:
        self.workers.add(asyncio.create_task(self.work((await request.json())["answer"])))
        return JSONResponse({"run_id": f"r{len(self.workers)}"})

    async def work(self, answer: Any) -> None:
        await asyncio.sleep(self.late)
        self.heard.append((self.job["asks"][0]["id"] if self.job["asks"] else "nothing", answer))
        self.job = {**self.job, "status": "busy"}
        await asyncio.sleep(0.3)
        next_ones = {"q1": [{"id": "q2", "value": "really?"}]}
        asks = next_ones.get(self.heard[-1][0], [])
        self.job = {"status": "waits" if asks else "done", "asks": asks, "run": f"r{len(self.heard)}"}


@contextmanager
def shim(server: Queue, *, commit: float = 30.0, settle: float = 0.2, keys: str = "") -> Iterator[Resume]:
    """A function that resumes the server's job, through the shim."""
    dialect = ProfileDialect(load_profile(PROFILE + keys, source="queue.toml"))
    with serving(ResumeShim(server.app, dialect, settle=settle, limits=Limits(commit=commit))) as url:

        def resume(answer: Any = "yes", mode: str = "", **fields: Any) -> httpx.Response:
            body = {"thread_id": "t", "input": answer, "on_disconnect": "continue", **fields}
            return CLIENT.patch(f"{url}/runs/resume{mode}", json=body)

        yield resume


@pytest.mark.parametrize("pin", [{}, {"interrupt_id": "q1"}])
@pytest.mark.parametrize("mode", ["", "/wait", "/stream"])
def test_a_second_click_before_the_commit_is_refused(mode: str, pin: dict[str, Any]) -> None:
    with shim(server := Queue(late=0.5)) as resume, ThreadPoolExecutor(2) as pool:
        first = pool.submit(resume, "yes", mode, **pin)
        eventually(lambda: server.workers)
        second = resume("yes", mode, **pin)
        assert (second.status_code, second.json()["code"]) == (409, "resume_in_progress")
        assert first.result().status_code == 200
        eventually(lambda: server.job["status"] != "busy" and server.heard)
    assert server.heard == [("q1", "yes")]


def test_the_answer_to_the_client_does_not_wait_for_the_commit() -> None:
    with shim(server := Queue(late=0.5)) as resume:
        assert resume().status_code == 200
        assert server.heard == []


def test_the_next_question_is_answered_once_the_commit_was_seen() -> None:
    with shim(server := Queue(late=0.2)) as resume:
        assert resume("yes", "/wait").json()["run"]["metadata"] == {"interrupts": [{"id": "q2", "value": "really?"}]}
        assert resume("sure", "/wait").json()["run"]["status"] == "success"
    assert server.heard == [("q1", "yes"), ("q2", "sure")]


def test_a_commit_that_is_never_seen_frees_the_thread_after_its_time() -> None:
    with shim(server := Queue(late=60), commit=0.2) as resume:
        assert resume().status_code == 200
        eventually(lambda: resume().status_code == 200)
        assert len(server.workers) == 2


def test_an_app_that_raises_while_the_commit_is_looked_for_frees_no_thread() -> None:
    server = Queue(late=0.5)
    server.fails_at = (2,)
    with shim(server) as resume:
        assert resume().status_code == 200
        eventually(lambda: server.looks > 2)
        assert resume().json()["code"] == "resume_in_progress"
    assert len(server.workers) == 1


def test_a_server_that_commits_with_its_answer_is_not_looked_at_again() -> None:
    with shim(server := Queue(late=0), keys='commit = "with_answer"') as resume:
        assert resume().status_code == 200
    assert server.looks == 1
