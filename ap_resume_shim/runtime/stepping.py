"""Drives a flow: carries out each step and sends its result back into the generator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from ap_resume_shim.core.http import Response
from ap_resume_shim.core.steps import Step, Steps
from ap_resume_shim.runtime.offload import LARGE, offload

T = TypeVar("T")


async def drive(flow: Steps[T], do: Callable[[Step], Awaitable[Any]], *, large: bool = False) -> T:
    """Carry out all steps of a flow with `do`, and return what the flow returns.

    An exception of a step is thrown into the flow; an exception of the flow is raised here. With `large`, the flow runs
    in the worker thread from the start, otherwise from the first large result on.
    """
    result: Any = None
    failure: Exception | None = None
    while True:
        advance = partial(_advance, flow, result, failure)
        step = await offload(advance) if large else advance()
        if isinstance(step, _Returned):
            return step.value
        result, failure = None, None
        try:
            result = await do(step)
        except Exception as error:  # an app in the same process may raise any exception
            failure = error
        large = large or size(result) >= LARGE


@dataclass(frozen=True, slots=True)
class _Returned(Generic[T]):
    value: T


def _advance(flow: Steps[T], result: Any, failure: Exception | None) -> Step | _Returned[T]:
    """Return the next step, or what the flow returns."""
    try:
        return flow.send(result) if failure is None else flow.throw(failure)
    except StopIteration as end:
        return _Returned(end.value)


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
