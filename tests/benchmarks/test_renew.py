"""The tables of the page are replaced by those that benchmarks print."""

from __future__ import annotations

import pytest

from benchmarks.renew import README, TABLE, first_row, renewed

PAGE = "Text.\n\n| a | b |\n| - | -: |\n| x | 1 |\n\n| c |\n| - |\n| y |\n"
PRINTED = "A title\n\n| a   |  b |\n| --- | -: |\n| x   | 22 |\n\n"


def test_a_table_is_replaced_by_the_printed_one_with_the_same_first_row() -> None:
    table = PRINTED.partition("\n\n")[2].strip()
    assert renewed(PAGE, PRINTED) == f"Text.\n\n{table}\n\n| c |\n| - |\n| y |\n"


def test_a_printed_table_without_a_place_on_the_page_is_an_error() -> None:
    with pytest.raises(ValueError, match="no table that begins"):
        renewed(PAGE, PRINTED.replace("| a ", "| z "))


def test_the_first_rows_of_the_tables_on_the_page_differ() -> None:
    first_rows = [first_row(table) for table in TABLE.findall(README.read_text())]
    assert len(set(first_rows)) == len(first_rows)
