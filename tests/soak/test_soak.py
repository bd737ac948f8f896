"""Five minutes of mixed traffic, good and bad: at the end of each, nothing is left, and memory is what it was."""

from __future__ import annotations

import asyncio
import os
from itertools import count
from random import Random

from tests.soak.clients import connected, resume
from tests.soak.deeds import MIX, do
from tests.soak.moments import leaves
from tests.soak.origin import Origin
from tests.soak.sidecar import Watched, watched

MINUTES = 5
MINUTE = 60.0 if os.environ.get("AP_TEST_SOAK") == "required" else 6.0
"""Seconds."""
DOING, LEAVING = 40, 60
"""Clients at once: those that stay for their answers, and those that leave."""
PAUSE = 0.5
"""Seconds between two things that a client does, about: no more is asked than what leaves room for others."""
SEED = 7
GROWN = 1.05
"""Times the memory of minute two, at most, in minute five."""
BLOCKS = 1_000
"""Blocks of memory by which minute five may end with more than minute two: fewer than one for twenty requests."""
OPTIONS = ("--settle", "0.2", "--keep-answers", "0.5", "--resume-timeout", "2", "--timeout-keep-alive", "10")
"""Agents think for a moment here, and not for minutes. A client that is slow on a busy machine keeps its connection."""


class Minute:
    """Clients that come and go for a while."""

    def __init__(self, port: int, number: int) -> None:
        self.port, self.dice, self.numbers = port, Random(SEED + number), count()
        self._end = asyncio.get_running_loop().time() + MINUTE

    async def __call__(self) -> int:
        """Let it pass; how many things were done."""
        async with asyncio.TaskGroup() as group:
            for _ in range(DOING):
                group.create_task(self._stay())
            for _ in range(LEAVING):
                group.create_task(self._leave())
        return next(self.numbers)

    @property
    def _over(self) -> bool:
        return asyncio.get_running_loop().time() > self._end

    async def _stay(self) -> None:
        """Clients that keep their connections for a while."""
        while not self._over:
            async with connected(self.port) as client:
                for _ in range(self.dice.randrange(1, 10)):
                    (what,) = self.dice.choices(list(MIX), list(MIX.values()))
                    await do(what, client, self.dice, next(self.numbers))
                    await asyncio.sleep(self.dice.uniform(0, 2 * PAUSE))
                    if self._over or what == "talks through a WebSocket":
                        break

    async def _leave(self) -> None:
        while not self._over:
            await leaves(self.port, Random(self.dice.randrange(2**32)))
            next(self.numbers)
            await asyncio.sleep(self.dice.uniform(0, 2 * PAUSE))


async def answers(sidecar: Watched) -> None:
    """The sidecar still does all that it is there for."""
    async with connected(sidecar.port) as client:
        assert (await client.talk("GET", "/"))[0] == 200
        for number, route in enumerate(("", "/wait", "/stream")):
            status, content = await client.talk("PATCH", f"/runs/resume{route}", resume(f"at-{number}"))
            assert status == 200, content


def test_five_minutes_of_mixed_traffic_leave_nothing_behind() -> None:
    async def run() -> None:
        blocks, megabytes = [], []
        async with Origin() as origin:
            with watched(origin.url, *OPTIONS, patience=5) as sidecar:
                await answers(sidecar)
                before = await asyncio.to_thread(sidecar.at_rest)
                for number in range(MINUTES):
                    done = await Minute(sidecar.port, number)()
                    await asyncio.sleep(1)
                    await answers(sidecar)  # a resume finds what was kept for others too old
                    assert await origin.is_left()
                    await asyncio.to_thread(sidecar.lets_go, before)
                    blocks.append((await asyncio.to_thread(sidecar.held))["blocks"])
                    megabytes.append(sidecar.megabytes)
                    print(f"minute {number + 1}: {done} done, {megabytes[-1]:.1f} MB, {blocks[-1]} blocks")
                assert [line for line in sidecar.sidecar.log.splitlines() if "Traceback" in line] == []
                assert blocks[-1] < blocks[1] + BLOCKS, blocks
                assert megabytes[-1] < megabytes[1] * GROWN, megabytes

    asyncio.run(run())
