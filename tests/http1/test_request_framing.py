"""Where requests end, in pieces of any size."""

from __future__ import annotations

import random

import pytest

from ap_resume_shim.core.asgi import HeaderList
from ap_resume_shim.http1.request_framing import MAX_PART, RequestFraming

CHUNKED: HeaderList = [(b"transfer-encoding", b"chunked")]
HEAD = b"POST / HTTP/1.1\r\nhost: here\r\n\r\n"
NEXT = b"GET / HTTP/1.1\r\n\r\n"


def ends(data: bytes, headers: HeaderList, at: list[int]) -> list[int]:
    """Where parts end when the data comes in parts that end `at`; the head, `HEAD`, is over where it is."""
    framing, found, begin, rest = RequestFraming(), [], 0, b""
    for stop in [*at, len(data)]:
        rest, position = data[begin:stop], 0
        while position < len(rest):
            position = framing.next_end(rest, position)
            found.append(begin + position)
            if found[-1] == len(HEAD):
                framing.begin_body(headers)
        begin = stop
    return found


BODIES = {
    "none": (b"", []),
    "a length": (b"\r\n\r\n1234", [(b"content-length", b"8")]),
    "chunks": (b"4\r\n\r\n\r\n\r\n00a;x=1\r\n0123456789\r\n0\r\n\r\n", CHUNKED),
    "many empty lines": (b"8\r\n" + b"\r\n" * 4 + b"\r\n" + b"0;x\r\n\r\n", CHUNKED),
    "fields after chunks": (b"1\r\na\r\n000\r\nx: y\r\nz: 1\r\n\r\n", CHUNKED),
    "no chunk": (b"0\r\n\r\n", CHUNKED),
}


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES.keys())
def test_a_piece_ends_with_the_request_wherever_reads_end(case: tuple[bytes, HeaderList]) -> None:
    body, headers = case
    data, dice = HEAD + body + NEXT, random.Random(7)
    ways = [[], *([n] for n in range(1, len(data))), list(range(1, len(data)))]
    ways += [sorted(dice.sample(range(1, len(data)), 4)) for _ in range(200)]
    for at in ways:
        found = ends(data, headers, at)
        assert {len(HEAD), len(HEAD + body), len(data)} <= set(found), at
        assert found == sorted(set(found))


def test_a_large_chunk_is_fed_in_pieces_and_a_body_of_known_length_as_it_comes() -> None:
    size = 10 * MAX_PART
    assert ends(HEAD + b"x" * size, [(b"content-length", b"%d" % size)], []) == [len(HEAD), len(HEAD) + size]
    chunk = b"%x\r\n" % size + b"\r\n\r\n" * (size // 4) + b"\r\n0\r\n\r\n"
    assert len(ends(HEAD + chunk, CHUNKED, [])) == 12


@pytest.mark.parametrize("body", [b"nonsense\r\n\r\n", b"-1\r\nx\r\n\r\n", b"\r\n\r\n", b"5", b"zz"])
def test_what_is_malformed_is_fed_all_the_same(body: bytes) -> None:
    for at in ([], [len(HEAD) + 1]):
        assert ends(HEAD + body, CHUNKED, at)[-1] == len(HEAD + body)
