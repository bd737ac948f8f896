"""Pages of a list: cursors, the budget of requests, and several searches one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ap_resume_shim.core.errors import InvalidRequest
from ap_resume_shim.core.listing import (
    MOST_REQUESTS,
    Batch,
    Candidate,
    Listing,
    Page,
    collect,
    decode_cursor,
    encode_cursor,
)
from ap_resume_shim.core.steps import Steps


@dataclass
class Threads:
    """A source with a number of threads; `asked` are its searches."""

    name: str
    count: int
    per_candidate: int = 1
    per_search: int = 1
    asked: list[tuple[int, int]] = field(default_factory=list)

    def search(self, offset: int, room: int) -> Steps[Batch]:
        yield from ()
        self.asked.append((offset, room))
        numbers = range(offset, min(offset + room, self.count))
        over = offset + room >= self.count
        return Batch([Candidate(f"{self.name}{number}") for number in numbers], None if over else offset + room)


def page_of(*sources: Threads, limit: int = 20, at: Any = None, spent: int = 0) -> Listing:
    steps = collect(Page(limit, at), sources, spent=spent)
    with pytest.raises(StopIteration) as ended:
        next(steps)
    listing: Listing = ended.value.value
    return listing


def all_pages(*sources: Threads, limit: int = 20) -> Iterator[list[str]]:
    at = None
    while True:
        listing = page_of(*sources, limit=limit, at=at)
        yield [candidate.thread_id for candidate in listing.candidates]
        if listing.next is None:
            return
        at = decode_cursor(str(encode_cursor(listing.next)))


@pytest.mark.parametrize("limit", [1, 3, 20])
def test_the_pages_have_every_thread_once_in_the_order_of_the_sources(limit: int) -> None:
    pages = list(all_pages(Threads("a", 25), Threads("b", 0), Threads("c", 7, per_candidate=2), limit=limit))
    assert [name for page in pages for name in page] == [f"a{n}" for n in range(25)] + [f"c{n}" for n in range(7)]
    assert all(len(page) <= limit for page in pages)


@pytest.mark.parametrize(("per_candidate", "spent", "threads"), [(1, 0, 20), (2, 0, 10), (3, 1, 6), (1, 2, 18)])
def test_a_page_never_costs_more_requests_than_it_may(per_candidate: int, spent: int, threads: int) -> None:
    source = Threads("a", 1000, per_candidate)
    assert len(page_of(source, spent=spent).candidates) == threads
    assert spent + 1 + threads * per_candidate <= MOST_REQUESTS


def test_a_page_goes_on_with_the_next_source_while_it_has_requests_left() -> None:
    first, second = Threads("a", 5), Threads("b", 100, per_candidate=2)
    listing = page_of(first, second)
    assert [len(listing.candidates), listing.next] == [12, ["b", 7]]
    assert (first.asked, second.asked) == ([(0, 20)], [(0, 7)])


def test_without_sources_there_is_one_empty_page() -> None:
    assert page_of() == Listing()


@pytest.mark.parametrize(
    "at", ["a", {}, [], ["a"], ["a", "0"], ["a", -1], ["a", 2**31], ["a", True], ["other", 0], [0, "a"], ["a", 0, 0]]
)
def test_a_place_that_no_page_has_is_refused(at: Any) -> None:
    with pytest.raises(InvalidRequest, match="`cursor` is not"):
        page_of(Threads("a", 1), at=at)


@pytest.mark.parametrize("cursor", ["", "ä", "a", "bm90IEpTT04", "\x00", "=" * 10])
def test_a_cursor_that_is_no_encoded_place_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="`cursor` is not"):
        decode_cursor(cursor)


def test_there_is_no_cursor_after_the_last_page() -> None:
    assert encode_cursor(None) is None
