"""Detection at start: before the first client is served, where the server is there and tells what it is."""

from __future__ import annotations

import asyncio
import logging

import pytest

from ap_resume_shim.core.errors import ResumeError, UpstreamError, UpstreamRefused, UpstreamUnreachable
from ap_resume_shim.sidecar import startup
from ap_resume_shim.sidecar.startup import detect_at_start

pytestmark = pytest.mark.anyio

AWAY = UpstreamUnreachable("No connection.")


class Server:
    """Answers one attempt after the other with an error, then with what it is."""

    def __init__(self, *errors: ResumeError) -> None:
        self.errors = list(errors)
        self.attempts = 0
        self.known = asyncio.Event()

    async def detect(self) -> None:
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)
        self.known.set()


async def test_a_server_that_is_there_is_known_before_clients_are_served() -> None:
    task = await detect_at_start((server := Server()).detect)
    assert server.known.is_set()
    await task


@pytest.mark.parametrize("error", [AWAY, UpstreamError("failed", {"upstream_status": 503})], ids=["away", "503"])
async def test_one_that_comes_later_is_detected_then(error: ResumeError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PAUSES", (0.0, 0.01))
    task = await detect_at_start((server := Server(*[error] * 4)).detect)
    assert server.attempts < 5, "the start does not wait for it"
    await task
    assert (server.attempts, server.known.is_set()) == (5, True)


async def test_one_that_refuses_strangers_is_left_to_its_users(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ap_resume_shim"):
        await (await detect_at_start((server := Server(UpstreamRefused(401, "Refused."))).detect))
    assert server.attempts == 1
    assert "Refused." in caplog.text and "set the backend" in caplog.text


async def test_the_start_does_not_wait_for_one_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PATIENCE", 0.01)
    task = await detect_at_start(asyncio.Event().wait)
    assert not task.done()
    task.cancel()
