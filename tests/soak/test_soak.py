"""An hour of a busy team's requests in compressed form: what the sidecar holds stays what it was."""

from __future__ import annotations

import asyncio
import json
from random import Random

from tests.soak.clients import Client, connected, resume
from tests.soak.origin import Origin
from tests.soak.sidecar import watched

REQUESTS = 7_200
"""A tenth of an hour with 20 requests a second; each hour has the same mix, and so has each round of it."""
ROUNDS = 6
AT_ONCE = 50
SEED = 7
THREADS = 100
BLOCKS = 2_000
"""Blocks of memory by which the last round may end with more than the second: fewer than one for three requests."""
MEGABYTES = 8.0
MIX = {
    "looks something up": 40,
    "creates": 12,
    "streams": 12,
    "waits": 4,
    "resumes": 14,
    "is too late with a resume": 4,
    "resumes twice": 4,
    "uploads": 3,
    "downloads": 3,
    "talks through a WebSocket": 2,
    "meets an error": 2,
}
"""What is done, and in how many of a hundred cases."""


async def _do(what: str, client: Client, dice: Random, number: int) -> None:
    """One thing that a client does, and the answer that it has to get."""
    thread = f"at-{number % THREADS}"
    if what == "looks something up":
        assert await _status(client, "GET", f"/threads/{thread}") == 200
    elif what == "creates":
        assert await _status(client, "POST", "/threads", json.dumps({"thread_id": thread}).encode()) == 200
    elif what == "streams":
        assert await _status(client, "GET", "/events?n=20") == 200
    elif what == "waits":
        assert await _status(client, "GET", "/slow") == 200
    elif what == "resumes":
        assert await _status(client, "PATCH", f"/runs/resume{_route(dice)}", resume(thread)) in (200, 409)
    elif what == "is too late with a resume":
        assert await _status(client, "PATCH", f"/runs/resume{_route(dice)}", resume(f"idle-{thread}")) == 409
    elif what == "resumes twice":
        for _ in range(2):
            status, content = await client.talk(
                "PATCH", "/runs/resume/wait", resume(thread), idempotency_key=f'"{number}"'
            )
            assert status in (200, 409), content
    elif what == "uploads":
        assert await _status(client, "POST", "/upload", b"x" * dice.randrange(300_000)) == 200
    elif what == "downloads":
        assert await _status(client, "GET", f"/download?n={dice.randrange(300_000)}") == 200
    elif what == "talks through a WebSocket":
        client.ask("GET", "/tunnel", None, connection="Upgrade", upgrade="websocket")
        assert (await client.head())[0] == 101
        client.send(b"x" * 1000)
        assert await client.reader.readexactly(1000) == b"x" * 1000
    else:
        assert await _status(client, "GET", "/error") == 500


def _route(dice: Random) -> str:
    return dice.choice(("", "/wait", "/stream"))


async def _status(client: Client, method: str, target: str, body: bytes | None = None) -> int:
    return (await client.talk(method, target, body))[0]


async def round_(port: int, dice: Random, first: int, count: int) -> None:
    """Clients, `AT_ONCE` at a time, that keep their connections for a while."""
    numbers = iter(range(first, first + count))

    async def client() -> None:
        for number in numbers:
            async with connected(port) as one:
                for step in range(dice.randrange(1, 10)):
                    (what,) = dice.choices(list(MIX), list(MIX.values()))
                    await _do(what, one, dice, number)
                    if what == "talks through a WebSocket" or (not step and dice.random() < 0.1):
                        break
                    if (another := next(numbers, None)) is None:
                        return
                    number = another

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(client())


def test_an_hours_requests_leave_nothing_behind() -> None:
    async def run() -> None:
        dice, count, samples, megabytes = Random(SEED), REQUESTS // ROUNDS, [], []
        async with Origin() as origin:
            with watched(origin.url, "--settle", "0.2", "--keep-answers", "0.5") as sidecar:
                await round_(sidecar.port, dice, 0, count)
                before = await asyncio.to_thread(sidecar.at_rest)
                for number in range(1, ROUNDS):
                    await round_(sidecar.port, dice, number * count, count)
                    await asyncio.sleep(1)
                    async with connected(sidecar.port) as last:  # a resume finds what was kept for others too old
                        assert await _status(last, "PATCH", "/runs/resume", resume("at-0")) == 200
                    await asyncio.to_thread(sidecar.lets_go, before)
                    samples.append((await asyncio.to_thread(sidecar.held))["blocks"])
                    megabytes.append(sidecar.megabytes)
                assert samples[-1] < samples[0] + BLOCKS, samples
                assert megabytes[-1] < megabytes[0] + MEGABYTES, megabytes
                assert "Traceback" not in sidecar.log
                assert await origin.is_left()

    asyncio.run(run())
