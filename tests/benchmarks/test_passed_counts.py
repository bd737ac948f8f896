"""What a passed request makes the event loop do: callbacks, which are counted and not timed."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.driver import EVENT, STREAM, Client, Loop, chunked


def test_an_event_of_a_stream_reaches_the_client_within_the_callback_that_received_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop()
    scheduled: list[Any] = []
    received: list[bytes] = []

    async def run() -> None:
        client = Client(loop)
        client.server.data_received(STREAM)
        await client.until(b"\r\n\r\n")
        upstream, delivered = loop.streaming, loop.create_future()
        assert upstream is not None

        def deliver() -> None:
            with monkeypatch.context() as patch:
                patch.setattr(loop, "call_soon", lambda *work, **_: scheduled.append(work))
                upstream.data_received(chunked(EVENT))
            received.append(client.received)
            delivered.set_result(None)

        loop.call_soon(deliver)
        await delivered
        loop.call_soon(upstream.data_received, b"0\r\n\r\n")
        await client.until(b"0\r\n\r\n")

    loop.run_until_complete(run())
    loop.close()
    assert received == [chunked(EVENT)]
    assert scheduled == []
