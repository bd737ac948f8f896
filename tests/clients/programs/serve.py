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
    """An exception as the client's user sees it: its text, its traceback, and the response that it carries."""
    shown = {"class": type(error).__name__, "text": str(error), "traceback": "".join(traceback.format_exception(error))}
    try:
        return {**shown, "response": error.response.text}  # type: ignore[attr-defined]
    except Exception:  # it carries none, or one whose body the client has not read
        return shown


async def clicks(count: int, pause: float, click: Callable[[], Awaitable[Any]]) -> list[dict[str, Any]]:
    """Click several times, with a pause of some milliseconds; return what each ends with: nothing, or the exception."""

    async def one(number: int) -> dict[str, Any]:
        await asyncio.sleep(number * pause / 1000)
        try:
            await click()
        except Exception as error:
            return {"error": seen(error)}
        return {}

    return await asyncio.gather(*map(one, range(count)))
