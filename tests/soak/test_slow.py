"""Clients that are slow on purpose, hundreds at once: others are answered meanwhile, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.soak.clients import connected
from tests.soak.origin import Origin
from tests.soak.sidecar import Watched, watched
from tests.support.programs import need

SLOW = 200
"""Clients."""
LONG = 60
"""Seconds for which they would go on: long after the patience with them is over."""
PATIENCE = 1
GROWN = 128.0
"""Megabytes by which the process may grow, having held some of what both sides read ahead for each client at once."""
BLOCKS = 3_000
"""Blocks of memory by which it may end with more: fewer than any object for each client, with what it refers to."""
ATTACKS = {
    "heads": ("/", "-H", "-i", "1", "-x", "10"),
    "bodies": ("/upload", "-B", "-i", "10", "-s", "8192"),
    "reads": ("/download?n=1000000", "-X", "-n", "10", "-z", "5", "-w", "10", "-y", "20"),
    "reads of what is too large to be sent ahead": ("/download?n=20000000", "-X", "-n", "10", "-z", "5"),
}
"""What is asked for, and how slowhttptest is slow: bytes every second, or none in ten."""


@asynccontextmanager
async def attacked(port: int, attack: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Slow clients, for as long as the block lasts at most."""
    target, *how = ATTACKS[attack]
    aim = ["-c", str(SLOW), "-r", str(SLOW), "-l", str(LONG), "-u", f"http://127.0.0.1:{port}{target}"]
    program = need("slowhttptest", required="AP_TEST_SOAK")
    process = await asyncio.create_subprocess_exec(program, *how, *aim, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def seen_through(sidecar: Watched) -> int:
    """Wait until the sidecar has let go of the slow; all others are answered. The most that it held meanwhile."""
    most = now = 0
    while not most or now:
        async with connected(sidecar.port) as other:
            assert (await other.talk("GET", "/"))[0] == 200
            other.leave("fin")
        await asyncio.sleep(0.2)
        now = (await asyncio.to_thread(sidecar.held))["connections"]
        most = max(most, now)
    return most


@pytest.mark.parametrize("attack", ATTACKS)
def test_clients_that_are_slow_are_let_go_of_while_others_are_answered(attack: str) -> None:
    need("slowhttptest", required="AP_TEST_SOAK")

    async def run() -> None:
        async with Origin() as origin:
            with watched(origin.url, "--timeout-keep-alive", str(PATIENCE), patience=PATIENCE) as sidecar:
                async with asyncio.timeout(LONG), connected(sidecar.port) as warm:
                    await warm.talk("GET", "/")
                before, megabytes = await asyncio.to_thread(sidecar.at_rest), sidecar.megabytes
                blocks = (await asyncio.to_thread(sidecar.held))["blocks"]
                async with asyncio.timeout(LONG), attacked(sidecar.port, attack):
                    assert await seen_through(sidecar) > SLOW // 4
                await asyncio.to_thread(sidecar.lets_go, before)
                assert (await asyncio.to_thread(sidecar.held))["blocks"] < blocks + BLOCKS
                assert sidecar.megabytes < megabytes + GROWN
                assert await origin.is_left()

    asyncio.run(run())
