"""The tables: of the rows, for the page of the documentation, and of the framing cases, for who asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.differential.proxies import NAMES
from tests.differential.rows import Cell, Row

PAGE = Path(__file__).parents[2] / "docs/reference/transparency.md"
BEGIN, END = "<!-- the table -->\n", "<!-- its end -->\n"
TITLES = ("", "sidecar", "nginx", "HAProxy", "Caddy", "")


def table(measured: Iterable[tuple[Row, Mapping[str, Cell]]], *, figures: bool = False) -> str:
    """A row for each row; figures differ from run to run, and are only for who looks."""
    lines = [TITLES, ("---",) * len(TITLES)]
    for row, cells in measured:
        words = [str(cells[name]) if figures else cells[name].word for name in NAMES]
        lines.append((row.name, *words, row.says))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells_of_page() -> dict[str, list[str]]:
    """What the page says, by the name of the row."""
    lines = [_cells(line) for line in PAGE.read_text().partition(BEGIN)[2].partition(END)[0].splitlines()[2:]]
    return {name: cells for name, *cells, _ in lines}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def write(text: str) -> None:
    """Put a table into the page, in place of the one that is there."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + text + END + rest.partition(END)[2])
