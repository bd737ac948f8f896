"""The framing of responses: chunks, a length, or the end of the connection."""

from __future__ import annotations

import pytest

from ap_resume_shim.http1.response_framing import ResponseFraming


def framing(
    *, no_body: bool = False, length: int | None = None, may_chunk: bool = True, trailers: bool = False
) -> ResponseFraming:
    return ResponseFraming(no_body, length, may_chunk, trailers)


def test_without_a_length_a_body_is_sent_in_chunks_and_a_last_one() -> None:
    chunked = framing()
    assert (chunked.chunked, chunked.ends_at_close) == (True, False)
    assert [chunked.encode(b"0123456789", True), chunked.encode(b"", True), chunked.encode(b"", False)] == [
        b"a\r\n0123456789\r\n",
        b"",
        b"0\r\n\r\n",
    ]
    assert framing().encode(b"x", False) == b"1\r\nx\r\n0\r\n\r\n"


def test_the_trailer_section_follows_the_last_chunk() -> None:
    trailed = framing(trailers=True)
    assert (trailed.trailers, trailed.drops_trailers) == (True, False)
    assert trailed.encode_trailers([(b"x-sum", b"7")]) == b"0\r\nx-sum: 7\r\n\r\n"


@pytest.mark.parametrize("made", [{"length": 2}, {"may_chunk": False}, {"no_body": True}])
def test_only_a_chunked_response_has_trailers(made: dict[str, int]) -> None:
    plain = framing(trailers=True, **made)  # type: ignore[arg-type]
    assert (plain.chunked, plain.trailers, plain.drops_trailers) == (False, False, True)


def test_a_body_of_known_length_is_sent_unchanged() -> None:
    known = framing(length=3)
    assert [known.encode(b"ab", True), known.encode(b"c", False)] == [b"ab", b"c"]
    assert not known.ends_at_close


@pytest.mark.parametrize(("body", "more"), [(b"abcd", True), (b"abcd", False), (b"ab", False)])
def test_a_body_of_another_length_than_announced_is_an_error(body: bytes, more: bool) -> None:
    with pytest.raises(RuntimeError, match="differs from its Content-Length"):
        framing(length=3).encode(body, more)


def test_where_there_is_no_body_its_parts_are_not_sent_and_its_length_is_that_of_another_response() -> None:
    assert framing(no_body=True, length=3).encode(b"abcd", False) == b""


def test_http_1_0_has_no_chunks_so_that_the_connection_ends_a_body_without_a_length() -> None:
    old = framing(may_chunk=False)
    assert (old.ends_at_close, old.encode(b"x", True), old.encode(b"", False)) == (True, b"x", b"")
