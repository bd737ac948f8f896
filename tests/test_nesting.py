"""A backend's JSON that is nested deeper than a client's may be: it passes, or the client gets the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import ResumeShim
from ap_resume_shim.policy import AuditFile
from ap_resume_shim.runtime.questions import Questions
from tests.support.agent import METADATA, PROTOCOL, Agent, Answering, says, start, waits
from tests.support.calling import Call, http

pytestmark = pytest.mark.anyio
DEEP = pytest.mark.parametrize("deep", ["[" * n + "]" * n for n in (201, 500, 900, 100_000)], ids=len)
READ = 2_000
"""Characters of the values that the interpreter can read."""


def asking(question: str) -> Agent:
    """A server whose thread asks a question, which is JSON text."""

    async def thread(scope: Scope, receive: Receive, send: Send) -> None:
        text = json.dumps(agent.thread).replace('"sure?"', question)
        await start(send, 200, "application/json")
        await send({"type": "http.response.body", "body": text.encode()})

    agent = Agent(extra={"/threads/t": thread})
    return agent


async def call(app: Any, method: str = "PATCH", path: str = "/runs/resume/wait") -> tuple[int, bytes]:
    call = Call(b'{"thread_id": "t", "input": "yes"}')
    await call(app, http(method, path))
    return call.status, b"".join(message.get("body", b"") for message in call.sent)


@DEEP
@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
async def test_a_deep_question_is_answered_and_audited_or_cannot_be_read(route: str, deep: str, tmp_path: Path) -> None:
    async def allow(_: Any) -> None:
        return None

    file = AuditFile(tmp_path / "audit", questions=True)
    status, body = await call(
        ResumeShim(asking(deep), PROTOCOL, authorize=allow, audit=file), path=f"/runs/resume{route}"
    )
    file.close()
    expected = 200 if len(deep) < READ else 502
    assert status == expected, body
    (line, *_) = (tmp_path / "audit").read_bytes().splitlines()[1:]
    assert (b'"event":"sending"' in line) == (expected == 200)


@DEEP
@pytest.mark.parametrize("path", ["/", "/t"])
async def test_a_deep_question_is_listed_or_cannot_be_read(path: str, deep: str) -> None:
    agent = asking(deep)
    agent.extra["/threads/search"] = lambda _, receive, send: says(b'[{"thread_id": "t"}]', kind="application/json")(
        agent, receive, send
    )
    status, body = await call(Questions(ResumeShim(agent, PROTOCOL)), "GET", path)
    if path == "/":
        assert (status, b"could not be read" in body) == (200, len(deep) > READ)
    else:
        assert status == (200 if len(deep) < READ else 502)


@DEEP
@pytest.mark.parametrize(
    ("route", "response"),
    [("/wait", '{"run": {"run_id": "r2"}, "values": {"n": $}}'), ("", '{"run_id": "r2", "kwargs": $}')],
    ids=["wait", "background"],
)
async def test_a_deep_response_passes_or_cannot_be_read(route: str, response: str, deep: str) -> None:
    agent = Agent(waits(response.replace("$", deep).encode()))
    status, body = await call(ResumeShim(agent, PROTOCOL), path=f"/runs/resume{route}")
    if len(deep) < READ:
        assert status == 200
    else:
        assert (status, json.loads(body)["metadata"]["resume_state"]) == (502, "unknown")


@DEEP
async def test_a_deep_event_passes(deep: str) -> None:
    event = f'event: values\ndata: {{"n": {deep}}}\n\n'.encode()
    status, body = await call(ResumeShim(Agent(says(METADATA, event)), PROTOCOL), path="/runs/resume/stream")
    assert (status, body) == (200, METADATA + event)


@DEEP
@pytest.mark.parametrize("status", [422, 500])
async def test_a_deep_refusal_keeps_its_meaning(status: int, deep: str) -> None:
    answering: Answering = says(f'{{"detail": {deep}}}'.encode(), kind="application/json", status=status)
    got, body = await call(ResumeShim(Agent(answering), PROTOCOL), path="/runs/resume")
    assert (got, json.loads(body)["code"]) == ((422, "invalid_request") if status == 422 else (502, "upstream_error"))
