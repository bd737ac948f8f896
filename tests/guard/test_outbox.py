"""The outbox of a guard: what could not be stored is delivered later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ap_resume_shim.guard.outbox import Outbox

pytestmark = pytest.mark.anyio


async def test_a_sender_that_was_dropped_during_its_delivery_may_send_again() -> None:
    outbox, go = Outbox(0.0, most=2), asyncio.Event()
    delivered: list[str] = []

    def delivery(name: str) -> Callable[[], Awaitable[None]]:
        async def deliver() -> None:
            await go.wait()
            delivered.append(name)

        return deliver

    outbox.put("a", delivery("a1"), 10)
    await asyncio.sleep(0)  # its delivery begins
    for sender in ("b", "c", "a"):  # the third drops `a`, the fourth `b`
        outbox.put(sender, delivery(f"{sender}2"), 10)
    go.set()
    await outbox.aclose(5.0)
    assert delivered == ["a1", "c2", "a2"]
    assert (len(outbox), outbox.has_room_for(64 * 1024 * 1024)) == (0, True)
