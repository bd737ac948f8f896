"""A profile of the sidecar: the bytecodes of the work in `benchmarks.driver`, by part of the package.

They are counted, not timed: other load on the machine has no effect. Functions in C have no bytecodes.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import ap_resume_shim
from benchmarks.driver import Client, Loop
from benchmarks.table import show

WORK = {
    "request passed through": "requests",
    "event of a stream": "events",
    "resume": "resumes",
    "event of a resume's stream": "resume_events",
}
"""The client's method for each piece of work."""
UNITS = 200
PACKAGE, OURS = Path(ap_resume_shim.__file__).parent, Path(__file__).parent
DRIVER = "driver"


def part_of(file: str) -> str:
    """Return the part to which the functions of a file belong."""
    path = Path(file)
    if path.is_relative_to(PACKAGE):
        return path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if path.is_relative_to(OURS):
        return DRIVER
    return path.parent.name if path.parent.name in ("asyncio", "json", "starlette") else "other libraries"


def count(method: str, units: int = UNITS) -> Counter[str]:
    """Return the bytecodes of a piece of work by part, without the driver's own, after a warm-up."""
    files: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            files[frame.f_code.co_filename] += 1
        return trace

    loop = Loop()

    async def run() -> None:
        work = getattr(Client(loop), method)
        await work(units)
        gc.collect()  # finalizers of other objects are not part of the work
        gc.disable()
        before = sys.gettrace()
        sys.settrace(trace)
        await work(units)
        sys.settrace(before)
        gc.enable()
        while running := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(running)

    loop.run_until_complete(run())
    loop.close()
    parts: Counter[str] = Counter()
    for file, number in files.items():
        parts[part_of(file)] += number
    del parts[DRIVER]
    return parts


def main() -> None:
    """Count, and print."""
    if sys.version_info >= (3, 12):
        sys.exit("profile needs Python 3.11: later versions do not report all opcodes to a trace function.")
    counts = [count(method) for method in WORK.values()]
    total: Counter[str] = sum(counts, Counter())
    rows = [[part, *(f"{100 * each[part] / each.total():.0f} %" for each in counts)] for part, _ in total.most_common()]
    rows.append(["bytecodes of one", *(f"{each.total() / UNITS:,.0f}" for each in counts)])
    show("Bytecodes by part", ["part", *WORK], rows)
