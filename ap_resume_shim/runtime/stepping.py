"""Driving a flow: its steps are done, one by one, and what comes of each is sent back to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from ap_resume_shim.core.http import Response
from ap_resume_shim.core.steps import Flow, Step
from ap_resume_shim.runtime.offload import LARGE, offload


async def drive(flow: Flow, do: Callable[[Step], Awaitable[Any]], *, large: bool = False) -> None:
    """Do all steps of a flow. What a step raises is thrown into the flow; what the flow raises, this raises.

    `large`: the flow reads and writes much JSON from the beginning, else from the first large result of a step on.
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
        except Exception as error:  # an app in the same process raises anything
            failure = error
        large = large or size(result) >= LARGE


def _advance(flow: Flow, result: Any, failure: Exception | None) -> Step | None:
    """The next step; None when there is none."""
    try:
        return flow.send(result) if failure is None else flow.throw(failure)
    except StopIteration:
        return None


def size(result: Any) -> int:
    """Bytes of the answers in a step's result."""
    match result:
        case bytes():
            return len(result)
        case Response():
            return len(result.body)
        case tuple():
            return sum(map(size, result))
        case _:
            return 0
