"""Bodies of resumes: bounded one by one and together, refused at the head where that tells enough."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from starlette.types import Message

from ap_resume_shim import ConfigurationError, Limits, ResumeShim
from ap_resume_shim.http1.server_connection import Http1Protocol
from ap_resume_shim.sidecar.app import build, check
from ap_resume_shim.sidecar.settings import Settings
from tests.support.agent import PROTOCOL, Agent, held
from tests.support.calling import Call, http
from tests.support.serving import serving
from tests.support.sockets import connect, read_head

SERVERS: dict[str, dict[str, Any]] = {"uvicorn": {}, "sidecar": {"http": Http1Protocol}}


def resume(size: int = 0, thread: str = "t") -> bytes:
    return json.dumps({"thread_id": thread, "input": 1}).encode().ljust(size)


@dataclass
class Slow:
    """A client whose body comes in the parts that the test sends."""

    parts: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    sent: list[Message] = field(default_factory=list)
    reads: int = 0

    async def receive(self) -> Message:
        self.reads += 1
        return await self.parts.get()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def begin(self, shim: ResumeShim, part: bytes, **headers: str) -> asyncio.Task[None]:
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.parts.put_nowait({"type": "http.request", "body": part, "more_body": True})
        return asyncio.create_task(shim(http("PATCH", "/runs/resume", headers=fields), self.receive, self.send))

    def end(self, part: bytes) -> None:
        self.parts.put_nowait({"type": "http.request", "body": part, "more_body": False})

    @property
    def told(self) -> tuple[int, str | None, bool]:
        """Status, code, and whether there is a `Retry-After`."""
        body = json.loads(b"".join(message.get("body", b"") for message in self.sent[1:]))
        return self.sent[0]["status"], body.get("code"), b"retry-after" in dict(self.sent[0]["headers"])


async def turns() -> None:
    """Let everybody go on as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


def limited(agent: Agent | None = None, bodies: int = 2000) -> ResumeShim:
    return ResumeShim(agent or Agent(), PROTOCOL, limits=Limits(body=1000, bodies=bodies))


OVERLOADED = (503, "overloaded", True)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("expects", [b"", b"expect: 100-continue\r\n"])
def test_a_length_over_the_limit_is_refused_at_the_head(server: str, expects: bytes) -> None:
    with serving(limited(agent := Agent()), **SERVERS[server]) as url, connect(url) as client:
        client.sendall(b"PATCH /runs/resume HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n%b\r\n" % expects)
        assert read_head(client).startswith(b"HTTP/1.1 413 ")
        assert json.loads(client.recv(4096))["code"] == "request_too_large"
    assert agent.seen == []


@pytest.mark.anyio
async def test_a_body_that_is_refused_at_the_head_is_not_read() -> None:
    client = Slow()
    await client.begin(limited(), b"", **{"content-length": "1001"})
    assert (client.told, client.reads) == ((413, "request_too_large", False), 0)


@pytest.mark.anyio
async def test_what_is_only_announced_takes_no_room() -> None:
    shim = limited()
    clients = [Slow() for _ in range(200)]
    tasks = [client.begin(shim, b" ", **{"content-length": "1000"}) for client in clients]
    await turns()
    await (call := Call(resume(1000)))(shim, http("PATCH", "/runs/resume"))
    assert (call.status, [client.sent for client in clients]) == (200, [[]] * 200)
    await stop(tasks)


@pytest.mark.anyio
async def test_slow_clients_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    shim = limited()
    slow = [Slow(), Slow(), Slow()]
    tasks = [slow[0].begin(shim, b" " * 900), slow[1].begin(shim, b" " * 800), slow[2].begin(shim, b" " * 100)]
    await asyncio.sleep(0.01)
    await (call := Call(resume(1000)))(shim, http("PATCH", "/runs/resume"))
    await turns()
    assert call.status == 200
    assert slow[0].told == OVERLOADED
    assert (slow[1].sent, slow[2].sent) == ([], [])
    await stop(tasks)


@pytest.mark.anyio
async def test_a_body_that_gave_up_its_place_is_never_read_as_a_part_of_itself() -> None:
    shim = limited(agent := Agent())
    slow = Slow()
    tasks = [slow.begin(shim, b" " * 900)]
    await asyncio.sleep(0.01)
    tasks += [Slow().begin(shim, b" " * 900)]
    await turns()

    class Other(Slow):
        async def receive(self) -> Message:
            slow.end(resume())  # in the same moment
            return await super().receive()

    (other := Other()).end(resume(900))
    await shim(http("PATCH", "/runs/resume"), other.receive, other.send)
    await turns()
    assert (slow.told, len(agent.resumes)) == (OVERLOADED, 1)
    await stop(tasks)


@pytest.mark.anyio
async def test_bodies_of_resumes_under_way_count_until_they_are_answered() -> None:
    shim = limited(agent := Agent(held), bodies=1500)
    under_way = asyncio.create_task((first := Call(resume(1000)))(shim, http("PATCH", "/runs/resume/wait")))
    while not agent.resumes:
        await asyncio.sleep(0.01)
    await (other := Slow()).begin(shim, b" " * 600)
    assert other.told == OVERLOADED
    agent.go.set()
    await under_way
    assert first.status == 200
    await (second := Call(resume(1000)))(shim, http("PATCH", "/runs/resume"))
    assert second.status == 409


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def settings() -> Any:
    return partial(Settings, upstream="http://127.0.0.1:9", backend="langgraph")


@pytest.mark.anyio
async def test_the_sidecar_has_settings_for_both_bounds(settings: Any) -> None:
    shim = build(settings(max_body=2000, max_bodies=2000))
    await (large := Call(b" " * 2001))(shim, http("PATCH", "/runs/resume"))
    assert (large.status, json.loads(large.answer)["metadata"]) == (413, {"limit": 2000})
    await (small := Call(b" " * 2000))(shim, http("PATCH", "/runs/resume"))
    assert small.status == 422


def test_bounds_that_contradict_each_other_are_refused(settings: Any) -> None:
    (problem,) = check(settings(max_body=3000, max_bodies=2000))
    assert "is below the limit for one body" in problem
    with pytest.raises(ConfigurationError, match="is below the limit for one body"):
        Limits(body=2, bodies=1)
