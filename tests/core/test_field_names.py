"""Which known name a misspelt one is near to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap_resume_shim.core.field_names import meant, tokens

KNOWN = ("input", "config", "metadata", "interrupt_id")
ALIASES = {"answer": "input"}


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("Input", "input"),
        ("in-put", "input"),
        ("inptu", "input"),
        ("imput", "input"),
        ("nput", "input"),
        ("inputt", "input"),
        ("interuptId", "interrupt_id"),
        ("INTERRUPT-ID", "interrupt_id"),
        ("meta_data", "metadata"),
        ("metadat", "metadata"),
        ("emtadaat", "metadata"),
        ("Answer", "input"),
    ],
)
def test_a_near_name_means_the_known_one(name: str, right: str) -> None:
    assert meant(name, KNOWN, ALIASES) == right


@pytest.mark.parametrize("name", ["", "x", "output", "onnut", "cnofgi", "medatatas", "context", "durability", "answr"])
def test_a_name_that_is_further_away_means_none(name: str) -> None:
    assert meant(name, KNOWN, ALIASES) is None


@given(st.text("abc", min_size=7, max_size=9), st.text("abc", min_size=5, max_size=11))
def test_the_distance_is_that_of_the_textbook(known: str, name: str) -> None:
    assert (meant(name, (known,), {}) is not None) == (_distance(name, known) <= (2 if len(known) >= 8 else 1))


def _distance(one: str, other: str) -> int:
    """The restricted Damerau-Levenshtein distance, as a table."""
    table = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            same = one[i - 1] == other[j - 1]
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (not same))
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


def test_only_twenty_tokens_stand_in_a_header() -> None:
    assert tokens(["a", "b c", "ü", "", "x" * 65, "line\nbreak", "d-e_f"]) == ["a", "d-e_f"]
    assert tokens(map(str, range(30))) == [str(number) for number in range(20)]
