"""Where the processor time of the sidecar goes, by part of the package: cProfile of the work in `benchmarks.driver`.

cProfile makes calls of Python functions look dearer than they are: the shares show where to look, not what to expect.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from cProfile import Profile
from pathlib import Path
from pstats import Stats
from typing import Any

import ap_resume_shim
from benchmarks.driver import Client, Loop
from benchmarks.table import show

UNITS = {"requests": 2_000, "events": 4_000, "resumes": 400, "resume_events": 2_000}
"""Units of each of the client's pieces of work."""
TITLES = "request passed through", "event of a stream", "resume", "event of a resume's stream"
WARM_UP = 50
PACKAGE = Path(ap_resume_shim.__file__).parent
DRIVER = "driver"
OURS = Path(__file__).parent


def part_of(file: str) -> str | None:
    """Return the part to which a function belongs; None for a function in C, which belongs to its callers."""
    path = Path(file)
    if path.is_relative_to(PACKAGE):
        folder, *rest = path.relative_to(PACKAGE).parts
        return folder if rest else path.stem
    if path.is_relative_to(OURS):
        return DRIVER
    if not path.is_absolute():
        return None
    return path.parent.name if path.parent.name in ("asyncio", "json", "starlette") else "others"


def shares(stats: dict[Any, Any]) -> Counter[str]:
    """Return the seconds of each part, without the driver, from the statistics of cProfile."""
    spent: Counter[str] = Counter()
    for (file, *_), (_, _, own, _, callers) in stats.items():
        if (part := part_of(file)) is not None:
            spent[part] += own
            continue
        for (caller, *_), (_, _, of_caller, _) in callers.items():
            spent[part_of(caller) or "others"] += of_caller
    del spent[DRIVER]
    return spent


async def profiled(name: str) -> Profile:
    """Do one piece of work, after a warm-up."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    work = getattr(Client(loop), name)
    await work(WARM_UP)
    profile = Profile()
    profile.enable()
    await work(UNITS[name])
    profile.disable()
    while running := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(running)
    return profile


def main() -> None:
    """Measure, and print."""
    found = []
    for name in UNITS:
        loop = Loop()
        found.append(shares(Stats(loop.run_until_complete(profiled(name))).stats))  # type: ignore[attr-defined]
        loop.close()
    parts = sorted(set().union(*found), key=lambda part: -found[0][part])
    rows = [[part, *(f"{100 * each[part] / each.total():.0f}" for each in found)] for part in parts]
    show("Shares of the processor time, in per cent", ["part", *TITLES], rows)
