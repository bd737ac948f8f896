"""A request and its response, on a connection that only records."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from ap_resume_shim.http1.request_response_cycle import RequestResponseCycle

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
BODY = {"type": "http.response.body", "body": b"ok"}


class Recorder:
    """The connection and its transport."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport = cast(asyncio.Transport, self)
        self.write_paused = False
        self.room = asyncio.Event()
        self.written: list[bytes] = []
        self.calls: list[str] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    async def writable(self) -> None:
        await self.room.wait()

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.calls.append(name)


def cycle_on(connection: Recorder) -> RequestResponseCycle:
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/"}
    return RequestResponseCycle(connection, scope, True, False)


@pytest.mark.anyio
async def test_send_waits_while_the_write_buffer_is_full() -> None:
    connection = Recorder()
    cycle = cycle_on(connection)
    await cycle.send(START)
    connection.write_paused = True
    sending = asyncio.create_task(cycle.send(BODY))
    await asyncio.sleep(0)
    assert (connection.written, sending.done()) == ([], False)
    connection.room.set()
    await sending
    assert b"".join(connection.written).endswith(b"\r\n\r\nok")


@pytest.mark.anyio
async def test_after_the_response_the_body_is_discarded_and_its_end_is_reported() -> None:
    connection = Recorder()
    cycle = cycle_on(connection)
    cycle.on_body(b"first")
    await cycle.send(START)
    await cycle.send(BODY)
    buffered = cycle.body.buffered
    cycle.on_body(b"second")
    assert (cycle.body.buffered, connection.calls[-1]) == (buffered, "on_response_complete")
    cycle.on_body_end([])
    assert connection.calls[-1] == "on_drained"
