"""Measure, and print the table: `python -m tests.differential [rows|framing] [--write]`."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.differential import odd_answers  # noqa: F401  # adds rows
from tests.differential.exchange import Outcome, outcome
from tests.differential.framing import CASES
from tests.differential.origin import running_origin
from tests.differential.page import table, write
from tests.differential.proxies import NAMES, running
from tests.differential.rows import ROWS, measure


def main() -> None:
    """Start everything, and run through it once."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("what", nargs="?", default="rows", choices=("rows", "framing"))
    parser.add_argument("--write", action="store_true", help="put the rows into the documentation")
    arguments = parser.parse_args()
    with running_origin() as origin, ExitStack() as stack, ThreadPoolExecutor(len(NAMES)) as pool:
        proxies = [stack.enter_context(running(name, origin.door())) for name in NAMES]
        if arguments.what == "rows":
            measured = [(row, measure(row, proxies)) for row in ROWS]
            print(table(measured, figures=True), end="")
            if arguments.write:
                write(table(measured))
            return
        print(f"| | {' | '.join(NAMES)} |\n|{'---|' * (len(NAMES) + 1)}")
        for case in CASES:
            became = pool.map(lambda proxy, case=case: outcome(case, proxy), proxies)
            print(f"| {case.name} | {' | '.join(map(_told, became))} |".replace("\n", " "))


def _told(became: Outcome) -> str:
    return f"{became}{' **two readings**' if became.wrong else ''}"


if __name__ == "__main__":
    main()
