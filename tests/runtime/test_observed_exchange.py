"""What is noted of a request that passes, and of its response."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ap_resume_shim.core.protocol import Mode
from ap_resume_shim.core.vendor_resume import ClientRequest, Convention, VendorResume
from ap_resume_shim.runtime.bodies import Bodies
from ap_resume_shim.runtime.observed_exchange import ObservedExchange

pytestmark = pytest.mark.anyio


def exchange(*parts: bytes) -> tuple[ObservedExchange, list[bytes | None], list[Any]]:
    """An exchange, and lists of the bodies that are handed over and of the messages that are sent."""
    bodies: list[bytes | None] = []
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False
    left = iter(messages)

    async def receive() -> Any:
        return next(left)

    async def send(message: Any) -> None:
        sent.append(message)

    return ObservedExchange(receive, send, Bodies(100, 300), bodies.append), bodies, sent


async def answer(made: ObservedExchange, body: bytes, location: str = "", *, more: bool = False) -> None:
    fields = [(b"content-location", location.encode())] if location else []
    await made.send({"type": "http.response.start", "status": 200, "headers": fields})
    await made.send({"type": "http.response.body", "body": body, "more_body": more})


@pytest.mark.parametrize(
    ("parts", "body"),
    [((b"a", b"b"), b"ab"), ((b"a" * 60, b"b" * 60), None), ((b"",), b"")],
    ids=["parts", "too large", "empty"],
)
async def test_the_body_is_handed_over_once(parts: tuple[bytes, ...], body: bytes | None) -> None:
    made, bodies, _ = exchange(*parts)
    for _ in parts:
        await made.receive()
    assert bodies == [body]


@pytest.mark.parametrize(
    ("body", "location", "run_id", "expected"),
    [
        (b"{}", "/threads/t/runs/r1", "r1", True),
        (b"{}", "/threads/t/runs/r1", "r0", False),
        (b'{"run_id": "r1"}', "", "r1", True),
        (b'{"run_id": "r1"}', "", "r0", False),
        (b'{"type": "success"}', "", "r0", None),
        (b'{"run_id": "r1"}', "", None, None),
    ],
)
async def test_a_response_names_the_run_that_it_made(
    body: bytes, location: str, run_id: str | None, expected: bool | None
) -> None:
    made, _, _ = exchange(b"")
    assert made.made(run_id) is None
    await answer(made, body, location)
    assert made.made(run_id) is expected


async def test_a_response_may_begin_without_headers() -> None:
    made, _, sent = exchange(b"")
    await made.send({"type": "http.response.start", "status": 200})
    await made.send({"type": "http.response.body", "body": b'{"run_id": "r1"}'})
    assert (len(sent), made.made("r1")) == (2, True)


async def test_a_stream_names_its_run_before_its_end() -> None:
    made, _, sent = exchange(b"")
    await answer(made, b'event: metadata\ndata: {"run_id": "r1"}\n\n', more=True)
    assert (made.made("r1"), made.made("r0")) == (True, False)
    for _ in range(100):
        await made.send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
    assert len(sent) == 102
    assert made._response is None, "a part of the response is enough"


async def test_a_response_that_breaks_off_may_have_been_an_acceptance() -> None:
    made, _, _ = exchange(b"")
    vendor = VendorResume(Convention(), ClientRequest("POST", "/"), "t", Mode.WAIT)
    took = asyncio.create_task(made.took(vendor))
    await asyncio.sleep(0)
    made.end()
    assert await took
