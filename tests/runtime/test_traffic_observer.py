"""Looking on at what passes: it stays as it is, and is known before the client can act on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ap_resume_shim import ResumeShim
from ap_resume_shim.core.dialect import Dialect, Found, Lookup, Observer, ThreadEntry
from ap_resume_shim.core.errors import InvalidRequest, ThreadNotInterrupted
from ap_resume_shim.core.http import Headers
from ap_resume_shim.core.protocol import Resume
from ap_resume_shim.core.steps import Entry, ReadLedger
from ap_resume_shim.guard import MemoryGuard
from ap_resume_shim.runtime.traffic_observer import LARGEST
from tests.support.agent import read, reply, resume, start
from tests.support.calling import CLIENT, Call, http
from tests.support.serving import serving


class Noting:
    """Notes all that it sees, under the thread that the request names."""

    def __init__(self, *, fails: bool = False) -> None:
        self.thread, self.fails = "", fails

    def request(self, body: bytes) -> None:
        if self.fails:
            raise KeyError("a fault of ours")
        self.thread = json.loads(body)["thread"]

    def head(self, status: int, headers: Headers) -> Iterable[ThreadEntry]:
        yield self.thread, Entry({"saw": status})

    def feed(self, chunk: bytes) -> Iterable[ThreadEntry]:
        if chunk:
            yield self.thread, Entry({"saw": chunk.decode()}, {"said": chunk.decode()})

    def end(self, *, complete: bool) -> Iterable[ThreadEntry]:
        yield self.thread, Entry({"saw": complete})


class Remembering(Dialect[None]):
    """A backend of which only the ledger knows anything; a refusal tells what."""

    name = "remembering"
    thread_is = "a name"
    fails = False

    def thread_key(self, thread_id: str) -> str:
        if thread_id == "impossible":
            raise InvalidRequest("no such id")
        return thread_id

    def inspect_thread(self, resume: Resume, *, full: bool = True) -> Lookup[Any]:
        known = yield from ReadLedger()
        raise ThreadNotInterrupted(json.dumps([[entry.facts["saw"], entry.contents] for entry in known]))
        return Found("idle")

    def watch(self, method: str, path: str) -> Observer | None:
        return Noting(fails=self.fails) if (method, path) == ("POST", "/runs") else None


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers in two pieces."""
    assert scope["type"] == "http"
    await read(receive)
    await start(send, 201, "text/plain")
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await send({"type": "http.response.body", "body": b"two"})


def known(url: str, thread: str = "t", **headers: str) -> Any:
    return [saw for saw, _ in told(url, thread, **headers)]


def told(url: str, thread: str = "t", **headers: str) -> Any:
    """Facts and contents of the thread's entries, as the dialect gets them for this caller."""
    return json.loads(resume(url, headers=headers, thread_id=thread).json()["message"])


async def facts(guard: MemoryGuard, shim: ResumeShim) -> list[Any]:
    assert shim._naming is not None
    entries = await shim._naming.view(http("POST", "/runs"), "t").read(guard.ledger)
    return [entry.facts["saw"] for entry in entries]


def test_what_passes_is_known_the_newest_first_and_stays_as_it_is() -> None:
    with serving(ResumeShim(app, Remembering())) as url:
        answer = CLIENT.post(f"{url}/runs", json={"thread": "t"})
        assert (answer.status_code, answer.text) == (201, "onetwo")
        assert known(url) == [True, "two", "one", 201]
        assert known(url, "another") == []


def test_spellings_of_an_id_are_not_one_to_the_ledger() -> None:
    """Its server may tell them apart."""
    thread = "6a1b2c3d-0000-4000-8000-00000000000f"
    with serving(ResumeShim(app, Remembering())) as url:
        CLIENT.post(f"{url}/runs", json={"thread": thread})
        assert (known(url, thread.upper()), known(url, thread)) == ([], [True, "two", "one", 201])


@pytest.mark.parametrize("path", ["/api/agents/runs", "/agents/runs", "/runs"])
def test_what_passes_below_a_mount_is_known(path: str) -> None:
    guard = MemoryGuard()
    shim = ResumeShim(app, Remembering(), guard=guard)
    asyncio.run(Call(b'{"thread": "t"}')(shim, http("POST", path, root_path="/api/agents")))
    assert asyncio.run(facts(guard, shim)) == [True, "two", "one", 201]


def test_what_no_one_looks_on_at_reaches_the_app_untouched() -> None:
    seen: list[Any] = []

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((scope, receive, send))
        await reply(send, {})

    scope, call = http("POST", "/other"), Call()
    asyncio.run(call(ResumeShim(plain, Remembering()), scope))
    assert seen[0] is scope
    assert seen[1:] == [call.receive, call.send]


def test_a_part_is_known_before_the_client_gets_it() -> None:
    guard = MemoryGuard()
    shim = ResumeShim(app, Remembering(), guard=guard)
    known_by_then: list[list[Any]] = []

    async def talk() -> None:
        call = Call(b'{"thread": "t"}')

        async def send(message: Any) -> None:
            known_by_then.append(await facts(guard, shim))

        await shim(http("POST", "/runs"), call.receive, send)

    asyncio.run(talk())
    assert known_by_then == [[201], ["one", 201], [True, "two", "one", 201]]


def test_an_answer_that_breaks_off_is_known_to_have() -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await start(send, 200, "text/plain")
        raise OSError("broken")

    guard = MemoryGuard()
    shim = ResumeShim(breaks, Remembering(), guard=guard)

    async def talk() -> list[Any]:
        with pytest.raises(OSError, match="broken"):
            await Call(b'{"thread": "t"}')(shim, http("POST", "/runs"))
        return await facts(guard, shim)

    assert asyncio.run(talk()) == [False, 200]


def test_a_thread_that_cannot_be_one_is_not_noted() -> None:
    with serving(ResumeShim(app, Remembering())) as url:
        assert CLIENT.post(f"{url}/runs", json={"thread": "impossible"}).text == "onetwo"


def test_a_fault_of_ours_disturbs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Remembering):
        fails = True

    with serving(ResumeShim(app, Failing())) as url:
        assert CLIENT.post(f"{url}/runs", json={"thread": "t"}).text == "onetwo"
        assert "the traffic observer failed" in caplog.text


def test_a_request_that_is_too_large_passes_unseen() -> None:
    with serving(ResumeShim(app, Remembering())) as url:
        assert CLIENT.post(f"{url}/runs", content=b'{"thread":"t"}' + b" " * LARGEST).text == "onetwo"
        assert known(url) == []


@pytest.mark.parametrize(
    ("options", "read"),
    [
        ({}, {"a": ["two", "one"], "b": [None, None], "": [None, None]}),
        ({"share_ledger": True}, {"a": ["two", "one"], "b": ["two", "one"], "": ["two", "one"]}),
        ({"credentials": ["x-user"]}, {"a": ["two", "one"], "b": ["two", "one"], "": ["two", "one"]}),
    ],
    ids=["by credentials", "shared", "by other credentials"],
)
def test_contents_are_the_callers_whose_traffic_held_them(options: Any, read: dict[str, list[Any]]) -> None:
    with serving(ResumeShim(app, Remembering(), **options)) as url:
        CLIENT.post(f"{url}/runs", json={"thread": "t"}, headers={"authorization": "a"})
        for who, expected in read.items():
            entries = told(url, **({"authorization": who} if who else {}))
            assert [saw for saw, _ in entries] == [True, "two", "one", 201], "facts are everybody's"
            assert [contents and contents["said"] for _, contents in entries[1:3]] == expected
