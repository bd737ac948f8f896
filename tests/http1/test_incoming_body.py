"""A body that is buffered until it is read."""

from __future__ import annotations

from ap_resume_shim.http1.incoming_body import IncomingBody


def test_parts_are_taken_together_and_once() -> None:
    body = IncomingBody()
    body.parts += (b"a", b"b", b"c")
    body.buffered += 15
    assert (body.take(), body.parts, body.buffered, body.take()) == (b"abc", [], 0, b"")
