"""A body that is buffered until it is read."""

from __future__ import annotations

from ap_resume_shim.http1.incoming_body import IncomingBody


def test_parts_are_taken_together_and_once() -> None:
    body = IncomingBody()
    body.parts += (b"a", b"b", b"c")
    body.buffered += 15
    assert (body.take(), body.parts, body.buffered, body.take()) == (b"abc", [], 0, b"")


def test_the_end_is_known_before_the_buffered_parts_are_taken() -> None:
    body = IncomingBody()
    body.parts.append(b"a")
    body.end([(b"x-sum", b"7")])
    assert (body.complete, body.trailers, body.take()) == (True, [(b"x-sum", b"7")], b"a")
