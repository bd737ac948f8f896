"""Drives a flow: carries out each step and sends its result back into the generator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from ap_resume_shim.core.http import Response
from ap_resume_shim.core.steps import Flow, Step
from ap_resume_shim.runtime.offload import LARGE, offload


async def drive(flow: Flow, do: Callable[[Step], Awaitable[Any]], *, large: bool = False) -> None:
    """Carry out all steps of a flow with `do`.

    An exception of a step is thrown into the flow; an exception of the flow is raised here. With `large`, the flow runs
    in the worker thread from the start, otherwise from the first large result on.
    """
    result: Any = None
    failure: Exception | None = None
    while True:
        advance = partial(_advance, flow, result, failure)
        step = await offload(advance) if large else advance()
        if step is None:
            return
        result, failure = None, None
        try:
            result = await do(step)
        except Exception as error:  # an app in the same process may raise any exception
            failure = error
        large = large or size(result) >= LARGE


def _advance(flow: Flow, result: Any, failure: Exception | None) -> Step | None:
    """Return the next step; None at the end of the flow."""
    try:
        return flow.send(result) if failure is None else flow.throw(failure)
    except StopIteration:
        return None


def size(result: Any) -> int:
    """Return the size of the responses in a step's result, in bytes."""
    match result:
        case bytes():
            return len(result)
        case Response():
            return len(result.body)
        case tuple():
            return sum(map(size, result))
        case _:
            return 0
