"""Lookups that are sent concurrently: their order, their failures, and the tasks that they need."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ap_resume_shim.core.asgi import FENCE
from ap_resume_shim.core.errors import UpstreamError, UpstreamTimeout
from ap_resume_shim.core.http import Request
from ap_resume_shim.core.steps import Ask
from ap_resume_shim.runtime.exchange import OWN_SCOPE, WrappedApp
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.lookups import Lookups
from ap_resume_shim.runtime.waiting import wait
from tests.support.calling import http

pytestmark = pytest.mark.anyio


async def ask(*targets: str) -> tuple[list[str], list[bytes]]:
    """Send the lookups to a server that responds once all of them have arrived; the path `/fails` raises an error."""
    arrived: list[str] = []
    complete = asyncio.Event()

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        arrived.append(scope["path"])
        if len(arrived) == len(targets):
            complete.set()
        await complete.wait()
        if scope["path"] == "/fails":
            raise KeyError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    lookups = Lookups(WrappedApp(server, "", Limits()), OWN_SCOPE)
    responses: Any = await lookups.do(Ask(tuple(map(Request.get, targets))))
    return arrived, [response.body for response in responses]


@pytest.mark.parametrize("targets", [(), ("/a",), ("/a", "/b", "/c")])
async def test_lookups_are_sent_at_once_and_their_responses_are_in_order(targets: tuple[str, ...]) -> None:
    assert await ask(*targets) == (list(targets), [target.encode() for target in targets])


@pytest.mark.parametrize("targets", [("/fails",), ("/fails", "/b"), ("/a", "/fails")])
async def test_a_lookup_that_fails_fails_them_all(targets: tuple[str, ...]) -> None:
    with pytest.raises(KeyError):
        await ask(*targets)


async def test_lookups_that_are_cancelled_disconnect() -> None:
    left: list[Message] = []
    begun = asyncio.Event()

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] == "/b":
            begun.set()
        left.append(await receive())

    lookups = Lookups(WrappedApp(server, "", Limits()), OWN_SCOPE)
    step = asyncio.create_task(lookups.do(Ask((Request.get("/a"), Request.get("/b")))))
    await begun.wait()
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    for _ in range(10):
        await asyncio.sleep(0)
    assert [message["type"] for message in left] == ["http.disconnect", "http.disconnect"]


class Door:
    """A server whose responses the test sends: in any order, or never. `open` are the requests that wait for one."""

    def __init__(self) -> None:
        self.open: list[tuple[Scope, asyncio.Future[bytes]]] = []
        self.left: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        response = asyncio.get_running_loop().create_future()
        self.open.append((scope, response))
        leaving = asyncio.ensure_future(receive())
        await asyncio.wait({leaving, response}, return_when="FIRST_COMPLETED")
        if not response.done():
            self.left.append(scope["path"])
            return
        leaving.cancel()
        body = response.result()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def respond(self, number: int, body: bytes | Exception) -> None:
        """Respond to the request of that number, in the order of their arrival."""
        future = self.open[number][1]
        future.set_exception(body) if isinstance(body, Exception) else future.set_result(body)
        await settle()

    def lookups(self, scope: Scope = OWN_SCOPE, limits: Limits | None = None) -> Lookups:
        return Lookups(WrappedApp(self, "", limits or Limits()), scope)

    async def asks(self, *targets: str, once: bool = False, limits: Limits | None = None) -> asyncio.Task[Any]:
        step = Ask(tuple(map(Request.get, targets)), once=once)
        task = asyncio.create_task(self.lookups(limits=limits).do(step))
        await settle()
        return task

    @property
    def targets(self) -> list[str]:
        return [scope["path"] for scope, _ in self.open]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


BROKEN = UpstreamError("It broke off.")


async def test_responses_that_arrive_in_another_order_belong_to_their_requests() -> None:
    asking = await (door := Door()).asks("/a", "/b", "/c")
    for number in (2, 0, 1):
        await door.respond(number, door.targets[number].encode())
    assert [response.body for response in await asking] == [b"/a", b"/b", b"/c"]


async def test_a_failure_ends_the_lookups_after_it_although_their_responses_never_arrive() -> None:
    asking = await (door := Door()).asks("/a", "/b")
    await door.respond(0, KeyError())
    with pytest.raises(KeyError):
        await asking
    await settle()
    assert door.left == ["/b"]


async def test_a_lookup_that_breaks_off_is_retried_once_on_a_new_connection() -> None:
    asking = await (door := Door()).asks("/a", "/b")
    await door.respond(1, b"b")
    await door.respond(0, BROKEN)
    assert door.targets == ["/a", "/b", "/a"]
    assert [FENCE in scope for scope, _ in door.open] == [False, False, True]
    await door.respond(2, BROKEN)
    with pytest.raises(UpstreamError, match="broke off"):
        await asking
    assert len(door.open) == 3


async def test_a_request_that_changes_something_is_sent_once_on_a_new_connection() -> None:
    asking = await (door := Door()).asks("/a", once=True)
    await door.respond(0, BROKEN)
    with pytest.raises(UpstreamError, match="broke off"):
        await asking
    assert [FENCE in scope for scope, _ in door.open] == [True]


async def test_a_retry_has_the_deadline_of_its_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[float] = []

    async def noted(future: asyncio.Future[Any], *, until: float) -> None:
        deadlines.append(until)
        await wait(future, until=until)

    monkeypatch.setattr("ap_resume_shim.runtime.lookups.wait", noted)
    asking = await (door := Door()).asks("/a")
    await door.respond(0, BROKEN)
    await door.respond(1, b"")
    await asking
    assert len(deadlines) >= 2
    assert len(set(deadlines)) == 1


async def test_a_lookup_disconnects_at_its_deadline() -> None:
    asking = await (door := Door()).asks("/a", "/b", limits=Limits(lookup=0.01))
    await door.respond(1, b"b")
    with pytest.raises(UpstreamTimeout, match="GET /a"):
        await asking
    await settle()
    assert door.left == ["/a"]


@pytest.mark.parametrize("retried", [0, 1])
async def test_lookups_that_are_cancelled_during_a_retry_disconnect(retried: int) -> None:
    asking = await (door := Door()).asks("/a", "/b")
    if retried:
        await door.respond(0, b"a")
    await door.respond(retried, BROKEN)
    assert len(door.open) == 3
    asking.cancel()
    await settle()
    assert asking.cancelled()
    assert sorted(door.left) == (["/b"] if retried else ["/a", "/b"])


async def test_each_lookup_and_each_retry_has_the_client_s_credentials_and_a_state_of_its_own() -> None:
    door, scope = Door(), http(headers=[(b"authorization", b"Bearer x"), (b"cookie", b"c=1")], state={"user": 1})
    step = Ask((Request.get("/a"), Request.get("/b")))
    asking = asyncio.create_task(door.lookups(scope).do(step))
    await settle()
    door.open[0][0]["state"]["user"] = 2
    door.open[0][0]["headers"].clear()
    await door.respond(0, BROKEN)
    for made, _ in door.open[1:]:
        assert (b"authorization", b"Bearer x") in made["headers"]
        assert (b"cookie", b"c=1") in made["headers"]
        assert made["state"] == {"user": 1}
    asking.cancel()
