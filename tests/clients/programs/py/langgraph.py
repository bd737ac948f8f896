# /// script
# requires-python = ">=3.11"
# dependencies = ["langgraph-sdk==0.4.14"]
# ///
"""langgraph-sdk: a graph that asks, and clicks on its answer."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.pop(0)  # the programs beside this one, some of which have names of packages
sys.path.insert(0, str(Path(__file__).parents[1]))

from langgraph_sdk import get_client
from serve import clicks, serve

ASKING: dict[str, Any] = {"input": {"topic": "lunch", "secs": 0}}


async def runs(url: str, graph: str, method: str, count: int, pause: float) -> dict[str, Any]:
    """v1: `runs.create`, `runs.wait` or `runs.stream` with a command."""
    async with get_client(url=url, api_key=None) as client:
        thread = (await client.threads.create())["thread_id"]
        await client.runs.wait(thread, graph, **ASKING)
        while not (await client.threads.get(thread))["interrupts"]:
            await asyncio.sleep(0.02)

        async def click() -> None:
            answered = getattr(client.runs, method)(thread, graph, command={"resume": "yes"})
            if method == "stream":
                async for _ in answered:
                    pass
            else:
                await answered

        return {"thread": thread, "outcomes": await clicks(count, pause, click)}


async def commands(url: str, graph: str, method: str, count: int, pause: float) -> dict[str, Any]:
    """v2: `respond` of a thread's stream, or another `start`."""
    async with get_client(url=url, api_key=None) as client, client.threads.stream(assistant_id=graph) as thread:
        await thread.run.start(**ASKING)
        while not thread.interrupts:
            await asyncio.sleep(0.02)

        async def click() -> None:
            await (thread.run.respond("yes") if method == "respond" else thread.run.start(input="yes"))

        return {"thread": thread.thread_id, "outcomes": await clicks(count, pause, click)}


serve(runs=runs, commands=commands)
