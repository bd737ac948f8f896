"""What a request that is no resume pays for the middleware: nanoseconds, and work that no clock measures."""

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
"""The two ways through: the method alone decides, or the path has to be looked at."""
ROUNDS, CALLS = 500, 400
"""Rounds so short that most run undisturbed on a busy machine; the best one counts."""


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that does as little as an app can."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


def scope_of(method: str, path: str) -> Scope:
    """A request as uvicorn hands it over."""
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
    """One request, without an event loop: nothing in it waits."""
    coroutine: Any = app(scope, _receive, _send)
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the app waited for something")


@dataclass(frozen=True)
class Work:
    """What the interpreter did."""

    calls: int
    """Of Python functions; each time that a coroutine goes on counts."""
    opcodes: int

    def __sub__(self, other: Work) -> Work:
        return Work(self.calls - other.calls, self.opcodes - other.opcodes)


def work(app: ASGIApp, scope: Scope) -> Work:
    """Count what one request makes the interpreter do: the same on every run, however busy the machine is."""
    counted = {"call": 0, "opcode": 0}

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        frame.f_trace_opcodes = True
        if event in counted:
            counted[event] += 1
        return trace

    before = sys.gettrace()
    for _ in range(2):  # the first time, an interpreter may not have the instrumentation in place
        counted.update(call=0, opcode=0)
        sys.settrace(trace)
        try:
            call(app, scope)
        finally:
            sys.settrace(before)
    return Work(counted["call"] - 1, counted["opcode"])  # without `call` itself


def nanoseconds(apps: list[ASGIApp], scope: Scope) -> list[float]:
    """The best round of each app, the apps taking turns."""
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
