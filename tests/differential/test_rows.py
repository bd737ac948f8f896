"""The sidecar does to traffic nothing worse than the best of nginx, HAProxy and Caddy, row by row."""

from __future__ import annotations

import pytest

from tests.differential import odd_answers  # noqa: F401  # adds rows
from tests.differential.page import cells_of_page
from tests.differential.proxies import NAMES, Proxy
from tests.differential.rows import ROWS, Row, falls_short, measure


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_sidecar_does_as_well_as_the_best_and_the_page_says_so(row: Row, proxies: list[Proxy]) -> None:
    """A row that has a reason for the opposite has it as long as it is needed."""
    cells = measure(row, proxies)
    said = ", ".join(f"{name}: {cell}" for name, cell in cells.items())
    assert falls_short(cells) is bool(row.reason), said
    assert cells_of_page()[row.name] == [cells[name].word for name in NAMES], "python -m tests.differential --write"


def test_the_page_has_these_rows_and_no_others() -> None:
    assert list(cells_of_page()) == [row.name for row in ROWS]
