"""The cost of the middleware for a request that is not a resume: nanoseconds, function calls and opcodes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from ap_resume_shim import ResumeShim
from benchmarks.table import show

if TYPE_CHECKING:
    from types import FrameType

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = {"GET": ("GET", "/threads/1"), "PATCH on another path": ("PATCH", "/threads/1")}
"""The two cases: the method alone decides, or the path has to be compared."""
ROUNDS, CALLS = 500, 400
"""Short rounds, most of which other load does not disturb; the best one counts."""


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that does as little as possible."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


def scope_of(method: str, path: str) -> Scope:
    """Return the scope of a request, as uvicorn creates it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "state": {},
    }


async def _receive() -> Message:
    return {"type": "http.disconnect"}


async def _send(message: Message) -> None:
    pass


def call(app: ASGIApp, scope: Scope) -> None:
    """Make one request, without an event loop. Raises `AssertionError` if the app waits."""
    coroutine: Any = app(scope, _receive, _send)
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the app waited for something")


@dataclass(frozen=True)
class Work:
    """The interpreter's work."""

    calls: int
    """Calls of Python functions, and continuations of coroutines."""
    opcodes: int

    def __sub__(self, other: Work) -> Work:
        return Work(self.calls - other.calls, self.opcodes - other.opcodes)


def work(app: ASGIApp, scope: Scope) -> Work:
    """Count the interpreter's work for one request: the same on every run, whatever the load of the machine."""
    counted = {"call": 0, "opcode": 0}

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        frame.f_trace_opcodes = True
        if event in counted:
            counted[event] += 1
        return trace

    before = sys.gettrace()
    for _ in range(2):  # an interpreter may install its instrumentation during the first run
        counted.update(call=0, opcode=0)
        sys.settrace(trace)
        try:
            call(app, scope)
        finally:
            sys.settrace(before)
    return Work(counted["call"] - 1, counted["opcode"])  # without `call` itself


def nanoseconds(apps: list[ASGIApp], scope: Scope) -> list[float]:
    """Return the nanoseconds for a request in each app's best round; the apps alternate."""
    best = [float("inf")] * len(apps)
    for _ in range(ROUNDS):
        for number, app in enumerate(apps):
            begin = perf_counter_ns()
            for _ in range(CALLS):
                call(app, scope)
            best[number] = min(best[number], (perf_counter_ns() - begin) / CALLS)
    return best


def main() -> None:
    """Measure, and print."""
    shim = ResumeShim(bare, "langgraph")
    rows = []
    for name, request in REQUESTS.items():
        scope = scope_of(*request)
        without, around = nanoseconds([bare, shim], scope)
        added = work(shim, scope) - work(bare, scope)
        figures = [f"{without:.0f}", f"{around:.0f}", f"{around - without:.0f}", f"{around / without:.2f}"]
        rows.append([name, *figures, added.calls, added.opcodes])
    head = ["request", "bare ns", "shim ns", "added ns", "ratio", "added calls", "added opcodes"]
    show("Pass-through, in process: goal under 1,000 ns added to a request", head, rows)
