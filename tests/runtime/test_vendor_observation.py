"""`observe`: what passes is counted with the verdict that the guard would have had, and is not disturbed."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from ap_resume_shim import Limits, ResumeShim
from ap_resume_shim.core.errors import GuardUnavailable
from ap_resume_shim.guard import MemoryGuard
from ap_resume_shim.runtime import detection_beside
from tests.runtime.test_vendor_resumes import ASKING, AWAITED, BODY, RUN, counted, of_runs, post, shim, until
from tests.support.agent import Agent, reply, says
from tests.support.calling import Call, http

pytestmark = pytest.mark.anyio
ANOTHER = {**BODY, "input": {"command": {"resume": "another answer"}}}
NAME = "agent-protocol"


async def verdicts(app: ResumeShim, resumes: int, convention: str = NAME) -> dict[str, int]:
    """The counted verdicts, once there are so many."""
    await until(lambda: counted(app, convention)["resumes"] == resumes)
    found: dict[str, int] = counted(app, convention)["verdicts"]
    return found


def asks_always(agent: Agent) -> Any:
    """A thread that asks its next question at once."""

    async def thread(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, {**agent.thread, "status": "interrupted", "interrupts": [{"id": "q2", "value": "next?"}]})

    return thread


@pytest.mark.parametrize(
    ("run", "path", "verdict"),
    [
        (ASKING, f"/runs/{RUN}", "accepted"),
        ({**ASKING, "status": "completed"}, f"/runs/{RUN}", "unclear"),
        (ASKING, "/runs/other", "thread_not_found"),
        ({"of": "another shape"}, f"/runs/{RUN}", "not_examined"),
    ],
    ids=["asks", "asks nothing", "unknown", "unrecognised"],
)
async def test_the_thread_of_a_run_is_looked_up_beside_the_answer(run: Any, path: str, verdict: str) -> None:
    inner, seen = of_runs(run)
    app = ResumeShim(inner, "acp", vendor_resumes="observe")
    await post(app, AWAITED, path)
    assert await verdicts(app, 1, "acp") == {verdict: 1}
    assert seen[0] == f"POST {path}"


async def test_an_answer_that_cannot_be_read_would_have_been_refused() -> None:
    app = ResumeShim(agent := Agent(), "ag-ui", vendor_resumes="observe")
    await post(app, {"threadId": "t", "runId": "r", "messages": [], "resume": ["yes"]}, "/")
    assert await verdicts(app, 1, "ag-ui") == {"invalid_request": 1}
    assert [seen.path for seen in agent.seen] == ["/"]


async def test_the_second_of_two_clicks_would_have_been_refused() -> None:
    app = shim(agent := Agent(), "observe")
    agent.extra["/threads/t"] = asks_always(agent)
    for click in (1, 2):
        assert (await post(app))[0] == 200
        found = await verdicts(app, click)
    assert found == {"accepted": 1, "resume_in_progress": 1}
    await post(app, ANOTHER)
    assert await verdicts(app, 3) == {"accepted": 2, "resume_in_progress": 1}


async def test_of_two_answers_at_once_one_would_have_been_refused() -> None:
    app = shim(agent := Agent(says(b"{}", kind="application/json", late=0.05)), "observe")
    agent.extra["/threads/t"] = asks_always(agent)
    await asyncio.gather(post(app), post(app, ANOTHER))
    assert await verdicts(app, 2) == {"accepted": 1, "resume_in_progress": 1}


async def test_an_answer_that_the_backend_refuses_is_no_click() -> None:
    agent = Agent(says(b"{}", kind="application/json", status=422))
    app = shim(agent, "observe")
    agent.extra["/threads/t"] = asks_always(agent)
    await post(app)
    await verdicts(app, 1)
    await post(app)
    assert await verdicts(app, 2) == {"accepted": 2}


@pytest.mark.parametrize(("late", "verdict"), [(False, "thread_not_interrupted"), (True, "unclear")])
async def test_a_lookup_after_the_response_refuses_nothing(late: bool, verdict: str) -> None:
    """The thread asks nothing: before the answer, or because of it."""
    looked, go = asyncio.Event(), asyncio.Event()

    async def answering(agent: Agent, receive: Any, send: Any) -> None:
        if not late:
            await looked.wait()
            await asyncio.sleep(0.1)
        await reply(send, {"run": {}})

    async def thread(scope: Any, receive: Any, send: Any) -> None:
        if late:
            await go.wait()
        await reply(send, {**agent.thread, "status": "idle"})
        looked.set()

    app = shim(agent := Agent(answering), "observe")
    agent.extra["/threads/t"] = thread
    await post(app)
    go.set()
    assert await verdicts(app, 1) == {verdict: 1}


class Away(MemoryGuard):
    """A guard whose store does not respond."""

    def begin(self, *arguments: Any) -> Any:
        session = super().begin(*arguments)

        async def unavailable(*_: Any) -> Any:
            raise GuardUnavailable("The store is unavailable.")

        session.repeated = session.rival = unavailable  # type: ignore[method-assign]
        return session


async def test_while_the_store_is_unavailable_answers_pass_unexamined() -> None:
    app = shim(agent := Agent(), "observe", guard=Away())
    assert (await post(app))[0] == 200
    assert await verdicts(app, 1) == {"not_examined": 1}
    assert len(agent.resumes) == 1


async def test_a_lookup_that_fails_examines_nothing() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, {}, 500)

    app = shim(agent := Agent(), "observe")
    agent.extra["/threads/t"] = broken
    assert (await post(app))[0] == 200
    assert await verdicts(app, 1) == {"not_examined": 1}


async def test_bodies_that_pass_leave_half_of_the_memory_to_resumes() -> None:
    app = shim(agent := Agent(), "observe", limits=Limits(body=3000, bodies=4000))
    agent.extra["/threads/t"] = asks_always(agent)
    padded = {**BODY, "padding": "x" * 2500}
    assert (await post(app, padded))[0] == 200
    assert await verdicts(app, 1) == {"not_examined": 1}
    await post(app)
    assert await verdicts(app, 2) == {"not_examined": 1, "accepted": 1}
    assert app._bodies.take(2000)


async def test_each_observed_answer_has_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ap_resume_shim.resume")
    app = shim(agent := Agent(), "observe")
    agent.extra["/threads/t"] = asks_always(agent)
    await post(app, x_request_id="r-1")
    await verdicts(app, 1)
    (line,) = caplog.records
    assert line.getMessage() == (
        "observed thread_id=t backend=agent-protocol mode=background convention=agent-protocol verdict=accepted "
        "estimated=true request_id=r-1"
    )


def undetected(agent: Agent) -> ResumeShim:
    """A shim that has to detect its backend, which is a server of the Agent Protocol."""

    async def described(scope: Any, receive: Any, send: Any) -> None:
        routes = ("/threads/{thread_id}", "/runs", "/runs/wait", "/runs/stream", "/runs/search", "/runs/{run_id}")
        await reply(send, {"openapi": "3.1.0", "paths": {route: {"post": {}, "get": {}} for route in routes}})

    agent.extra["/openapi.json"] = described
    return ResumeShim(agent, vendor_resumes="observe")


async def test_the_detection_of_the_backend_delays_no_request() -> None:
    app = undetected(agent := Agent())
    agent.extra["/info"] = lambda scope, receive, send: asyncio.sleep(60)
    assert (await post(app))[0] == 200
    assert app.backend is None


async def test_a_backend_that_is_not_detected_is_not_tried_with_each_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = ResumeShim(agent := Agent(), vendor_resumes="observe")

    async def attempt() -> int:
        await post(app)
        assert app._beside._task is not None
        await app._beside._task
        return sum(seen.path == "/openapi.json" for seen in agent.seen)

    assert [await attempt(), await attempt()] == [1, 1]
    monkeypatch.setattr(detection_beside, "PAUSE", 0.0)
    app._beside._next = 0.0
    assert [await attempt(), await attempt()] == [2, 3]
    assert [record.message.partition(":")[0] for record in caplog.records if record.levelname == "WARNING"] == [
        "the backend was not detected"
    ]


@pytest.mark.parametrize(("mode", "status"), [("observe", 200), ("guard", 502)])
async def test_an_app_that_fails_during_the_detection_is_not_detected(
    mode: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "GET":
            raise KeyError(scope["path"])
        await reply(send, {})

    app = ResumeShim(failing, vendor_resumes=mode)
    assert (await post(app))[0] == status
    await until(lambda: "the backend was not detected" in caplog.text)
    assert "KeyError: '/info'" in caplog.text


async def test_a_client_that_leaves_before_the_end_of_its_body_leaves_nothing() -> None:
    app = shim(Agent(), "observe", limits=Limits(body=3000, bodies=4000))
    call = Call(json.dumps(BODY).encode())
    messages = iter([{"type": "http.request", "body": b"x" * 100, "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    await app(http("POST", "/runs", headers=[(b"host", b"here")]), receive, call.send)
    assert app._bodies.take(2000)
