"""How long `import ap_resume_shim` takes: its own modules, and the packages that they need."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

from benchmarks.table import show

ROUNDS = 20
PACKAGE = "ap_resume_shim"
NEEDED_WHEN_USED = "httpx", f"{PACKAGE}.proxy", f"{PACKAGE}.http1"
LIST = f"import sys, {PACKAGE}; print(*sys.modules)"


class Times(NamedTuple):
    """Milliseconds of an import: elapsed, and of the processor."""

    elapsed: float
    cpu: float


def timed(modules: Sequence[str]) -> Times:
    """Import modules in this process, in this order."""
    elapsed, cpu = perf_counter(), process_time()
    for module in modules:
        with suppress(ImportError):  # some are not found by their name in `sys.modules`
            import_module(module)
    return Times((perf_counter() - elapsed) * 1000, (process_time() - cpu) * 1000)


def imported() -> list[str]:
    """Return the modules of a new interpreter after the import, in the order in which they were imported."""
    return subprocess.run([sys.executable, "-c", LIST], capture_output=True, text=True, check=True).stdout.split()


def measure(others: Sequence[str]) -> list[Times]:
    """Import in a new interpreter the modules that the package needs, and then the package."""
    code = f"import json; from {__name__} import timed; print(json.dumps([timed({others}), timed([{PACKAGE!r}])]))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return [Times(*times) for times in json.loads(printed)]


def main() -> None:
    """Measure, and print."""
    modules = imported()
    others = [module for module in modules if module.partition(".")[0] not in (PACKAGE, "__main__")]
    rounds = [measure(others) for _ in range(ROUNDS)]
    rounds = [[*parts, Times(*map(sum, zip(*parts, strict=True)))] for parts in rounds]
    titles = "the packages that it needs", "its own modules", "together"
    rows = [
        [title, *(f"{median(figures):.0f}" for figures in zip(*times, strict=True))]
        for title, times in zip(titles, zip(*rounds, strict=True), strict=True)
    ]
    for module in NEEDED_WHEN_USED:
        print(f"{module} is {'' if module in modules else 'not '}imported")
    show(f"import {PACKAGE}: medians of {ROUNDS} new interpreters", ["import", "ms", "CPU ms"], rows)
