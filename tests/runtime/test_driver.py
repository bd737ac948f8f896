"""A resume under way, on real sockets: live streams, clients that leave, silence, and answers that break."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.errors import UpstreamError
from tests.support.agent import (
    METADATA,
    PROTOCOL,
    UNTIL_LEFT,
    VALUES,
    WAITED,
    Agent,
    floods,
    reply,
    resume,
    says,
    shimmed,
    streamed,
    waits,
)
from tests.support.calling import Call, http
from tests.support.serving import serving
from tests.support.sockets import connect, until_closed
from tests.support.waiting import eventually


def read_until(response: httpx.Response, wanted: bytes) -> bytes:
    """Read a stream until something has come, or it ends."""
    got = b""
    for chunk in response.iter_raw():
        got += chunk
        if wanted in got:
            break
    return got


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_the_three_routes_answer(route: str) -> None:
    with shimmed(agent := Agent()) as url:
        answer = resume(url, route)
    assert (answer.status_code, answer.headers["content-location"]) == (200, "/runs/r2")
    assert [seen.path for seen in agent.resumes] == ["/runs" + route]


def test_a_stream_is_relayed_byte_for_byte() -> None:
    parts = (METADATA, b": comment\r\n\r\n", b"data: \xe2\x80", b"\xa8\xc2\x85\x0b\r", b"\n\r\n", VALUES, b"data: half")
    with shimmed(Agent(says(*parts))) as url:
        assert resume(url, "/stream").content == b"".join(parts)


def test_a_stream_is_live() -> None:
    with shimmed(Agent(says(METADATA, UNTIL_LEFT))) as url, streamed(url) as response:
        assert read_until(response, b"r2") == METADATA
    assert response.headers["content-type"] == "text/event-stream"
    assert (response.headers["x-accel-buffering"], response.headers["incremental"]) == ("no", "?1")


def test_a_stream_begins_although_the_agent_is_silent() -> None:
    with shimmed(Agent(says(UNTIL_LEFT)), keepalive=0.1) as url, streamed(url) as response:
        assert (response.status_code, response.headers["content-location"]) == (200, "/runs/r2")
        assert read_until(response, b"\n\n").startswith(b": keep-alive\n\n")


def test_a_stream_that_does_not_name_its_run_is_given_a_name() -> None:
    with shimmed(Agent(says(VALUES))) as url:
        assert resume(url, "/stream").content == b'event: metadata\ndata: {"run_id":"r2"}\n\n' + VALUES


@pytest.mark.parametrize(("route", "answering"), [("/stream", says), ("/wait", waits)])
def test_a_client_that_leaves_silence_cancels_the_run(route: str, answering: Any) -> None:
    with shimmed(agent := Agent(answering(METADATA if answering is says else b" ", UNTIL_LEFT))) as url:
        with connect(url) as client:
            client.sendall(patch(route))
            eventually(lambda: agent.sent)
        eventually(lambda: agent.cancelled and agent.left.is_set())


def test_a_client_that_leaves_before_the_run_has_a_name_cancels_it() -> None:
    with shimmed(agent := Agent(waits(WAITED, late=15))) as url:
        with connect(url) as client:
            client.sendall(patch("/wait"))
            eventually(lambda: agent.resumes)
        eventually(lambda: agent.cancelled)


def test_a_client_that_leaves_a_stream_without_pauses_is_noticed() -> None:
    with shimmed(agent := Agent(floods)) as url:
        with streamed(url) as response:
            read_until(response, b"xxx")
        eventually(lambda: agent.cancelled and agent.left.is_set())


def patch(route: str, **body: Any) -> bytes:
    """A resume as bytes."""
    raw = json.dumps({"thread_id": "t", "input": "yes", **body}).encode()
    return b"PATCH /runs/resume%s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (
        route.encode(),
        len(raw),
        raw,
    )


@pytest.mark.parametrize(("route", "answering"), [("/stream", says), ("/wait", waits)])
def test_a_run_that_shall_continue_does(route: str, answering: Any) -> None:
    finished = threading.Event()

    async def runs_on(agent: Agent, receive: Any, send: Any) -> None:
        await answering(METADATA if answering is says else b" ", 1.0, b" " * 100_000)(agent, receive, send)
        finished.set()

    with shimmed(agent := Agent(runs_on)) as url:
        with connect(url) as client:
            client.sendall(patch(route, on_disconnect="continue"))
            eventually(lambda: agent.sent)
        assert finished.wait(10)
    assert (agent.cancelled, agent.left.is_set()) == (False, False)


def test_a_background_resume_goes_on_when_its_client_leaves() -> None:
    with shimmed(agent := Agent(waits(b'{"run_id": "r2"}', late=0.7))) as url:
        with connect(url) as client:
            client.sendall(patch(""))
            eventually(lambda: agent.resumes)
        eventually(lambda: agent.status == "idle")
    assert (agent.cancelled, agent.sent) == (False, 1)


@pytest.mark.parametrize("error", [ValueError("secret"), TimeoutError("secret")])
def test_a_stream_that_breaks_says_so_and_looks_broken(error: Exception) -> None:
    got = b""
    with (
        shimmed(Agent(says(METADATA, 0.1, error))) as url,
        streamed(url) as response,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        for chunk in response.iter_raw():
            got += chunk
    name, data = got.removeprefix(METADATA).decode().split("\n")[:2]
    told = json.loads(data.removeprefix("data: "))
    assert (name, told["code"], told["metadata"]) == ("event: error", "upstream_error", {"resume_state": "consumed"})
    assert "secret" not in data


def test_a_stream_that_breaks_in_an_event_only_looks_broken() -> None:
    got = b""
    with (
        shimmed(Agent(says(METADATA, b"data: half", 0.1, ValueError()))) as url,
        streamed(url) as response,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        for chunk in response.iter_raw():
            got += chunk
    assert got == METADATA + b"data: half"


def test_silence_between_events_is_filled_with_comments() -> None:
    with shimmed(Agent(says(METADATA, 0.5, VALUES)), keepalive=0.1) as url:
        got = resume(url, "/stream").content
    assert got.count(b": keep-alive\n\n") >= 2
    assert got.replace(b": keep-alive\n\n", b"") == METADATA + VALUES


def test_silence_in_an_event_is_left_alone() -> None:
    with shimmed(Agent(says(METADATA, b"data: a", 0.4, b"b\n\n")), keepalive=0.1) as url:
        assert resume(url, "/stream").content == METADATA + b"data: ab\n\n"


@pytest.mark.parametrize("answering", [waits(0.5, WAITED), waits(WAITED, late=0.5)], ids=["early head", "late head"])
def test_a_wait_is_kept_alive_by_white_space(answering: Any) -> None:
    with shimmed(Agent(answering), keepalive=0.1) as url:
        answer = resume(url, "/wait")
    assert answer.content.startswith(b"\n\n")
    assert (answer.json()["values"], answer.json()["run"]["run_id"]) == ({"n": 2}, "r2")


def test_a_wait_that_fails_after_white_space_looks_broken() -> None:
    with shimmed(Agent(waits(0.5, ValueError())), keepalive=0.1) as url, streamed(url, "/wait") as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            response.read()


def test_a_wait_that_is_refused_after_white_space_looks_broken() -> None:
    refusing = says(b"{}", kind="application/json", status=422, late=0.5)
    with (
        shimmed(Agent(refusing), keepalive=0.1) as url,
        streamed(url, "/wait") as response,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        response.read()


def test_a_slow_client_slows_the_app() -> None:
    with shimmed(agent := Agent(floods)) as url, connect(url) as client:
        client.sendall(patch("/stream"))
        eventually(lambda: agent.sent > 10)
        eventually(lambda: stands_still(agent), "what the client does not read is not produced")
    assert agent.sent * 8192 < 32 * 1024 * 1024


def stands_still(agent: Agent) -> bool:
    before = agent.sent
    time.sleep(0.5)
    return agent.sent == before


def test_a_lookup_has_a_time_limit() -> None:
    hanging = {"/threads/t": lambda scope, receive, send: receive_twice(receive)}
    with shimmed(Agent(extra=hanging), lookup=0.2) as url:
        answer = resume(url)
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")
    assert "GET /threads/t within 0.2 seconds" in answer.json()["message"]


async def receive_twice(receive: Any) -> None:
    await receive()
    await receive()


@pytest.mark.parametrize("error", [ValueError, TimeoutError, ExceptionGroup])
def test_an_error_of_the_app_in_a_lookup_is_its_own(error: type[Exception]) -> None:
    caught: list[Exception] = []
    raised = ExceptionGroup("two", [ValueError()]) if error is ExceptionGroup else error()

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise raised

    with serving(catching(ResumeShim(Agent(extra={"/threads/t": fails}), PROTOCOL), caught)) as url:
        assert resume(url).status_code == 500
    assert caught == [raised]


@pytest.mark.parametrize("route", ["", "/wait", "/stream"])
def test_an_error_of_the_app_in_a_resume_is_its_own(route: str) -> None:
    caught: list[Exception] = []
    raised = ValueError()

    async def fails(agent: Agent, receive: Any, send: Any) -> None:
        raise raised

    with serving(catching(ResumeShim(Agent(fails), PROTOCOL), caught)) as url:
        assert resume(url, route).status_code == 500
    assert caught == [raised]


@pytest.mark.parametrize("error", [ValueError, TimeoutError])
def test_an_error_of_the_app_before_the_first_event_is_its_own(error: type[Exception]) -> None:
    caught: list[Exception] = []
    raised = error()
    with serving(catching(ResumeShim(Agent(says(0.1, raised)), PROTOCOL), caught)) as url:
        assert resume(url, "/stream").status_code == 500
    assert caught == [raised]


def catching(app: Any, caught: list[Exception]) -> Any:
    """What a server sees of an app's errors."""

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except Exception as error:
            caught.append(error)
            raise

    return outer


def test_lookups_are_made_side_by_side() -> None:
    both = threading.Barrier(2)
    met: list[bool] = []

    async def meets(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        met.append(await asyncio.to_thread(both.wait, 5) in (0, 1))
        await reply(send, {"detail": "no"}, 404)

    with shimmed(Agent(extra={"/threads/t": meets, "/runs/search": meets})) as url:
        assert resume(url).status_code == 404
    assert met == [True, True]


def test_the_reply_is_sent_before_the_app_has_ended() -> None:
    hold = threading.Event()

    async def goes_on(agent: Agent, receive: Any, send: Any) -> None:
        await reply(send, {"run_id": "r2"})
        await asyncio.to_thread(hold.wait, 10)
        agent.go.set()

    with shimmed(agent := Agent(goes_on)) as url:
        assert resume(url).status_code == 200
        assert not agent.go.is_set()
        hold.set()
        assert agent.go.wait(10), "it runs to its end"


def test_an_error_after_the_reply_is_not_swallowed() -> None:
    caught: list[Exception] = []

    async def fails_late(agent: Agent, receive: Any, send: Any) -> None:
        await reply(send, {"run_id": "r2"})
        raise KeyError("late")

    with serving(catching(ResumeShim(Agent(fails_late), PROTOCOL), caught)) as url:
        assert resume(url).status_code == 200
        eventually(lambda: caught)
    assert [repr(error) for error in caught] == ["KeyError('late')"]


def test_completion_is_seen_to_although_the_client_has_its_answer() -> None:
    """The server reports a disconnect when a stream is complete: that is no client that left."""
    with shimmed(agent := Agent(says(METADATA, VALUES))) as url:
        agent.extra["/runs/r2"] = turns(agent)
        assert resume(url, "/stream", on_completion="delete").status_code == 200
        eventually(lambda: any(seen.method == "DELETE" for seen in agent.seen))


def turns(agent: Agent) -> Any:
    """A run that is over when it is read for the second time."""
    reads: list[int] = []

    async def run(scope: Any, receive: Any, send: Any) -> None:
        reads.append(1)
        await reply(send, {"run_id": "r2", "status": "running" if len(reads) < 2 else "success"})

    return run


def test_a_server_that_stops_does_not_wait_for_ever_for_a_stream() -> None:
    began = time.monotonic()
    with shimmed(Agent(says(METADATA, UNTIL_LEFT))) as url:
        client = connect(url)
        client.sendall(patch("/stream"))
        assert client.recv(100)
    assert until_closed(client)
    client.close()
    assert time.monotonic() - began < 20


def test_a_first_error_in_a_stream_becomes_an_answer() -> None:
    with shimmed(Agent(says(b'event: error\ndata: {"error": "no such run"}\n\n'))) as url:
        answer = resume(url, "/stream")
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_error")
    assert answer.json()["metadata"]["upstream"] == {"error": "no such run"}


@pytest.mark.anyio
@pytest.mark.parametrize(("breaks", "status"), [(1, 200), (2, 502)])
async def test_a_lookup_that_breaks_off_is_made_once_more(breaks: int, status: int) -> None:
    agent, asked = Agent(), []

    async def fragile(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            asked.append(scope["path"])
            if len(asked) <= breaks:
                raise UpstreamError("The connection was closing.")
        await agent(scope, receive, send)

    call = Call(b'{"thread_id": "t", "input": "yes"}')
    await call(ResumeShim(fragile, PROTOCOL), http("PATCH", "/runs/resume"))
    assert (call.status, len(asked), len(agent.resumes)) == (status, 2, 2 - breaks)
