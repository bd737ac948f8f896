"""An answer that cannot be read, through the whole shim: 502 in every mode, no byte of it reaches the client."""

from __future__ import annotations

import gzip

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim.core.protocol import Mode
from tests.support.agent import METADATA, Agent, Answering, reply, resume, says, shimmed

PAGE = b"<!doctype html><title>Sign in</title>"
every_mode = pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.name.lower())


@pytest.mark.parametrize(
    "answering",
    [
        says(PAGE, kind="text/html"),
        says(gzip.compress(METADATA), kind="application/gzip"),
        says(kind="application/json", status=204),
    ],
    ids=["html", "gzip", "204"],
)
@every_mode
def test_an_answer_that_cannot_be_read_is_502(mode: Mode, answering: Answering) -> None:
    with shimmed(agent := Agent(answering)) as url:
        told = resume(url, mode.value)
        assert (told.status_code, told.json()["code"]) == (502, "upstream_unrecognised")
        assert told.json()["metadata"]["resume_state"] == "unknown"
        assert len(agent.resumes) == 1


def test_an_empty_stream_is_502() -> None:
    with shimmed(Agent(says())) as url:
        told = resume(url, "/stream")
        assert (told.status_code, told.json()["metadata"]["resume_state"]) == (502, "unknown")


def test_an_answer_of_another_shape_leaves_its_traceback_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def misshapen(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, {"status": "interrupted", "updated_at": 1e300})

    with shimmed(agent := Agent(extra={"/threads/t": misshapen})) as url:
        told = resume(url, "/wait")
    assert (told.status_code, told.json()["code"], agent.resumes) == (502, "upstream_unrecognised", [])
    assert told.json()["metadata"]["resume_state"] == "not_sent"
    assert "OverflowError" in caplog.text
