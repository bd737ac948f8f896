"""Replaces the tables of README.md with those that benchmarks have printed.

    python -m benchmarks sidecar | tee sidecar.txt
    python -m benchmarks renew sidecar.txt [...]

A table is recognised by its first row. The table of the goals combines several benchmarks, and is edited by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

README = Path(__file__).with_name("README.md")
TABLE = re.compile(r"^\|.*\n(?:\|.*\n)+", re.MULTILINE)


def first_row(table: str) -> tuple[str, ...]:
    """Return the cells of a table's first row."""
    return tuple(cell.strip() for cell in table.splitlines()[0].split("|"))


def renewed(page: str, printed: str) -> str:
    """Return the page with the printed tables. Raises `ValueError` if the page has no table with such a first row."""
    tables = {first_row(table): table for table in TABLE.findall(printed)}
    if unknown := set(tables) - {first_row(table) for table in TABLE.findall(page)}:
        raise ValueError(f"The page has no table that begins with {' and '.join(map(' | '.join, unknown))}")
    return TABLE.sub(lambda found: tables.get(first_row(found[0]), found[0]), page)


def main(arguments: Sequence[str]) -> None:
    """Read the files, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks renew", description="Renew the tables of README.md.")
    parser.add_argument("files", nargs="+", type=Path, help="output of benchmarks")
    printed = "\n".join(file.read_text() for file in parser.parse_args(arguments).files)
    try:
        README.write_text(renewed(README.read_text(), printed))
    except ValueError as error:
        sys.exit(str(error))
