"""Lookups that are sent concurrently: their order, their failures, and the tasks that they need."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ap_resume_shim.core.http import Request
from ap_resume_shim.core.steps import Ask
from ap_resume_shim.runtime.exchange import OWN_SCOPE, WrappedApp
from ap_resume_shim.runtime.limits import Limits
from ap_resume_shim.runtime.lookups import Lookups

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
