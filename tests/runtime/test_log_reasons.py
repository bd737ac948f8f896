"""Why was it refused? What the line of a resume says of that, and what the lines of its requests to the backend say."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import Limits, ResumeShim, ReverseProxy
from ap_resume_shim.core.errors import GuardUnavailable
from ap_resume_shim.core.http import Request as Lookup
from ap_resume_shim.guard.memory import MemoryGuard
from ap_resume_shim.runtime.exchange import OWN_SCOPE, Exchange, WrappedApp, synthesise
from ap_resume_shim.runtime.lookups import ask
from tests.support.agent import METADATA, PROTOCOL, UNTIL_LEFT, Agent, reply, resume, says, shimmed, waits
from tests.support.calling import CLIENT, Call, http
from tests.support.serving import listening
from tests.support.waiting import eventually

SECRET = "hunter2"
BODY = b'{"thread_id": "t", "input": "yes"}'


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.DEBUG, "ap_resume_shim")
    return Log(caplog)


class Log:
    """What was written, by the logger's last name."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def __getattr__(self, name: str) -> list[logging.LogRecord]:
        return [record for record in self._caplog.records if record.name == f"ap_resume_shim.{name}"]

    @property
    def why(self) -> tuple[Any, ...]:
        """Of the only resume: level, verdict, reason."""
        (record,) = self.resume
        return record.levelname, vars(record)["verdict"], vars(record)["reason"]

    @property
    def everything(self) -> str:
        return str([vars(record) for record in self._caplog.records])


def answering(status: int, value: Any, *headers: tuple[bytes, bytes]) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if headers:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body"})
        else:
            await reply(send, value, status)

    return app


def raising(error: Exception) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app


# The reason


NOT_KNOWN = "The backend does not know the thread. Check `thread_id` and the credentials."
NO_SLASH = (
    "Configure the backend for paths without a trailing slash (Django: APPEND_SLASH), or write its paths with one in "
)


@pytest.mark.parametrize(
    ("lookup", "why"),
    [
        (answering(404, {"detail": SECRET}), ("INFO", "thread_not_found", NOT_KNOWN)),
        (
            answering(403, {"detail": SECRET}),
            (
                "INFO",
                "forbidden",
                "The backend refused the request with 403. Ask for permission, or send other credentials.",
            ),
        ),
        (
            answering(500, {"detail": SECRET}),
            ("WARNING", "upstream_error", "The backend failed with 500. Look into its log."),
        ),
        (
            answering(301, None, (b"location", b"http://user:hunter2@inside:8000/threads/t/?token=hunter2")),
            (
                "WARNING",
                "upstream_unrecognised",
                "The backend redirects (301) to http://inside:8000/threads/t/, and the shim does not follow redirects. "
                f"{NO_SLASH}a profile.",
            ),
        ),
        (raising(KeyError(SECRET)), ("WARNING", "internal_error", "The app raised KeyError.")),
    ],
    ids=["404", "403", "500", "301", "raises"],
)
def test_the_line_of_a_resume_has_the_reason(lookup: Any, why: Any, log: Log) -> None:
    with shimmed(Agent(extra={"/threads/t": lookup})) as url:
        answer = resume(url)
    assert log.why == why
    assert SECRET not in log.everything
    assert "inside" not in answer.text
    assert f' reason="{why[2]}" ' in log.resume[0].getMessage()


def test_a_redirect_of_the_resume_itself_is_named_too(log: Log) -> None:
    with shimmed(Agent(extra={"/runs": answering(308, None, (b"location", b"/runs/"))})) as url:
        answer = resume(url).json()
    assert answer["metadata"] == {"upstream_status": 308, "location": "/runs/", "resume_state": "unknown"}
    assert "(308) to /runs/, and" in answer["message"]


@pytest.mark.anyio
async def test_a_server_that_cannot_be_reached_is_named_in_the_log_alone(log: Log) -> None:
    with listening() as closed:  # bound, and nobody listens
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        await (call := Call(BODY))(
            ResumeShim(ReverseProxy(f"http://{address}"), PROTOCOL), http("PATCH", "/runs/resume")
        )
    assert (call.status, address in str(call.answer)) == (502, False)
    assert log.why[:2] == ("WARNING", "upstream_unreachable")
    assert address in log.why[2]
    assert {address in str(reason) for (reason,) in sent(log, "reason")} == {True}


def test_a_backend_that_is_late_is_a_warning(log: Log) -> None:
    with shimmed(Agent(extra={"/threads/t": says(1.0)}), lookup=0.05) as url:
        assert resume(url).status_code == 504
    reason = "The backend did not respond to GET /threads/t within 0.05 seconds."
    assert log.why == ("WARNING", "upstream_timeout", reason)


def test_a_store_that_is_away_is_a_warning(log: Log) -> None:
    class Away(MemoryGuard):
        def begin(self, ticket: Any, arrived: Any = None) -> Any:
            arrival = super().begin(ticket, arrived)

            async def recall() -> Any:
                raise GuardUnavailable("The store cannot be reached.")

            arrival.recall = recall  # type: ignore[method-assign]
            return arrival

    with shimmed(Agent(), guard=Away()) as url:
        assert resume(url).status_code == 503
    assert log.why == ("WARNING", "guard_unavailable", "The store cannot be reached.")


def test_an_answer_that_breaks_off_is_a_warning(log: Log) -> None:
    with shimmed(Agent(says(METADATA, RuntimeError(SECRET)))) as url, pytest.raises(Exception, match="peer closed"):
        resume(url, "/stream")
    assert log.why == ("WARNING", "internal_error", "The app raised RuntimeError.")
    assert SECRET not in log.resume[0].getMessage()


def test_a_resume_that_was_taken_needs_no_reason(log: Log) -> None:
    with shimmed(Agent()) as url:
        resume(url)
    assert log.why == ("INFO", "accepted", None)
    assert "reason" not in log.resume[0].getMessage()


@pytest.mark.parametrize("answer", ['{"hunter2": 1, "hunter2": 2}', "14112358132134e999", "hunter2", '"hunter2'])
def test_the_reason_does_not_quote_the_answer(answer: str, log: Log) -> None:
    with shimmed(Agent()) as url:
        body = f'{{"thread_id": "t", "input": {answer}}}'
        assert CLIENT.patch(f"{url}/runs/resume", content=body).status_code == 422
    assert log.why == ("INFO", "invalid_request", "The body is not JSON that can be read.")
    assert not any(text in log.everything for text in (SECRET, "14112358132134"))


# What was sent to the backend


def sent(log: Log, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(vars(record)[name] for name in names) for record in log.upstream]


def test_every_lookup_and_the_resume_have_a_line(log: Log) -> None:
    headers = {"x-request-id": "r-1", "authorization": SECRET, "cookie": SECRET}
    with shimmed(Agent()) as url:
        resume(url, "?token=hunter2", headers)
    assert sent(log, "method", "path", "status", "request_id") == [
        ("GET", "/threads/t", 200, "r-1"),
        ("POST", "/runs/search", 200, "r-1"),
        ("POST", "/runs", 200, "r-1"),
    ]
    assert {record.levelname for record in log.upstream} == {"DEBUG"}
    first = log.upstream[0].getMessage()
    assert first.startswith("upstream method=GET path=/threads/t status=200 ms=")
    assert first.endswith(" request_id=r-1")
    assert all(0 <= ms < 60_000 for (ms,) in sent(log, "ms"))
    assert SECRET not in log.everything


def test_nothing_is_written_of_them_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ap_resume_shim")
    with shimmed(Agent()) as url:
        resume(url)
    assert {record.name for record in caplog.records} == {"ap_resume_shim.resume"}


@pytest.mark.anyio
@pytest.mark.parametrize("thread", ["a\nERROR: forged", "a%0Ab", "\u2028", "x" * 5000])
async def test_a_path_cannot_forge_a_line_and_has_an_end(thread: str, log: Log) -> None:
    exchange = Exchange(raising(KeyError()), {**http(path=f"/threads/{thread}", raw_path=None)}, None)
    exchange.abandon()
    with pytest.raises(KeyError):
        await exchange.head()
    (record,) = log.upstream
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 1200


@pytest.mark.anyio
async def test_what_an_app_raises_is_told_by_its_type(log: Log) -> None:
    with pytest.raises(KeyError):
        await ask(WrappedApp(raising(KeyError(SECRET)), "", Limits()), OWN_SCOPE, Lookup.get("/info"))
    assert sent(log, "path", "status", "reason") == [("/info", None, "KeyError")]


@pytest.mark.anyio
async def test_a_request_that_is_left_has_one_line(log: Log) -> None:
    exchange = Exchange(waits_for_ever, synthesise(OWN_SCOPE, Lookup.get("/info"), ""), None)
    await asyncio.sleep(0)
    exchange.abandon()
    exchange.disconnect()
    await exchange.wait_closed()
    assert sent(log, "status", "reason") == [(None, "the shim disconnected before the response began")]


async def waits_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.anyio
async def test_an_error_after_an_answer_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, {})
        raise KeyError

    await ask(WrappedApp(fails, "", Limits()), OWN_SCOPE, Lookup.get("/threads/a%0AERROR"))
    await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.getMessage() == r"the app failed after its response to GET /threads/a\nERROR"


@pytest.mark.anyio
async def test_detection_is_seen_too(log: Log) -> None:
    await (call := Call(BODY))(ResumeShim(Agent(), limits=Limits(lookup=5)), http("PATCH", "/runs/resume"))
    assert call.status == 502
    assert [path for (path,) in sent(log, "path")] == ["/info", "/openapi.json", "/.well-known/agent-card.json"]
    assert log.why[:2] == ("WARNING", "upstream_unrecognised")
    assert log.why[2].startswith("The kind of backend could not be detected")


def test_a_wait_that_a_client_leaves_is_no_warning(log: Log) -> None:
    with shimmed(Agent(waits(UNTIL_LEFT))) as url, pytest.raises(Exception, match="timed out"):
        CLIENT.patch(f"{url}/runs/resume/wait", json={"thread_id": "t", "input": 1}, timeout=0.5)
    eventually(lambda: log.resume)
    assert log.why == ("INFO", "accepted", None)
