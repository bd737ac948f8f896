"""How a reply, a refusal and a stream are written."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ap_resume_shim.core.errors import Broken, InvalidRequest, ResumeInProgress, UpstreamRefused
from ap_resume_shim.core.steps import Reply
from ap_resume_shim.runtime.client import Client
from tests.support.calling import Call, http

pytestmark = pytest.mark.anyio

LOCATED = (("content-location", "/runs/r"),)


def client(call: Call, accept: bytes | None = None, base: str = "") -> Client:
    headers = [] if accept is None else [(b"accept", accept)]
    return Client(http("PATCH", headers=headers), call.receive, call.send, base=base)


async def test_an_answer_is_json_with_its_length() -> None:
    await client(call := Call()).send_reply(Reply(200, {"a": "é"}))
    assert call.answer == '{"a":"é"}'.encode()
    assert call.sent[0]["headers"] == [(b"content-type", b"application/json"), (b"content-length", b"10")]


async def test_content_location_begins_at_the_mount() -> None:
    await client(call := Call(), base="/below").send_reply(Reply(200, {}, LOCATED))
    assert (b"content-location", b"/below/runs/r") in call.sent[0]["headers"]


async def test_white_space_goes_before_an_answer() -> None:
    waiting = client(call := Call())
    await waiting.keep_alive(LOCATED)
    await waiting.keep_alive(LOCATED)
    await waiting.send_reply(Reply(200, {"a": 1}, LOCATED))
    assert call.answer == b'\n\n{"a":1}'
    assert [message["type"].rpartition(".")[2] for message in call.sent] == ["start", "body", "body", "body"]


async def test_an_answer_after_white_space_has_no_length() -> None:
    waiting = client(call := Call())
    await waiting.keep_alive(LOCATED)
    assert call.sent[0]["headers"] == [(b"content-type", b"application/json"), (b"content-location", b"/runs/r")]


async def test_a_refusal_is_the_drafts_error() -> None:
    await client(call := Call()).send_error(InvalidRequest("Wrong.", {"field": "x"}))
    assert json.loads(call.answer) == {"code": "invalid_request", "message": "Wrong.", "metadata": {"field": "x"}}
    assert (call.status, call.sent[-1]["more_body"]) == (422, False)


async def test_a_refusal_says_when_to_try_again() -> None:
    await client(call := Call()).send_error(ResumeInProgress("Another."))
    assert (b"retry-after", b"1") in call.sent[0]["headers"]


async def test_what_the_backend_says_of_credentials_goes_on() -> None:
    await client(call := Call()).send_error(UpstreamRefused(401, "Who?", (("www-authenticate", "Bearer"),)))
    assert (call.status, (b"www-authenticate", b"Bearer") in call.sent[0]["headers"]) == (401, True)


@pytest.mark.parametrize("accept", [b"application/problem+json", b"text/html, Application/Problem+JSON;q=0.9"])
async def test_a_problem_is_sent_to_whoever_asks_for_one(accept: bytes) -> None:
    await client(call := Call(), accept).send_error(InvalidRequest("Wrong."))
    problem = json.loads(call.answer)
    assert (b"content-type", b"application/problem+json") in call.sent[0]["headers"]
    assert (problem["status"], problem["title"], problem["detail"]) == (422, "invalid request", "Wrong.")
    assert (problem["code"], problem["message"]) == ("invalid_request", "Wrong.")


@pytest.mark.parametrize("accept", [None, b"*/*", b"application/json"])
async def test_all_others_get_json(accept: bytes | None) -> None:
    await client(call := Call(), accept).send_error(InvalidRequest("Wrong."))
    assert (b"content-type", b"application/json") in call.sent[0]["headers"]


async def test_a_refusal_after_white_space_is_raised_through_the_server() -> None:
    waiting = client(call := Call())
    await waiting.keep_alive(())
    with pytest.raises(Broken, match=r"the response was broken off: Wrong\."):
        await waiting.send_error(InvalidRequest("Wrong."))
    assert all(message.get("more_body", True) for message in call.sent), "no clean end"


async def test_what_fails_after_an_answer_is_logged_and_does_not_spoil_it(caplog: pytest.LogCaptureFixture) -> None:
    answered = client(call := Call())
    await answered.send_reply(Reply(200, {}))
    await answered.send_error(InvalidRequest("Not deleted."))
    assert (call.status, call.answer) == (200, b"{}")
    assert "the work after a complete response failed: Not deleted." in caplog.text


async def test_a_stream_has_a_head_parts_and_an_end() -> None:
    streaming = client(call := Call())
    await streaming.start_stream(())
    await streaming.send_bytes(b"data: 1\n\n")
    await streaming.send_bytes(b"")
    await streaming.finish()
    assert [message.get("body") for message in call.sent] == [None, b"data: 1\n\n", b""]
    assert call.sent[0]["headers"] == [(b"content-type", b"text/event-stream")]


async def test_nothing_is_sent_to_a_client_that_left() -> None:
    leaving = client(call := Call(b"body"))
    call.gone.set()
    await leaving.watch()
    await leaving.send_reply(Reply(200, {}))
    assert (leaving.gone.is_set(), call.sent) == (True, [])


async def test_a_send_that_fails_means_that_the_client_left() -> None:
    async def send(message: Any) -> None:
        raise ConnectionResetError

    leaving = Client(http("PATCH"), Call().receive, send, base="")
    await leaving.send_reply(Reply(200, {}))
    assert leaving.gone.is_set()


async def test_the_end_of_a_complete_answer_is_no_leaving() -> None:
    """Servers report a disconnect as soon as an answer is complete."""
    answered = client(call := Call())
    watch = asyncio.create_task(answered.watch())
    await answered.send_reply(Reply(200, {}))
    call.gone.set()
    await watch
    assert not answered.gone.is_set()
