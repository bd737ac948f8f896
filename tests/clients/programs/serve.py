"""Calls from the tests: `{function, arguments}` on each line; `{result}` or `{failed}` is the response."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

Function = Callable[..., Awaitable[Any]]


def serve(**functions: Function) -> None:
    """Serve calls until the standard input ends; the tests alone read the standard output."""
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    asyncio.run(_serve(functions, output))


async def _serve(functions: dict[str, Function], output: Any) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        call = json.loads(line)
        try:
            outcome: dict[str, Any] = {"result": await functions[call["function"]](**call["arguments"])}
        except Exception:
            outcome = {"failed": traceback.format_exc()}
        output.write(json.dumps(outcome) + "\n")


def seen(error: Exception) -> dict[str, Any]:
    """An exception as the client's user sees it: its text, and what a traceback has beside it."""
    return {"class": type(error).__name__, "text": str(error), "traceback": "".join(traceback.format_exception(error))}


async def clicks(count: int, pause: float, click: Callable[[], Awaitable[Any]]) -> list[dict[str, Any]]:
    """Click several times, with a pause of some milliseconds; return the value or the exception of each click."""

    async def one(number: int) -> dict[str, Any]:
        await asyncio.sleep(number * pause / 1000)
        try:
            return {"value": await click()}
        except Exception as error:
            return {"error": seen(error)}

    return await asyncio.gather(*map(one, range(count)))
