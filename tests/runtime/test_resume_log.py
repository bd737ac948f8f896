"""One line a resume, one for every other request where they are wanted, and what must never stand in them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.config
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ap_resume_shim import Limits, ResumeShim
from ap_resume_shim.core.asgi import TUNNEL
from ap_resume_shim.core.protocol import ROUTES, Mode
from ap_resume_shim.runtime import resume_log as logs
from ap_resume_shim.runtime.client import Client
from ap_resume_shim.runtime.resume_log import AccessLog, ResumeLine
from tests.support.agent import (
    METADATA,
    PROTOCOL,
    UNTIL_LEFT,
    Agent,
    at_once,
    read,
    resume,
    says,
    shimmed,
    start,
    streamed,
    waits,
)
from tests.support.calling import CLIENT, Call, Recorder, http
from tests.support.loggers import restored_loggers
from tests.support.serving import serving
from tests.support.sockets import connect
from tests.support.waiting import eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SECRET = "hunter2"


class Lines:
    """What a logger wrote."""

    def __init__(self, caplog: pytest.LogCaptureFixture, name: str) -> None:
        caplog.set_level(logging.INFO, "ap_resume_shim")
        self._caplog, self._name = caplog, name

    @property
    def records(self) -> list[logging.LogRecord]:
        return [record for record in self._caplog.records if record.name == self._name]

    def told(self, *names: str) -> tuple[Any, ...]:
        """Fields of the only line."""
        (record,) = self.records
        return tuple(getattr(record, name) for name in names)

    @property
    def text(self) -> str:
        """The only line, as it is read."""
        (record,) = self.records
        return record.getMessage()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    return Lines(caplog, "ap_resume_shim.resume")


@pytest.fixture
def requests(caplog: pytest.LogCaptureFixture) -> Lines:
    return Lines(caplog, "ap_resume_shim.access")


# One line a resume


@pytest.mark.parametrize(("route", "mode"), [("", "background"), ("/wait", "wait"), ("/stream", "stream")])
def test_a_resume_has_one_line_that_tells_what_came_of_it(route: str, mode: str, lines: Lines) -> None:
    with shimmed(Agent()) as url:
        resume(url, route, {"x-request-id": "r-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    assert lines.told("thread_id", "run_id", "backend", "mode") == ("t", "r2", "agent-protocol", mode)
    assert lines.told("verdict", "resume_state", "status", "ended") == ("accepted", None, 200, "complete")
    assert lines.told("request_id", "trace_id") == ("r-1", TRACE)
    assert 0 < lines.told("upstream_ms")[0] <= lines.told("total_ms")[0] < 60_000
    assert lines.records[0].levelno == logging.INFO


def test_the_line_reads_without_its_fields_too(lines: Lines) -> None:
    with shimmed(Agent()) as url:
        resume(url, "/wait")
    text, _, times = lines.text.partition(" upstream_ms=")
    assert text == (
        "resume thread_id=t run_id=r2 backend=agent-protocol mode=wait verdict=accepted status=200 ended=complete"
    )
    assert [part.partition("=")[0] for part in times.split()[1:]] == ["total_ms"]


@pytest.mark.parametrize(
    ("body", "verdict", "status", "thread"),
    [
        ({"thread_id": "unknown"}, "thread_not_found", 404, "unknown"),
        ({"thread_id": 1}, "invalid_request", 422, None),
        ({"command": {}}, "unsupported_field", 422, None),
        ({"interrupt_id": "other"}, "interrupt_not_pending", 409, "t"),
    ],
)
def test_a_refusal_is_told_by_its_code(body: Any, verdict: str, status: int, thread: str | None, lines: Lines) -> None:
    with shimmed(Agent()) as url:
        assert resume(url, **body).status_code == status
    assert lines.told("verdict", "status", "thread_id", "ended") == (verdict, status, thread, "complete")
    assert lines.told("run_id", "request_id", "trace_id", "resume_state") == (None,) * 4


def test_a_body_that_is_no_json_has_its_line(lines: Lines) -> None:
    with shimmed(Agent()) as url:
        CLIENT.patch(f"{url}/runs/resume/stream", content=b"{")
    assert lines.told("verdict", "status", "mode", "backend") == ("invalid_request", 422, "stream", "agent-protocol")


def test_a_key_that_is_none_has_its_line(lines: Lines) -> None:
    with shimmed(Agent()) as url:
        resume(url, headers={"idempotency-key": ""})
    assert lines.told("verdict", "thread_id") == ("invalid_request", "t")


def test_an_answer_that_is_given_again_is_replayed(lines: Lines) -> None:
    with shimmed(Agent()) as url:
        for _ in range(2):
            resume(url, headers={"idempotency-key": "k"})
    assert [(vars(r)["verdict"], vars(r)["run_id"]) for r in lines.records] == [("accepted", "r2"), ("replayed", "r2")]


def test_an_answer_that_cannot_be_given_again_still_names_its_run(lines: Lines) -> None:
    with shimmed(Agent()) as url:
        for _ in range(2):
            resume(url, "/stream", headers={"idempotency-key": "k"})
    assert [vars(record)["verdict"] for record in lines.records] == ["accepted", "resume_in_progress"]
    assert [vars(record)["run_id"] for record in lines.records] == ["r2", "r2"]


@pytest.mark.anyio
async def test_a_backend_that_is_not_found_out_has_a_line_without_it(lines: Lines) -> None:
    await (call := Call(b"{}"))(ResumeShim(Recorder()), http("PATCH", "/runs/resume"))
    assert call.status == 502
    assert lines.told("verdict", "backend", "status") == ("upstream_error", None, 502)


@pytest.mark.anyio
async def test_what_a_native_backend_answers_is_no_resume_of_ours(lines: Lines, requests: Lines) -> None:
    async def native(scope: Scope, receive: Receive, send: Send) -> None:
        body = (
            json.dumps({"paths": {route: {"patch": {}} for route in ROUTES}})
            if scope["path"] == "/openapi.json"
            else "{}"
        )
        await start(send, 200 if scope["path"] != "/info" else 404, "application/json")
        await send({"type": "http.response.body", "body": body.encode()})

    await (call := Call(b"{}"))(AccessLog(ResumeShim(native)), http("PATCH", "/runs/resume"))
    assert (call.answer, lines.records) == (b"{}", [])
    assert requests.told("method", "path", "status") == ("PATCH", "/runs/resume", 200)


def test_a_client_that_leaves_its_answer_has_its_line(lines: Lines) -> None:
    with shimmed(agent := Agent(says(METADATA, UNTIL_LEFT))) as url:
        with streamed(url) as response:
            next(response.iter_raw())
        eventually(lambda: agent.cancelled and lines.records)
    assert lines.told("verdict", "status", "ended", "run_id") == ("accepted", 200, "client_left", "r2")


def test_a_client_that_leaves_before_anything_was_sent_to_it_has_its_line(lines: Lines) -> None:
    with shimmed(agent := Agent(waits(UNTIL_LEFT))) as url:
        with connect(url) as client:
            body = b'{"thread_id": "t", "on_disconnect": "cancel"}'
            client.sendall(
                b"PATCH /runs/resume/wait HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )
            eventually(lambda: agent.resumes)
        eventually(lambda: lines.records)
    assert lines.told("verdict", "status", "ended") == ("accepted", None, "client_left")


def test_a_client_that_leaves_in_the_middle_of_its_request_has_its_line(lines: Lines) -> None:
    with shimmed(Agent()) as url:
        with connect(url) as client:
            client.sendall(b"PATCH /runs/resume HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
        eventually(lambda: lines.records)
    assert lines.told("verdict", "status", "ended", "thread_id") == ("client_left", None, "client_left", None)


def test_a_stream_that_breaks_has_its_line(lines: Lines) -> None:
    with shimmed(Agent(says(METADATA, RuntimeError("gone")))) as url:
        with pytest.raises(Exception, match="peer closed"):
            resume(url, "/stream")
        eventually(lambda: lines.records)
    assert lines.told("verdict", "resume_state") == ("internal_error", "unknown")
    assert lines.told("status", "ended", "run_id") == (200, "broken", "r2")


@pytest.mark.parametrize("half", [b"", b"event: values\ndata: {"], ids=["between events", "in an event"])
def test_a_stream_that_is_silent_for_too_long_says_why_it_broke(lines: Lines, half: bytes) -> None:
    shim = ResumeShim(Agent(says(METADATA, half, UNTIL_LEFT)), PROTOCOL, limits=Limits(idle=0.2))
    with serving(shim) as url:
        with pytest.raises(Exception, match="peer closed"):
            resume(url, "/stream")
        eventually(lambda: lines.records)
    assert lines.told("verdict", "resume_state", "ended") == ("upstream_timeout", "consumed", "broken")


@pytest.mark.anyio
@pytest.mark.parametrize("backend", ["agent-protocol", "auto"])
async def test_an_app_that_fails_has_its_line(backend: str, lines: Lines) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        await Call(b'{"thread_id": "t"}')(ResumeShim(failing, backend), http("PATCH", "/runs/resume"))
    assert lines.told("verdict", "status", "ended") == ("internal_error", None, "unanswered")


@pytest.mark.anyio
async def test_one_who_gives_up_waiting_leaves_the_line_to_the_resume(lines: Lines) -> None:
    """An outer middleware with a time limit, say."""
    go = asyncio.Event()

    async def late(agent: Agent, receive: Receive, send: Send) -> None:
        await go.wait()
        await at_once(agent, receive, send)

    shim = ResumeShim(Agent(late), PROTOCOL)
    call = Call(b'{"thread_id": "t"}')
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call(shim, http("PATCH", "/runs/resume")), 0.5)
    assert lines.records == []
    go.set()
    while not lines.records:
        await asyncio.sleep(0.01)
    assert lines.told("verdict", "status", "ended") == ("accepted", None, "cut")


@pytest.mark.anyio
async def test_a_request_that_is_cut_off_before_it_was_read_has_its_line(lines: Lines) -> None:
    async def receive() -> Any:
        await asyncio.Event().wait()

    shim = ResumeShim(Agent(), PROTOCOL)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(shim(http("PATCH", "/runs/resume"), receive, Call().send), 0.1)
    assert lines.told("verdict", "status", "ended") == ("cancelled", None, "cut")


def test_the_backends_time_is_told_apart_from_the_shims(lines: Lines) -> None:
    with shimmed(agent := Agent(waits(0.4, b"{}", late=0.4))) as url:
        resume(url, "/wait")
    (upstream,) = lines.told("upstream_ms")
    assert upstream > 700
    lines.records[0].name = "seen"
    with shimmed(agent) as url:
        agent.status = "busy"
        resume(url, "/wait")  # the shim waits by itself, 0.2 seconds
    upstream, total = lines.told("upstream_ms", "total_ms")
    assert upstream < total - 100


def test_a_line_is_written_before_what_is_left_to_do_after_the_answer(lines: Lines) -> None:
    with shimmed(agent := Agent()) as url:
        agent.extra["/runs/r2"] = Recorder()  # asked whether the run has ended: no answer
        assert resume(url, on_completion="delete").status_code == 200
        eventually(lambda: lines.records)
    assert lines.told("verdict", "ended") == ("accepted", "complete")


def test_no_line_has_a_credential_a_query_or_an_answer(caplog: pytest.LogCaptureFixture, lines: Lines) -> None:
    headers = {"authorization": SECRET, "cookie": SECRET, "x-api-key": SECRET, "idempotency-key": SECRET}
    with serving(AccessLog(ResumeShim(Agent(), PROTOCOL))) as url:
        for body in ({"input": SECRET}, {"input": SECRET, "metadata": {"a": SECRET}}, {SECRET: 1, "thread_id": 1}):
            CLIENT.patch(f"{url}/runs/resume?token={SECRET}", json={"thread_id": "t", **body}, headers=headers)
        CLIENT.get(f"{url}/threads/t?token={SECRET}", headers=headers)
    assert len(lines.records) == 3
    assert SECRET not in str([vars(record) for record in caplog.records])


@pytest.mark.parametrize("end", ["\n", "\r", "\x1b[2K", "\x85", "\u2028", "\u202e", "\x7f", "\x00", "\ud800"])
def test_an_id_cannot_forge_a_line(end: str, lines: Lines) -> None:
    line = ResumeLine(http(), Mode.WAIT, Client(http(), Call().receive, Call().send, base=""))
    line.run_id = f"r{end}INFO: forged"
    line.write()
    assert lines.text.isprintable()
    assert lines.told("run_id")[0].isprintable()
    assert "INFO: forged" in lines.text


def test_an_id_cannot_forge_a_field(lines: Lines) -> None:
    with shimmed(Agent()) as url:
        resume(url, thread_id='t" verdict=accepted')
    assert 'thread_id="t\\" verdict=accepted" ' in lines.text
    assert lines.told("thread_id") == ('t" verdict=accepted',)


@pytest.mark.anyio
async def test_a_long_path_is_cut(requests: Lines) -> None:
    await called(sending(START, LAST), http(path="/" + "x" * 100_000))
    assert len(requests.told("path")[0]) == 1025
    assert len(requests.text) < 1500


def test_nothing_is_written_below_the_level(caplog: pytest.LogCaptureFixture, lines: Lines) -> None:
    caplog.set_level(logging.WARNING, "ap_resume_shim")
    with shimmed(Agent()) as url:
        resume(url)
    assert lines.records == []


# The access log


def test_other_requests_have_a_line_each(requests: Lines) -> None:
    with serving(AccessLog(ResumeShim(Agent(), PROTOCOL))) as url:
        body = CLIENT.get(f"{url}/threads/a%2Fb%0A?q=1", headers={"x-request-id": "r-1"}).content
        resume(url)
        resume(url, thread_id=0)
    assert requests.told("method", "path", "status", "ended") == ("GET", "/threads/a%2Fb%0A", 200, "complete")
    assert requests.told("bytes", "peer", "request_id") == (len(body), "127.0.0.1", "r-1")
    assert requests.text.startswith("request method=GET path=/threads/a%2Fb%0A status=200 ended=complete bytes=")


def test_a_client_that_leaves_another_stream_is_told(requests: Lines) -> None:
    async def events(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await says(b"data: 1\n\n", UNTIL_LEFT)(Agent(), receive, send)

    with serving(AccessLog(events), lifespan="off") as url:
        with CLIENT.stream("GET", f"{url}/events") as response:
            next(response.iter_raw())
        eventually(lambda: requests.records)
    assert requests.told("status", "ended", "bytes") == (200, "client_left", 9)


async def called(app: ASGIApp, scope: Scope, *received: Any) -> Call:
    """An app under the access log, called by hand."""
    call, received_ = Call(), list(received)

    async def receive() -> Any:
        return received_.pop(0)

    await AccessLog(app)(scope, receive, call.send)
    return call


def sending(*messages: Any, then: Exception | None = None, reads: int = 0) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(reads):
            await receive()
        for message in messages:
            await send(message)
        if then is not None:
            raise then

    return app


START = {"type": "http.response.start", "status": 201, "headers": []}
PART = {"type": "http.response.body", "body": b"part", "more_body": True}
LAST = {"type": "http.response.body", "body": b"last"}
TRAILERS = {"type": "http.response.trailers", "headers": []}


@pytest.mark.anyio
async def test_messages_are_handed_on_as_they_are_and_at_once(requests: Lines) -> None:
    sent: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in (START, PART, LAST, TRAILERS):
            await send(message)
            assert sent[-1] is message

    async def send(message: Any) -> None:
        sent.append(message)

    await AccessLog(app)(http(), Call().receive, send)
    assert requests.told("status", "ended", "bytes", "peer") == (201, "complete", 8, None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("messages", "status", "ended"),
    [((START, PART), 201, "broken"), ((START,), 201, "broken"), ((), None, "unanswered")],
)
@pytest.mark.parametrize("fails", [True, False])
async def test_an_answer_without_an_end_is_told(
    messages: Any, status: Any, ended: str, fails: bool, requests: Lines
) -> None:
    then = KeyError("its own") if fails else None
    try:
        await called(sending(*messages, then=then), http())
    except KeyError as error:
        assert error is then
    assert requests.told("status", "ended") == (status, ended)


@pytest.mark.anyio
async def test_a_client_is_gone_where_sending_fails(requests: Lines) -> None:
    async def send(message: Any) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await AccessLog(sending(START))(http(), Call().receive, send)
    assert requests.told("status", "ended") == (None, "client_left")


@pytest.mark.anyio
async def test_a_disconnect_after_a_complete_answer_means_nothing(requests: Lines) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await sending(START, LAST)(scope, receive, send)
        await receive()

    await called(app, http(), {"type": "http.disconnect"})
    assert requests.told("ended") == ("complete",)


WEBSOCKET = {"type": "websocket", "path": "/ws é", "headers": [], "client": ("::1", 5), "query_string": b"token=x"}
ACCEPT, CLOSE = {"type": "websocket.accept"}, {"type": "websocket.close"}
TEXT, BYTES = {"type": "websocket.send", "text": "é"}, {"type": "websocket.send", "bytes": b"abc", "text": None}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("messages", "code", "told"),
    [
        ((ACCEPT, TEXT, BYTES, CLOSE), None, (101, "complete", 5)),
        ((ACCEPT, TEXT), 1001, (101, "complete", 2)),
        ((ACCEPT,), 1006, (101, "client_left", 0)),
        ((ACCEPT,), None, (101, "broken", 0)),
        ((CLOSE,), None, (403, "complete", 0)),
        ((), None, (None, "unanswered", 0)),
        (({**START, "type": "websocket.http.response.start"}, {**LAST, "type": "websocket.http.response.body"}), None,
         (201, "complete", 4)),
    ],
)  # fmt: skip
async def test_a_websocket_has_its_line(messages: Any, code: int | None, told: Any, requests: Lines) -> None:
    received = [] if code is None else [{"type": "websocket.disconnect", "code": code}]
    await called(sending(*messages, reads=len(received)), dict(WEBSOCKET), *received)
    assert requests.told("status", "ended", "bytes") == told
    assert requests.told("method", "path", "peer") == ("WEBSOCKET", "/ws%20%C3%A9", "::1")


@pytest.mark.anyio
async def test_a_tunnel_has_its_line_when_it_is_over(requests: Lines) -> None:
    given: list[Any] = []

    async def opened(*connection: Any, idle: float) -> None:
        given.extend((*connection, idle))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await scope["extensions"][TUNNEL]["open"]("headers", "connection", b"first", idle=5.0)

    extensions = {TUNNEL: {"open": opened}, "other": {}}
    await called(app, http(extensions=extensions))
    assert given == ["headers", "connection", b"first", 5.0]
    assert requests.told("status", "ended") == (101, "complete")
    assert extensions[TUNNEL]["open"] is opened, "the server's own table is left alone"


@pytest.mark.anyio
async def test_a_query_is_left_out_where_a_server_has_it_in_the_path(requests: Lines) -> None:
    await called(sending(START, LAST), http(raw_path=b"/x?token=hunter2"))
    assert requests.told("path") == ("/x",)


@pytest.mark.anyio
async def test_lifespan_is_none_of_the_access_logs_business(requests: Lines) -> None:
    app, receive, send = Recorder(), object(), object()
    await AccessLog(app)(scope := {"type": "lifespan"}, receive, send)  # type: ignore[arg-type]
    assert [tuple(map(id, call)) for call in app.calls] == [(id(scope), id(receive), id(send))]
    assert requests.records == []


# What `serve` writes


class Stream(io.StringIO):
    """Standard error."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@contextmanager
def configured(level: str = "info", form: Any = "auto", *, terminal: bool = False, **more: bool) -> Iterator[Stream]:
    """What is written to standard error; at the end all loggers are as they were before."""
    stream = Stream()
    stream.terminal = terminal
    with restored_loggers(), redirect_stderr(stream):
        logs.configure(level, form, **more)
        yield stream


LISTENING = "listening on http://127.0.0.1:8063, in front of http://127.0.0.1:2024"


def test_a_terminal_gets_lines_to_read() -> None:
    with configured(terminal=True) as stderr:
        logging.getLogger("ap_resume_shim").info(LISTENING)
    assert stderr.getvalue() == f"INFO:     {LISTENING}\n"


def test_anything_else_gets_an_object_a_line() -> None:
    with configured() as stderr:
        logging.getLogger("ap_resume_shim").info("%s\nand é", LISTENING)
    (record,) = stderr.objects
    told = datetime.fromisoformat(record.pop("timestamp"))
    assert (told.utcoffset(), abs(datetime.now(UTC) - told) < timedelta(minutes=5)) == (timedelta(0), True)
    assert record == {"level": "INFO", "logger": "ap_resume_shim", "message": f"{LISTENING}\nand é"}
    assert LISTENING in stderr.getvalue(), "found by whoever looks for it without reading JSON"


@pytest.mark.parametrize(("wanted", "first"), [("human", "I"), ("json", "{")])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_format_that_was_asked_for_is_had(wanted: str, first: str, terminal: bool) -> None:
    with configured("info", wanted, terminal=terminal) as stderr:
        logging.getLogger("any").info("said")
    assert stderr.getvalue()[0] == first


def test_the_facts_of_a_resume_are_fields() -> None:
    with configured() as stderr, shimmed(Agent(), log_config=None) as url:
        resume(url, "/wait")
    (record,) = [record for record in stderr.objects if record["logger"] == "ap_resume_shim.resume"]
    assert (record["thread_id"], record["verdict"], record["status"], record["trace_id"]) == (
        "t",
        "accepted",
        200,
        None,
    )
    assert record["message"].startswith("resume thread_id=t ")
    assert type(record["upstream_ms"]) is float


@pytest.mark.parametrize("wanted", ["human", "json"])
def test_a_message_cannot_forge_a_line(wanted: str) -> None:
    with configured("info", wanted) as stderr:
        logging.getLogger("ap_resume_shim").error("thread %s", "t\nINFO:     forged\r\x1b[2K\u2028")
    (line,) = stderr.getvalue().splitlines()
    assert line.isprintable()


def test_a_traceback_is_kept() -> None:
    with configured("info", "human") as stderr:
        try:
            raise KeyError("its own")
        except KeyError:
            logging.getLogger("ap_resume_shim").exception("Exception in ASGI application\n")
    first, second, *_, last = stderr.getvalue().splitlines()
    assert first == "ERROR:     Exception in ASGI application"
    assert (second, last) == ("Traceback (most recent call last):", "KeyError: 'its own'")


@pytest.mark.parametrize(
    ("level", "ours", "theirs"), [("debug", 3, 2), ("info", 2, 2), ("warning", 1, 1), ("error", 0, 0)]
)
def test_a_level_below_info_is_ours_alone(level: str, ours: int, theirs: int) -> None:
    with configured(level) as stderr:
        for name in ("ap_resume_shim", "httpcore"):
            for severity in (logging.DEBUG, logging.INFO, logging.WARNING):
                logging.getLogger(name).log(severity, "said")
    names = [record["logger"] for record in stderr.objects]
    assert (names.count("ap_resume_shim"), names.count("httpcore")) == (ours, theirs)


@pytest.mark.anyio
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("level", ["info", "error"])
async def test_the_access_log_is_written_if_it_is_wanted(wanted: bool, level: str) -> None:
    with configured(level, access_log=wanted) as stderr:
        await called(sending(START, LAST), http())
    assert [record["logger"] for record in stderr.objects] == ["ap_resume_shim.access"] * wanted
