"""What parsers have read differently is refused, or goes on in a form that all read alike."""

from __future__ import annotations

import pytest

from tests.differential.exchange import outcome
from tests.differential.framing import CASES, Case
from tests.differential.proxies import Proxy
from tests.differential.readings import by_h11, by_httptools


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_request_is_read_in_two_ways(case: Case, sidecar: Proxy) -> None:
    became = outcome(case, sidecar)
    upstream = [raw[:300] for raw in became.upstream]
    assert became.what in case.may, f"{became}: {case.sent[:200]!r} went on as {upstream}"
    assert became.wrong == ()


def test_the_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize(
    "raw",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
    ],
)
def test_two_readings_are_told_from_one(raw: bytes) -> None:
    assert by_httptools(raw) != by_h11(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\nGET / HT",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello",
    ],
)
def test_one_reading_is_one(raw: bytes) -> None:
    assert by_httptools(raw) == by_h11(raw)


def test_a_request_behind_an_upgrade_that_is_not_granted_is_read() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"
    readings = by_httptools(raw)
    assert readings == by_h11(raw)
    assert [reading.target for reading in readings if not isinstance(reading, str)] == [b"/", b"/b"]
